"""From a demo's template to what its processes need: how many nodes of which kind, and a fleet file that the console can read."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REAL_NODES_LIMIT = 12
"""More nodes than this are simulated inside the collector: each real one costs this machine an agent and its SSH connection."""
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")


def demo_dir() -> Path:
    """Where the demo's data lies: beside the package in a source tree, inside it when installed. Raises FileNotFoundError."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_demo", package.parent / "demo"):
        if (place / "fleets").is_dir():
            return place
    raise FileNotFoundError("the demo's data is not there; install opsconsole again")


@dataclass(frozen=True)
class DemoFleet:
    """nodes: tables of the template, one a node, with `gpus` as a count; workers: (model, node name) to launch, in order."""

    template: dict[str, Any]
    nodes: tuple[dict[str, Any], ...]
    workers: tuple[tuple[str, str], ...]
    traffic: dict[str, dict[str, Any]]
    is_real: bool
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node["hosts"] for node in self.nodes)

    def plan(self) -> dict[str, Any]:
        """What sim.nodes reads from plan.json."""
        background = self.template["demo"].get("background_load", {})
        about = [
            {
                "name": node["hosts"], "chip": node["chip"], "gpus": node["gpus"], "site": node["site"],
                "background_load": {gpu: share for gpu, share in background.items() if int(gpu) < node["gpus"]},
            }
            for node in self.nodes
        ]
        return {"seed": self.seed, "nodes": about, "full_tokens_per_s": self.template["demo"].get("full_tokens_per_s")}


def read_fleet(nodes: int | None, gpus: int | None, seed: int) -> DemoFleet:
    """The demo's fleet with so many nodes and GPUs a node; None: as the template says."""
    is_real = nodes is None or nodes <= REAL_NODES_LIMIT
    place = demo_dir()
    text = (place / "fleets" / ("laptop.toml" if is_real else "large.toml")).read_text(encoding="utf-8")
    template = tomllib.loads(text)
    for model in template["models"]:
        model["checkpoint"] = model["checkpoint"].replace("DEMO", str(place))
    pattern, counts = template["nodes"], template["demo"]["gpus"]
    tables = tuple(
        {**pattern[row % len(pattern)], "hosts": _name(pattern, row, is_real), "gpus": gpus or counts[row % len(counts)]}
        | ({} if is_real else {"rack": f"r{row // 16 + 1:02d}"})
        for row in range(nodes or len(pattern))
    )
    workers = tuple((worker["model"], tables[worker["node"] % len(tables)]["hosts"]) for worker in template["demo"]["workers"])
    return DemoFleet(template, tables, workers, template["demo"].get("traffic", {}), is_real, seed)


def _name(pattern: list[dict[str, Any]], row: int, is_real: bool) -> str:
    name = pattern[row % len(pattern)]["hosts"]
    if not is_real:
        return f"{name}-{row // len(pattern) + 1:03d}"
    return name if row < len(pattern) else f"{name}{row // len(pattern) + 1}"


def fleet_file(fleet: DemoFleet, directory: Path, ports: dict[str, int], gateway_url: str | None) -> str:
    """The text of the console's fleet file. ports: of each node's SSH server; directory: the demo's."""
    python = sys.executable if _PLAIN_PATH.fullmatch(sys.executable) else "python3"
    template = fleet.template
    about = {**template["fleet"], "ssh_config": "none", "known_hosts": str(directory / "known_hosts")}
    reached = {"address": "127.0.0.1", "user": "demo", "identity": str(directory / "user_key"), "python": python, "worker_python": python}
    parts = [_table("[fleet]", about if fleet.is_real else template["fleet"])]
    parts += [_table("[[sites]]", site) for site in template["sites"]]
    for node in fleet.nodes:
        own = {**node, **reached, "port": ports[node["hosts"]], "gpus": "sim:~/gpus.json"} if fleet.is_real else {
            **node, "link": "sim", "gpus": f"sim:{node['gpus']}:{fleet.seed}", "work_dir": str(directory)}
        parts.append(_table("[[nodes]]", own))
    parts += [_table("[[models]]", model) for model in template["models"]]
    parts.append(_table("[policy]", template["policy"]))
    if gateway_url:
        parts.append(_table("[router]", {"kind": "gateway", "url": gateway_url}))
    return "\n".join(parts)


def _table(head: str, values: dict[str, Any]) -> str:
    return "\n".join([head, *(f"{key} = {_value(value)}" for key, value in values.items()), ""])


def _value(value: Any) -> str:
    """JSON writes strings, numbers and lists as TOML reads them; tables are inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(os.fspath(value) if isinstance(value, Path) else value)
