"""From the fleet file's text to a Config: every value checked, every mistake named with its line and its mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opsconsole.config.alarms import read_rules, severity
from opsconsole.config.hostlist import HostlistError, expand
from opsconsole.config.prices import read_prices
from opsconsole.config.table import NAME, Document, Table
from opsconsole.config.values import Config, NodeSpec, Notifier, Router
from opsconsole.core.alarm import WARNING
from opsconsole.core.amounts import amount_of
from opsconsole.core.fleet import Model, Policy, Rack, Site

TABLES = (
    "fleet", "sites", "racks", "nodes", "models", "policy", "router", "plugins", "screen", "history", "keys", "alarms", "notify",
)
PLUGINS_JUDGE = (
    ("notify", "kind"), ("notify", "options"), ("router", "kind"), ("router", "url"), ("router", "options"), ("plugins", "load"),
    *(("models", key) for key in ("engine", "checkpoint", "gpus", "gpu_share", "slots", "max_len")),
)
DEFAULT_SSH_CONFIG = Path("~/.ssh/config")
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@$-]*")
_HOP = r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9._-]*(?::\d{1,5})?"
_JUMP = re.compile(rf"{_HOP}(?:\s*,\s*{_HOP})*")
_PYTHON = re.compile(r"[A-Za-z0-9_./~][A-Za-z0-9_./~+-]*")
_REMOTE_PATH = re.compile(r"[~/A-Za-z0-9._][^'\"`$\\;|&<>*?]*")
_GPUS = re.compile(r"nvml|sim:[^'\"`$\\;|&<>*?]+")
_LINK = re.compile(r"ssh|sim")
_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?")
_KEY = re.compile(r"\S{1,40}")


def read_config(path: Path) -> Config:
    """Raises ConfigError."""
    document = Document(path)
    document.allow(TABLES)
    fleet = document.table("fleet")
    sites = _unique(document.tables("sites"), _site)
    models = _unique(document.tables("models"), _model)
    nodes = _nodes(document, {site.name for site in sites})
    router, plugins, screen, history = (document.table(name) for name in ("router", "plugins", "screen", "history"))
    config = Config(
        path, fleet.name("name", path.stem if NAME.fullmatch(path.stem) else "fleet"), fleet.name("environment", ""),
        _ssh_config(fleet), _known_hosts(fleet), tuple(sites), _racks(document, nodes), nodes, tuple(models),
        _policy(document.table("policy")), _router(router) if "router" in document.content else None,
        screen.name("theme", ""), _keys(document.table("keys")), *_kept(history), _names(plugins, "load"), read_rules(document),
        _notifiers(document), _lines(document),
    )
    for table in (fleet, plugins, screen, history):
        table.finish()
    return config


def _kept(history: Table) -> tuple[float, float, float]:
    """Hours of seconds, days of minutes, days of ten minutes. Raises ConfigError where a coarser tier would end before a finer one."""
    hours = history.number("hours", 48.0, 0.01, 87600.0) or 48.0
    days_1m = history.number("days_1m", max(30.0, hours / 24), 0.01, 36500.0) or 30.0
    days_10m = history.number("days_10m", max(365.0, days_1m), 0.01, 36500.0) or 365.0
    if days_1m * 24 < hours:
        history.refuse("days_1m", f"is {days_1m:g}, less than the {hours:g} hours of seconds; keep minutes at least as long as seconds")
    if days_10m < days_1m:
        history.refuse("days_10m", f"is {days_10m:g}, less than days_1m, {days_1m:g}; keep ten minutes at least as long as minutes")
    return hours, days_1m, days_10m


def _ssh_config(fleet: Table) -> Path | None:
    """The named file; OpenSSH's own when none is named; None for the word "none"."""
    named = fleet.text("ssh_config")
    if named == "none":
        return None
    path = Path(named or DEFAULT_SSH_CONFIG).expanduser()
    if path.is_file():
        return path
    if named:
        fleet.refuse("ssh_config", f"{path} is not a file; mend the path, or write \"none\"")
    return None


def _known_hosts(fleet: Table) -> tuple[Path, ...]:
    value = fleet.get("known_hosts")
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return tuple(Path(entry).expanduser() for entry in value)
    named = fleet.text("known_hosts")
    return (Path(named).expanduser(),) if named else ()


def _unique(tables: list[Table], read: Callable[[Table], Site | Model]) -> list:
    """What each table says; a name that two have is an error."""
    found: dict[str, tuple[int, Site | Model]] = {}
    for table in tables:
        value = read(table)
        if value.name in found:
            table.refuse("name", f"{value.name} is already in line {found[value.name][0]}; give it another name or remove one")
        found[value.name] = table.line("name"), value
        table.finish()
    return [value for _, value in found.values()]


def _site(table: Table) -> Site:
    prices = table.within("price_per_gpu_hour")
    by_chip = {chip: prices.number(chip, 0.0, 0.0, 1e6) or 0.0 for chip, _ in prices.items()}
    power_budget_kw, pue = table.number("power_budget_kw", None, 0.0, 1e7), table.number("pue", None, 1.0, 5.0)
    return Site(
        table.name("name"), table.text("provider"), power_budget_kw, pue, by_chip, read_prices(table),
        table.number("node_overhead_w", None, 0.0, 1e6), table.number("budget_usd_per_month", None, 0.0, 1e12),
    )


def _racks(document: Document, nodes: tuple[NodeSpec, ...]) -> tuple[Rack, ...]:
    """A rack's name is its own within its site. One that no node is in would keep nothing within its budget, so it is an error."""
    there = {(spec.site, spec.rack) for spec in nodes if spec.rack}
    found: dict[tuple[str, str], int] = {}
    racks = []
    for table in document.tables("racks"):
        name, site = table.name("name"), table.name("site", "")
        where, known = f"at {site}" if site else "without a site", ", ".join(sorted(rack for at, rack in there if at == site))
        if (site, name) in found:
            table.refuse("name", f"{name} {where} is already in line {found[site, name]}; give it another name or remove one")
        if (site, name) not in there:
            table.refuse("name", f"no node {where} is in a rack called {name} (racks there: {known or 'none'}); mend name or site here, "
                                 "or rack under [[nodes]]")
        budget_kw = table.number("power_budget_kw", None, 0.0, 1e7)
        if budget_kw is None:
            table.refuse("power_budget_kw", "is missing; write what the feed of the rack gives, such as power_budget_kw = 10.0")
        found[site, name] = table.line("name")
        racks.append(Rack(name, site, budget_kw))
        table.finish()
    return tuple(racks)


def _model(table: Table) -> Model:
    objective = table.within("objective")
    model = Model(
        table.name("name"), table.name("engine", "jax"), table.text("checkpoint"), table.whole("gpus", 1, 1, 64),
        table.number("gpu_share", 1.0, 0.01, 1.0), table.whole("slots", 8, 1, 4096), table.whole("max_len", 512, 1, 10_000_000),
        table.whole("min_ready", 0, 0, 100_000),
        objective.number("ttft_p95_ms", None, 0.001, 1e9), objective.number("itl_p95_ms", None, 0.001, 1e9),
        _tokens(table, "tokens_per_day"),
    )
    objective.finish()
    if model.gpus > 1 and model.gpu_share < 1:
        table.refuse("gpu_share", "is for workers of one GPU; a worker of several takes them whole")
    return model


def _tokens(table: Table, key: str) -> float | None:
    """2_000_000 or "2M"."""
    if not isinstance(table.get(key), str):
        return table.number(key, None, 0.0, 1e18)
    tokens = amount_of(table.text(key))
    if tokens is None:
        table.refuse(key, f"is {table.text(key)!r}; write a number with K, M, G, T or P behind it, such as \"2T\"")
    return tokens


def _policy(table: Table) -> Policy:
    policy = Policy(table.whole("max_unavailable", 1, 0, 100_000), table.number("power_headroom_pct", 10.0, 0.0, 90.0) or 0.0)
    table.finish()
    return policy


def _router(table: Table) -> Router:
    url = table.text("url", "", _URL, 'write it as "http://127.0.0.1:8080"') or None
    options = dict(table.within("options").items())
    if not _is_plain(options):
        table.refuse("options", "has a control character in a text, or a date; write plain texts, numbers, lists and tables")
    router = Router(table.name("kind", "gateway"), url, options)
    if router.kind == "gateway" and options:
        table.refuse("options", "are for a router that a plugin gives; the gateway takes none, remove them")
    table.finish()
    return router


def _notifiers(document: Document) -> tuple[Notifier, ...]:
    found = []
    for table in document.tables("notify"):
        options = dict(table.within("options").items())
        if not _is_plain(options):
            table.refuse("options", "has a control character in a text, or a date; write plain texts, numbers, lists and tables")
        wait_s, per_hour = table.number("wait_s", 10.0, 0.0, 600.0), table.whole("per_hour", 20, 1, 3600)
        found.append(Notifier(table.name("kind"), options, severity(table, WARNING), wait_s or 0.0, per_hour))
        table.finish()
    return tuple(found)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(_is_plain(part) for part in value)
    return value.isprintable() if isinstance(value, str) else isinstance(value, (bool, int, float))


def _names(table: Table, key: str) -> tuple[str, ...]:
    value = table.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) and NAME.fullmatch(name) for name in value):
        table.refuse(key, f'is {value!r}; write a list of names, such as ["vllm"]')
    return tuple(value)


def _lines(document: Document) -> dict[str, int]:
    """Where those keys stand that only a plugin can judge."""
    lines = {f"{name}.{key}": document.line(name, 0, key) for name, key in PLUGINS_JUDGE if name not in ("models", "notify")}
    for place in range(len(document.tables("notify"))):
        lines |= {f"notify.{place}.{key}": document.line("notify", place, key) for name, key in PLUGINS_JUDGE if name == "notify"}
    for table in document.tables("models"):
        lines |= {f"models.{table.name('name')}.{key}": table.line(key) for name, key in PLUGINS_JUDGE if name == "models"}
    return lines


def _keys(table: Table) -> dict[str, str]:
    return {action: table.text(action, "", _KEY, "write one key, such as \"ctrl+d\" or \"D\"") for action, _ in table.items()}


def _nodes(document: Document, site_names: set[str]) -> tuple[NodeSpec, ...]:
    found: dict[str, tuple[NodeSpec, Table]] = {}
    for table in document.tables("nodes"):
        for spec in _specs(table, site_names):
            if spec.name in found:
                table.refuse("hosts", f"{spec.name} is already in line {found[spec.name][1].line('hosts')}; list each node once")
            found[spec.name] = spec, table
        table.finish()
    if not found:
        document.table("fleet").refuse("nodes", 'there are no nodes; add [[nodes]] with hosts = "gpu[001-016].ams1"')
    for spec, table in found.values():
        _check_jumps(spec, table, {name: entry[0] for name, entry in found.items()})
    return tuple(spec for spec, _ in found.values())


def _specs(table: Table, site_names: set[str]) -> list[NodeSpec]:
    if "hosts" not in table:
        table.refuse("hosts", 'is missing; write hosts = "gpu01" or "gpu[01-16].ams1"')
    names = _expanded(table, "hosts")
    site = table.name("site", "")
    if site and site not in site_names:
        known = f"known: {', '.join(sorted(site_names))}" if site_names else "there are none"
        table.refuse("site", f"no site is called {site} ({known}); add it under [[sites]] or mend the name")
    identity = table.text("identity")
    common = {
        "site": site, "rack": table.name("rack", ""), "chip": table.name("chip", ""), "port": table.whole("port", 0, 1, 65535) or None,
        "user": table.text("user", "", _USER, "write a plain user name") or None,
        "identity": str(Path(identity).expanduser()) if identity else None,
        "jump": table.text("jump", "", _JUMP, 'write it as "user@host:port"; several are parted by commas') or None,
        "python": table.text("python", "python3", _PYTHON, "write a plain path such as /opt/python/bin/python3"),
        "worker_python": table.text("worker_python", "python3", _PYTHON, "write a plain path such as /opt/python/bin/python3"),
        "worker_host": table.text("worker_host", "127.0.0.1", _ADDRESS, "write an address such as 0.0.0.0"),
        "work_dir": table.text("work_dir", "~/.opsconsole", _REMOTE_PATH, "write a plain path"),
        "gpus": table.text("gpus", "nvml", _GPUS, 'write "nvml", or "sim:PATH"'),
        "link": table.text("link", "ssh", _LINK, 'write "ssh" or "sim"'),
    }
    return [NodeSpec(name, address=address, **common) for name, address in zip(names, _addresses(table, len(names)), strict=True)]


def _addresses(table: Table, count: int) -> list[str | None]:
    """One address a host, or none at all."""
    if "address" not in table:
        return [None] * count
    text = table.text("address")
    if "[" in text and ":" not in text:
        found = _expanded(table, "address")
    else:
        found = [table.text("address", "", _ADDRESS, "write a host name or an IP address")]
    if len(found) != count:
        table.refuse("address", f"{len(found)} for {count} hosts; give as many addresses as hosts, or leave it to ssh_config")
    return list(found)


def _expanded(table: Table, key: str) -> list[str]:
    try:
        return expand(table.text(key))
    except HostlistError as error:
        table.refuse(key, f"{table.text(key)!r} {error}")


def _check_jumps(spec: NodeSpec, table: Table, specs: dict[str, NodeSpec]) -> None:
    """A node that is its own jump host, over whatever detour, could never be reached."""
    way = [spec.name]
    following: NodeSpec | None = spec
    while following is not None and following.jump:
        hop = re.sub(r"^.*@|:\d+$", "", following.jump.split(",")[0].strip())
        if hop in way:
            table.refuse("jump", f"goes round in a circle ({' -> '.join((*way, hop))}); remove one of these jumps")
        way.append(hop)
        following = specs.get(hop)
