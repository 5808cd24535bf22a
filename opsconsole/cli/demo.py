"""The command `demo`: a whole fleet on this machine, shown on the screen or left to scripts, and nothing of it left afterwards."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from opsconsole.cli.extras import need_worker_extra
from opsconsole.cli.output import CommandError, Exit, can_draw, narrate, print_data

if TYPE_CHECKING:
    from opsconsole.control.session import Session
    from opsconsole.sim.fleetfile import DemoFleet
    from opsconsole.sim.stage import Stage

LIVE_LIMIT_S = 30.0
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Ended(BaseException):
    """A signal asked for the end; not an Exception, so that nothing on the way takes it for a failure."""


class _Signals:
    """SIGINT, SIGTERM and SIGHUP raise _Ended where the main thread is; use as a context manager."""

    def __init__(self) -> None:
        self._is_held = self._is_wanted = False

    def __enter__(self) -> _Signals:
        self._before = {number: signal.signal(number, self._end) for number in ENDING_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: object) -> None:
        self._is_wanted = True
        if not self._is_held:
            raise _Ended

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While processes start: one that began and was not yet written down would be left behind."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._is_wanted:
            raise _Ended

    @contextlib.contextmanager
    def ignored_at_end(self) -> Iterator[None]:
        """Once the end has begun, no further signal disturbs it: what would be left is worse than a second of patience."""
        try:
            yield
        finally:
            for number in ENDING_SIGNALS:
                signal.signal(number, signal.SIG_IGN)


@click.command()
@click.option("--nodes", type=click.IntRange(1, 10_000), help="How many nodes; above 12 they are simulated without SSH. [default: 4]")
@click.option("--gpus", type=click.IntRange(1, 64), help="GPUs of each node. [default: 2 to 8, by node]")
@click.option("--scenario", default="quiet-night", show_default=True, help="What happens; --scenario list names them all.")
@click.option("--seed", default=7, show_default=True, help="Makes traffic and simulated GPUs repeatable.")
@click.option("--headless", is_flag=True, help="No screen: say when the fleet is live, then run until the duration or a signal.")
@click.option("--duration", type=click.FloatRange(min=0), metavar="S", help="With --headless: end after so many seconds, not at a signal.")
@click.option("--json", "as_json", is_flag=True, help="With --headless: say it as one line of JSON.")
@click.pass_obj
def demo(settings, nodes, gpus, scenario, seed, headless, duration, as_json) -> int:
    """A whole fleet on this machine, with no GPU: nodes behind real SSH, real JAX workers, a gateway and traffic."""
    from opsconsole.sim.fleetfile import read_fleet
    from opsconsole.sim.scenario import ScenarioError, read_scenario
    from opsconsole.sim.stage import Stage, StageError

    try:
        if scenario == "list":
            return _list_scenarios()
        moments = read_scenario(scenario)
        fleet = read_fleet(nodes, gpus, seed)
    except (ScenarioError, FileNotFoundError) as error:
        raise CommandError(str(error), Exit.USAGE) from None
    _check_front(headless, duration is not None or as_json)
    if fleet.is_real:
        need_worker_extra("the demo", ", or add --nodes 13, which simulates all of it")
    try:
        with _Signals() as signals, Stage(fleet, _tell_traffic) as stage, signals.ignored_at_end():
            with _playing(stage, signals, moments, headless):
                return _headless(stage, duration, as_json) if headless else _screen(stage, settings)
    except StageError as error:
        raise CommandError(str(error)) from None
    except _Ended:
        return int(Exit.INTERRUPTED)


def _check_front(headless: bool, is_for_scripts: bool) -> None:
    """Raises CommandError before a fleet is built that nobody could see."""
    if not headless and is_for_scripts:
        raise CommandError("--duration and --json go with --headless; add it", Exit.USAGE)
    if not headless and not can_draw():
        raise CommandError("the demo's screen needs a terminal that can place text; add --headless to do without", Exit.USAGE)


def _list_scenarios() -> int:
    from opsconsole.sim.scenario import about, names

    for name in names():
        print_data(f"{name:14}{about(name)}")
    return int(Exit.DONE)


@contextlib.contextmanager
def _playing(stage: Stage, signals: _Signals, moments: list[dict], headless: bool) -> Iterator[None]:
    """The collector runs, the nodes are live, workers are being launched, the public asks, the story goes on."""
    from opsconsole.sim.scenario import Player

    say = narrate if headless else _nothing
    with contextlib.ExitStack() as stack:
        with signals.held():
            stage.open()
            models = dict.fromkeys(model for model, _ in stage.fleet.workers)
            watching, *launching = (stack.enter_context(_attached(stage)) for _ in range(1 + len(models)))
        _wait_until_live(watching)
        for model, session in zip(models, launching, strict=True):
            nodes = [node for its_model, node in stage.fleet.workers if its_model == model]
            threading.Thread(target=_launch_workers, args=(session, model, nodes, say), name="launch", daemon=True).start()
        player = Player(stage.fleet, moments, stage.directory, say)
        player.start()
        with signals.held():
            stage.open_traffic()
        try:
            yield
        finally:
            player.stop()


def _attached(stage: Stage) -> Session:
    """Raises CommandError."""
    from opsconsole.control.session import SessionError, attach

    try:
        session = attach(stage.config, stage.state_dir)
    except SessionError as error:
        raise CommandError(str(error), error.exit_code) from None
    stage.note("collector", session.collector["pid"])
    return session


def _wait_until_live(session: Session) -> None:
    """Raises CommandError when not every node answers in time."""
    from opsconsole.core.fleet import LIVE

    give_up_mono = time.monotonic() + LIVE_LIMIT_S
    while True:
        fleet = session.first_fleet(1.0)
        if (fleet.reach == LIVE).all():
            return
        if time.monotonic() > give_up_mono:
            row = next(row for row, reach in enumerate(fleet.reach) if reach != LIVE)
            raise CommandError(f"node {fleet.roster.nodes[row].name} of the demo did not come up: {fleet.cause[row]}")
        time.sleep(0.1)


def _launch_workers(session: Session, model: str, nodes: list[str], say: Callable[[str], None]) -> None:
    """One after the other, as an operator would: the first of a model compiles, the others find that done."""
    from opsconsole.control.session import SessionError
    from opsconsole.core.steps import Launch, Progress

    # the session ends with the demo, also in the middle of an answer
    with contextlib.suppress(SessionError, OSError, ValueError):
        for node in nodes:
            plan = session.plan(Launch(model, node=node, reason="demo", actor="demo"))
            if plan.refusal:
                say(plan.refusal)
                continue
            for heard in session.act(plan):
                if isinstance(heard, Progress) and heard.done:
                    say(f"{heard.worker} on {heard.node}: {heard.text}")


def _nothing(text: str) -> None:
    """On the screen the fleet itself tells the story."""


def _headless(stage: Stage, duration: float | None, as_json: bool) -> int:
    ready = {"event": "ready", "config": str(stage.config), "state_dir": str(stage.state_dir), "gateway": stage.gateway}
    if as_json:
        print_data(json.dumps(ready))
    else:
        _tell_ready(stage.fleet, ready)
    with contextlib.suppress(_Ended):
        threading.Event().wait(duration)
    return int(Exit.DONE)


def _tell_ready(fleet: DemoFleet, ready: dict) -> None:
    if fleet.is_real:
        print_data(f"{len(fleet.nodes)} nodes are live behind real SSH; the gateway is {ready['gateway']}")
    else:
        print_data(f"{len(fleet.nodes)} nodes are live, simulated inside the collector: no SSH, no real workers, no gateway")
    print_data(f"opsconsole --config {ready['config']} --state-dir {ready['state_dir']} status")


def _screen(stage: Stage, settings: object) -> int:
    """The screen handles the signals itself; how it is started belongs to the roof."""
    run_screen = settings.run_screen
    if run_screen is None:
        raise CommandError("there is no screen here; use --headless", Exit.USAGE)
    return run_screen(settings._replace(config=str(stage.config), state_dir=str(stage.state_dir)))


def _tell_traffic(tally: dict) -> None:
    counts = {name: tally.get(name, 0) for name in ("sent", "ok", "failed", "refused", "abandoned")}
    said = "traffic: {sent} requests sent, {ok} answered whole, {failed} failed, {refused} refused, {abandoned} open at the end"
    narrate(said.format(**counts))
