"""A session that answers from memory, so that commands can be tested without a collector."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

from opsconsole.cli.output import CommandError
from opsconsole.control.session import SessionError
from opsconsole.core.alarm_book import check
from opsconsole.core.plan import confirmed_plan, make_plan
from opsconsole.core.steps import Progress


class StandIn:
    """fleets: what frames() yields; answers: the Progress that act() tells; interrupt: Ctrl-C comes behind the last of them."""

    def __init__(self, *fleets, answers=(), interrupt=False) -> None:
        self.fleets, self.answers, self.interrupt = fleets, answers, interrupt
        self.acted, self.told = [], []
        self.known, self.ended, self.kept, self.said = [], None, {}, []
        self.newest = fleets[0] if fleets else None

    def first_fleet(self, settle_s: float = 3.0):
        return self.fleets[0]

    def frames(self):
        yield from self.fleets
        if self.interrupt:
            raise KeyboardInterrupt

    def plan(self, intent):
        return make_plan(self.fleets[0], intent)

    def act(self, plan):
        self.acted.append(plan.intent)
        plan = confirmed_plan(self.newest, plan.intent, [step.text for step in plan.steps])
        yield plan if plan.refusal else replace(plan, run="r-77")
        if not plan.refusal:
            yield from self.answers
            if self.interrupt:
                raise KeyboardInterrupt

    def runs(self, run_id=""):
        found = [run for run in self.known if run.id.startswith(run_id)]
        if run_id and not found:
            raise SessionError(f"there is no run {run_id!r}", 2)
        return found

    def tell(self, run_id, word, actor=""):
        self.told.append((run_id, word, "@" in actor))
        return self.runs(run_id)[0]

    def watch(self, run_id):
        yield self.runs(run_id)[0]
        yield from self.answers
        if self.interrupt:
            raise KeyboardInterrupt
        yield self.ended or self.runs(run_id)[0]

    def say(self, said):
        alarms = self.fleets[0].alarms
        self.said.append(check(said, alarms, self.fleets[0].roster, self.fleets[0].alarm_book))
        return f"{said.word} {said.what}: done"

    def anchors(self):
        return self.kept

    @contextmanager
    def opened(self, settings):
        try:
            yield self
        except SessionError as error:
            raise CommandError(str(error), error.exit_code) from None
        except ValueError as error:  # what a collector refuses comes as an error answer
            raise CommandError(str(error), 2) from None


def word(worker: str, ok=True, done=True, text="stopped", step=0, **detail) -> Progress:
    return Progress(step, worker, "n1", ok, done, text, detail)


def renamed(fleet, **changes):
    """The fleet with other words in its roster: environment, fleet_name."""
    return replace(fleet, roster=replace(fleet.roster, **changes))
