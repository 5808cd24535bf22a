"""A demo's story: at which second the public asks for more and what breaks, played into files that its processes follow."""

from __future__ import annotations

import json
import threading
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from opsconsole.sim.fleetfile import DemoFleet, demo_dir

KEYS = {"at_s", "say", "demand", "hot", "lost", "hang", "cut", "dark_sites"}


class ScenarioError(ValueError):
    """There is no such scenario, or it cannot be read; one sentence."""


def names() -> list[str]:
    return sorted(path.stem for path in (demo_dir() / "scenarios").glob("*.toml"))


def read_scenario(name: str) -> list[dict[str, Any]]:
    """Its moments in order. Raises ScenarioError."""
    if name not in names():
        raise ScenarioError(f"there is no scenario {name!r}; there are {', '.join(names())}")
    path = demo_dir() / "scenarios" / f"{name}.toml"
    try:
        moments = tomllib.loads(path.read_text(encoding="utf-8"))["moments"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    for moment in moments:
        if unknown := sorted(set(moment) - KEYS):
            raise ScenarioError(f"{path}: unknown key {unknown[0]!r}; a moment has {', '.join(sorted(KEYS))}")
    return sorted(moments, key=lambda moment: moment["at_s"])


def about(name: str) -> str:
    """What a scenario shows, in one sentence."""
    return tomllib.loads((demo_dir() / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")).get("about", "")


class Story:
    """What is so after the moments that have been played. Nodes and sites are named by their number, so that a story fits any fleet."""

    def __init__(self, fleet: DemoFleet):
        self._fleet = fleet
        self._demand: dict[str, float] = {}
        self._troubles: dict[str, list] = {"hot": [], "lost": [], "hang": [], "cut": [], "dark_sites": []}

    def play(self, moment: dict[str, Any]) -> None:
        """A key of a moment replaces what an earlier one said; a key that is not there leaves it."""
        demand = moment.get("demand", {})
        models = [model["name"] for model in self._fleet.template["models"]]
        self._demand |= demand if isinstance(demand, dict) else dict.fromkeys(models, float(demand))
        self._troubles |= {key: moment[key] for key in self._troubles if key in moment}

    def traffic(self) -> dict[str, Any]:
        """The plan that sim.traffic follows."""
        models = {
            model: asked | {"requests_per_s": asked["requests_per_s"] * self._demand.get(model, 1.0)}
            for model, asked in self._fleet.traffic.items()
        }
        return {"models": models}

    def faults(self) -> dict[str, Any]:
        """The faults that sim.nodes, or a simulated world, follows."""
        gpus: dict[str, dict[str, Any]] = {}
        for hot in self._troubles["hot"]:
            warmer = {str(gpu): hot["warmer_c"] for gpu in self._gpus(hot)}
            gpus.setdefault(self._name(hot["node"]), {})["hot"] = warmer
        for lost in self._troubles["lost"]:
            gpus.setdefault(self._name(lost["node"]), {})["lost"] = list(self._gpus(lost))
        cut, hang = ([self._name(node) for node in self._troubles[key]] for key in ("cut", "hang"))
        sites = [site["name"] for site in self._fleet.template["sites"]]
        lost_sites = {sites[number % len(sites)] for number in self._troubles["dark_sites"]}
        dark = [node["hosts"] for node in self._fleet.nodes if node["site"] in lost_sites]
        return {"cut": cut, "dark": dark, "hang": hang, "gpus": gpus, "surge": self._demand}

    def _name(self, number: int) -> str:
        return self._fleet.names[number % len(self._fleet.names)]

    def _gpus(self, trouble: dict[str, Any]) -> Iterable[int]:
        count = self._fleet.nodes[trouble["node"] % len(self._fleet.nodes)]["gpus"]
        return (gpu for gpu in trouble.get("gpus", range(count)) if gpu < count)


class Player(threading.Thread):
    """Plays a story in real time until it has ended or `stop` is called; `say` gets a line when something happens."""

    def __init__(self, fleet: DemoFleet, moments: list[dict[str, Any]], directory: Path, say: Callable[[str], None]):
        super().__init__(name="scenario", daemon=True)
        self._story, self._moments, self._directory, self._say = Story(fleet), moments, directory, say
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        began_mono = time.monotonic()
        for moment in self._moments:
            if self._stopped.wait(max(0.0, began_mono + moment["at_s"] - time.monotonic())):
                return
            self._story.play(moment)
            write_files(self._story, self._directory)
            if "say" in moment:
                self._say(moment["say"])


def write_files(story: Story, directory: Path) -> None:
    """Each whole, so that its reader never sees half."""
    for name, content in (("traffic.json", story.traffic()), ("faults.json", story.faults())):
        beside = directory / f"{name}.new"
        beside.write_text(json.dumps(content))
        beside.replace(directory / name)
