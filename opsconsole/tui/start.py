"""Where the full-screen front starts and ends: what it needs of the terminal, and that the terminal is whole again afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsconsole.tui.app import ConsoleApp, SessionFactory, Settings

UNSUITABLE = 2
"""Exit code when there is no terminal to draw on."""
ENDING_SIGNALS = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}
_INSTEAD = "use `opsconsole status`, which prints the same in lines"


def unsuitable(is_tty: bool, term: str) -> str:
    """Why the screen can not be drawn here, in one sentence; "" when it can."""
    if not is_tty:
        return f"the full screen needs a terminal on input, output and errors; {_INSTEAD}"
    if not term:
        return f"TERM is not set, so nothing is known of this terminal; {_INSTEAD}"
    return f"this terminal (TERM=dumb) can not place text; {_INSTEAD}" if term == "dumb" else ""


def run_tui(config: Any, state_dir: Path, read_only: bool = False) -> int:
    """Draw the fleet of `config` (a config.Config) until the operator leaves; the exit code. An Unsuitable terminal gives 2."""
    if _told_unsuitable():
        return UNSUITABLE
    from opsconsole.control.learned import learn
    from opsconsole.control.past import Past
    from opsconsole.control.places import history_path
    from opsconsole.control.session import AsyncSession

    async def attach(on_fleet: Callable, on_lost: Callable) -> AsyncSession:
        return await AsyncSession.attach(config.path, state_dir, on_fleet, on_lost)

    path = history_path(state_dir)
    return _run_on(attach, config, read_only, open_past=lambda: Past(path), learn=partial(learn, path))


def run_replay(path: Path, stand_at: float, config: Any) -> int:
    """Draw the history at `path` from a moment on; as run_tui, but nothing is asked of any node. config: None where there is none."""
    if _told_unsuitable():
        return UNSUITABLE
    from opsconsole.control.learned import learn
    from opsconsole.control.past import Past

    return _run_on(None, config, False, open_past=lambda: Past(path), stand_at=stand_at, learn=partial(learn, path))


def _told_unsuitable() -> bool:
    """Whether the screen can not be drawn here; why is said."""
    # Textual draws on stderr: with that redirected the screen would be invisible
    reason = unsuitable(all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)), os.environ.get("TERM", ""))
    if reason:
        print(f"opsconsole: {reason}", file=sys.stderr)
    return bool(reason)


def _run_on(session_factory: SessionFactory | None, config: Any, read_only: bool, **options: Any) -> int:
    from opsconsole.control.identity import actor
    from opsconsole.tui.actions import KeyConflict
    from opsconsole.tui.app import Settings

    is_live = session_factory is not None  # a replay is of the fleet that the history names, whatever fleet file lies here
    named = (config.fleet_name, config.environment) if is_live else ("", "")
    settings = Settings(*named, *((config.theme, config.keys) if config is not None else ("", {})), actor())
    try:
        app = make_app(session_factory, settings, read_only, **options)
    except KeyConflict as error:
        print(f"opsconsole: {config.path}: {error}", file=sys.stderr)
        return UNSUITABLE
    return run_app(app)


def make_app(session_factory: SessionFactory | None, settings: Settings, read_only: bool = False, **options: Any) -> ConsoleApp:
    """The app with the look that the environment asks for. NO_COLOR is taken out of it afterwards: the mono look has no colour
    to take away, and Textual's own filter would write the codes of the default colours."""
    from opsconsole.tui.app import ConsoleApp

    environ = dict(os.environ)
    os.environ.pop("NO_COLOR", None)
    return ConsoleApp(session_factory, settings, read_only, environ=environ, **options)


def run_app(app: ConsoleApp) -> int:
    """Run until the end; the exit code."""
    try:
        return asyncio.run(_run(app)) or 0
    finally:
        _let_go_of_a_dead_terminal()


def _let_go_of_a_dead_terminal() -> None:
    """Python ends with 120 when it can not flush its streams, and a terminal that was closed takes nothing."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(1, b"")
        if not os.isatty(1):
            raise OSError
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nothing, stream)


async def _run(app: ConsoleApp) -> int | None:
    loop = asyncio.get_running_loop()
    for number, code in ENDING_SIGNALS.items():
        loop.add_signal_handler(number, _end, app, code)
    try:
        code = await app.run_async()
        return app.return_code if app.return_code else code
    finally:
        for number in ENDING_SIGNALS:
            loop.remove_signal_handler(number)


def _end(app: ConsoleApp, code: int) -> None:
    """Leave as on `q`, so that Textual puts the terminal back; if that is stuck on a dead terminal, leave without it."""
    app.exit(return_code=code)
    watchdog = asyncio.get_running_loop().call_later(0.8, os._exit, code)
    app.ending = watchdog
