"""Joins plugins to a fleet file: loads those that it names, refuses what none of them gives, makes the router and the engines' specs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from opsconsole.config import Config
from opsconsole.control.elsewhere import Machines
from opsconsole.control.router import AbsentRouter
from opsconsole.control.routes import GatewayRouter
from opsconsole.control.tellers import Told
from opsconsole.core.fleet import Model
from opsconsole.core.telling import Outbox
from opsconsole.core.text import clean
from opsconsole.hooks import Misfit, Notifier, Router, RouterSettings
from opsconsole.plugins import BUILT_IN, Plugins

ORDERED = ("checkpoint", "slots", "max_len")
"""What a launch may ask for otherwise than the fleet file says."""


def load_plugins(config: Config) -> Plugins:
    """Those that [router] kind, a model's engine, [[notify]] kind or [plugins] load names."""
    named = {model.engine for model in config.models} | {config.router.kind if config.router else BUILT_IN["router"]}
    named |= {one.kind for one in config.notifiers}
    return Plugins((named | set(config.plugins)) - set(BUILT_IN.values()))


def check(config: Config, plugins: Plugins, folder: Path) -> None:
    """Raises ConfigError for what only plugins can judge."""
    states = {found.name: found for found in plugins.found}
    for name in config.plugins:
        if name not in states:
            config.refuse("plugins.load", f"no plugin called {name} is installed; see: opsconsole plugins")
        if states[name].reason:
            config.refuse("plugins.load", f"the plugin {name} is {states[name].state}: {states[name].reason}; mend or remove it")
    for model in config.models:
        try:
            plugins.engine_spec(model)
        except Misfit as error:
            config.refuse(f"models.{model.name}.{error.key}", str(error))
    for place, one in enumerate(config.notifiers):
        try:
            open_notifier(plugins, one.kind, one.options)
        except Misfit as error:
            key = "kind" if error.key == "kind" else "options"
            config.refuse(f"notify.{place}.{key}", f"{error.key}: {error}" if "." in error.key else str(error))
    try:
        _open_router(config, plugins, folder, Machines(config))
    except Misfit as error:
        config.refuse(f"router.{error.key.partition('.')[0]}", f"{error.key}: {error}" if "." in error.key else str(error))


def _open_router(config: Config, plugins: Plugins, folder: Path, machines: Machines) -> Router | None:
    """The router of a plugin; None where it is the gateway. Raises Misfit."""
    if config.router is None or config.router.kind == BUILT_IN["router"]:
        return None
    kind = plugins.routers.get(config.router.kind)
    if kind is None:
        raise Misfit("kind", plugins.why_not("router", config.router.kind))
    settings = RouterSettings(config.router.url, config.router.options, tuple(model.name for model in config.models), folder, machines)
    try:
        return kind.open(settings)
    except Misfit:
        raise
    except Exception as error:
        raise Misfit("kind", f"{kind.name} cannot be used: {type(error).__name__}: {error}") from error


def open_router(config: Config, plugins: Plugins, routes_path: Path, machines: Machines) -> tuple[Router, str]:
    """The fleet's router and what to call it. One that cannot be used is an AbsentRouter: the fleet is watched all the same."""
    models = [model.name for model in config.models]
    try:
        router = _open_router(config, plugins, routes_path.parent, machines)
    except Misfit as error:
        return AbsentRouter(f"[router] {error.key}: {error}"), f"router {config.router.kind}"
    url = config.router.url if config.router else None
    if router is None:
        return GatewayRouter(routes_path, url, models), "gateway"
    return router, f"router {config.router.kind}"


def open_notifier(plugins: Plugins, kind: str, options: Mapping[str, Any]) -> Notifier:
    """Raises Misfit, whatever is wrong with it."""
    found = plugins.notifiers.get(kind)
    if found is None:
        raise Misfit("kind", plugins.why_not("notifier", kind))
    try:
        return found.open(options)
    except Misfit:
        raise
    except Exception as error:
        raise Misfit("kind", f"{kind} cannot be used: {type(error).__name__}: {clean(str(error), 300)}") from error


def told_of(config: Config, plugins: Plugins) -> list[Told]:
    """Who is told of alarms. One that cannot be used is told as a trouble of its own: the fleet is watched all the same."""
    told = []
    for place, one in enumerate(config.notifiers, 1):
        name = one.kind if len(config.notifiers) == 1 else f"{one.kind} {place}"
        outbox = Outbox(one.severity, one.wait_s, one.per_hour)
        try:
            told.append(Told(name, open_notifier(plugins, one.kind, one.options), outbox))
        except Misfit as error:
            told.append(Told(name, None, outbox, f"{name}: {error}"))
    return told


def moves_streams(config: Config, plugins: Plugins) -> bool:
    """Whether the fleet's router lets another worker go on with a stream that one cut: what a drain with `migrate` needs."""
    kind = config.router.kind if config.router else BUILT_IN["router"]
    return kind == BUILT_IN["router"] or (kind in plugins.routers and plugins.routers[kind].moves_streams)


def spec_for(plugins: Plugins, models: tuple[Model, ...]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What a launch order of an engine that a plugin gives has to carry beside. Raises Misfit."""
    by_name = {model.name: model for model in models}

    def more(order: dict[str, Any]) -> dict[str, Any]:
        known = by_name.get(order["model"], Model(order["model"]))
        asked = {key: order[key] for key in ORDERED if key in order}
        spec = plugins.engine_spec(replace(known, engine=order["engine"], **asked))
        return {} if spec is None else {"engine_spec": spec}

    return more
