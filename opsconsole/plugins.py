"""Finds plugins by their entry points, loads those that the fleet file names, and survives the broken ones, each named with its reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, NamedTuple

import pluggy

from opsconsole.core.fleet import Model
from opsconsole.core.text import clean
from opsconsole.hooks import API_VERSION, ENTRY_POINT_GROUP, Engine, Hooks, Misfit, NotifierKind, RouterKind
from opsconsole.protocol import ENGINE_SPEC

BUILT_IN = {"router": "gateway", "engine": "jax"}
LOADED, OFF, BROKEN = "loaded", "off", "broken"


class Found(NamedTuple):
    """One plugin that is installed. reason: why it is not loaded, "" when it is."""

    name: str
    version: str
    state: str = OFF
    adds: tuple[str, ...] = ()
    """What it gives, as "router haproxy" or "engine vllm"; known of a loaded one only."""
    reason: str = "the fleet file does not name it"


class Unfit(Exception):
    """A plugin that does not keep to its contract; the text says how."""


class Plugins:
    """The plugins of one process. Nothing that a plugin raises leaves this class but as a reason."""

    def __init__(self, wanted: Collection[str] = (), installed: Iterable[EntryPoint] | None = None) -> None:
        """wanted: names of the entry points to load; the others are listed, and their code never runs."""
        self._host = pluggy.PluginManager("opsconsole")
        self._host.add_hookspecs(Hooks)
        self.routers: dict[str, RouterKind] = {}
        self.engines: dict[str, Engine] = {}
        self.notifiers: dict[str, NotifierKind] = {}
        self._found: dict[str, Found] = {}
        entries = entry_points(group=ENTRY_POINT_GROUP) if installed is None else installed
        for entry in sorted(entries, key=lambda entry: entry.name):
            self._found.setdefault(entry.name, Found(clean(entry.name, 80), clean(entry.dist.version if entry.dist else "", 40)))
            if entry.name in wanted and self._found[entry.name].state == OFF:
                self._take(entry)

    @property
    def found(self) -> tuple[Found, ...]:
        return tuple(self._found.values())

    def why_not(self, kind: str, name: str) -> str:
        """Why there is no such "router", "engine" or "notifier": what is wrong with the plugin of that name, and which ones there are."""
        given = {"router": self.routers, "engine": self.engines, "notifier": self.notifiers}[kind]
        known = sorted([*filter(None, (BUILT_IN.get(kind),)), *given]) or ["none"]
        found = self._found.get(name)
        told = f"its plugin is {found.state} ({found.reason})" if found and found.reason else "no plugin that is loaded gives it"
        return f"there is no {kind} called {name}: {told}; known: {', '.join(known)}; see: opsconsole plugins"

    def engine_spec(self, model: Model) -> dict[str, Any] | None:
        """How a node starts and asks a worker of this model; None for an engine that nodes know themselves. Raises Misfit.

        A plugin that raises anything else here is switched off.
        """
        if model.engine == BUILT_IN["engine"]:
            return None
        engine = self.engines.get(model.engine)
        if engine is None:
            raise Misfit("engine", self.why_not("engine", model.engine))
        try:
            return _checked_spec(engine.spec(model))
        except Misfit:
            raise
        except Exception as error:
            raise Misfit("engine", f"the plugin {self._break_off(model.engine, _said(error))} is broken: {_said(error)}") from error

    def _take(self, entry: EntryPoint) -> None:
        """Loads one; in whatever way that fails, it becomes the reason."""
        found = self._found[entry.name]
        try:
            routers, engines, notifiers = self._load(entry)
        except (Exception, SystemExit) as error:
            if self._host.has_plugin(entry.name):
                self._host.unregister(name=entry.name)
            self._found[entry.name] = found._replace(state=BROKEN, reason=_said(error))
            return
        self.routers |= {kind.name: kind for kind in routers}
        self.engines |= {engine.name: engine for engine in engines}
        self.notifiers |= {kind.name: kind for kind in notifiers}
        adds = (*(f"router {kind.name}" for kind in routers), *(f"engine {engine.name}" for engine in engines),
                *(f"notifier {kind.name}" for kind in notifiers))
        self._found[entry.name] = found._replace(state=LOADED, adds=adds, reason="")

    def _load(self, entry: EntryPoint) -> tuple[list[RouterKind], list[Engine], list[NotifierKind]]:
        module = entry.load()
        version = getattr(module, "OPSCONSOLE_API", None)
        if version != API_VERSION:
            raise Unfit(f"it is written for version {version} of the plugin interface (OPSCONSOLE_API), this is {API_VERSION}")
        self._host.register(module, entry.name)
        self._host.check_pending()
        routers = self._asked(module, "opsconsole_routers", RouterKind, {BUILT_IN["router"], *self.routers})
        engines = self._asked(module, "opsconsole_engines", Engine, {BUILT_IN["engine"], *self.engines})
        notifiers = self._asked(module, "opsconsole_notifiers", NotifierKind, set(self.notifiers))
        if not routers and not engines and not notifiers:
            raise Unfit("it gives neither a router nor an engine nor a notifier: are its hooks marked with @hookimpl?")
        return routers, engines, notifiers

    def _asked(self, module: ModuleType, hook: str, kind: type, taken: set[str]) -> list:
        """What this plugin alone answers to a hook, checked."""
        others = [plugin for plugin in self._host.get_plugins() if plugin is not module]
        answers = self._host.subset_hook_caller(hook, others)()
        given = [one for answer in answers for one in answer]
        for one in given:
            if not isinstance(one, kind):
                raise Unfit(f"{hook} gives {clean(repr(one), 80)}, not a {kind.__name__}")
            if one.name in taken:
                raise Unfit(f"{one.name} is given by another plugin already")
        return given

    def _break_off(self, engine: str, reason: str) -> str:
        """Switches off the engines of the plugin that gives this one; its name."""
        name, found = next((name, found) for name, found in self._found.items() if f"engine {engine}" in found.adds)
        self.engines = {given: value for given, value in self.engines.items() if f"engine {given}" not in found.adds}
        self._found[name] = found._replace(state=BROKEN, adds=(), reason=reason)
        return name


def _said(error: BaseException) -> str:
    return clean(str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}", 300)


def _checked_spec(spec: Any) -> dict[str, Any]:
    if not isinstance(spec, dict) or set(spec) != set(ENGINE_SPEC):
        raise Unfit(f"its engine spec has not exactly the keys {', '.join(ENGINE_SPEC)}")
    argv = spec["argv"]
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        raise Unfit("the argv of its engine spec is not a list of texts")
    return spec
