"""What a fleet file says, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from opsconsole.core.alarm import WARNING
from opsconsole.core.alarm_rules import RULES, Rule
from opsconsole.core.fleet import Model, Policy, Rack, Site


class ConfigError(Exception):
    """One sentence: FILE:LINE: key `x`: what is wrong; what to do."""


@dataclass(frozen=True)
class NodeSpec:
    """One node as the fleet file describes it. None: ssh_config decides."""

    name: str
    site: str = ""
    rack: str = ""
    chip: str = ""
    address: str | None = None
    port: int | None = None
    user: str | None = None
    identity: str | None = None
    jump: str | None = None
    python: str = "python3"
    """Runs the agent; 3.9 or newer."""
    worker_python: str = "python3"
    """Runs JAX workers."""
    worker_host: str = "127.0.0.1"
    """Where workers listen."""
    work_dir: str = "~/.opsconsole"
    """On the node: what the agent keeps of its workers."""
    gpus: str = "nvml"
    """ "nvml", or "sim:PATH" for a node of the demo."""
    link: str = "ssh"
    """ "ssh", or "sim" for a node that exists in this process only."""


@dataclass(frozen=True)
class Router:
    kind: str = "gateway"
    """ "gateway", or one that a plugin gives."""
    url: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """What a plugin's router wants to know; the plugin checks it."""


@dataclass(frozen=True)
class Notifier:
    """Who is told of alarms, by a plugin of that name; the plugin checks the options. See core.telling.Outbox."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    severity: int = WARNING
    wait_s: float = 10.0
    per_hour: int = 20


@dataclass(frozen=True)
class Config:
    path: Path
    fleet_name: str
    environment: str = ""
    ssh_config: Path | None = None
    """None: none is read."""
    known_hosts: tuple[Path, ...] = ()
    """(): as ssh_config says, else OpenSSH's own places."""
    sites: tuple[Site, ...] = ()
    racks: tuple[Rack, ...] = ()
    nodes: tuple[NodeSpec, ...] = ()
    models: tuple[Model, ...] = ()
    policy: Policy = Policy()
    router: Router | None = None
    theme: str = ""
    """Empty: the screen's own choice."""
    keys: dict[str, str] = field(default_factory=dict)
    """Key by action id, where the operator wants another than the built-in one."""
    history_hours: float = 48.0
    """For how long every second is kept."""
    history_days_1m: float = 30.0
    history_days_10m: float = 365.0
    """For how long minutes, and ten minutes, are kept: lowest, mean and highest."""
    plugins: tuple[str, ...] = ()
    """To load beside those that [router] kind and the models' engines name."""
    alarm_rules: tuple[Rule, ...] = RULES
    notifiers: tuple[Notifier, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    """Where in the file things stand that only plugins can judge: "router.kind", "models.NAME.engine"."""

    def refuse(self, place: str, problem: str) -> NoReturn:
        """Raises ConfigError for one of `lines`: a place and its key, as "router.kind"."""
        raise ConfigError(f"{self.path}:{self.lines.get(place, 1)}: key `{place.rpartition('.')[2]}`: {problem}")
