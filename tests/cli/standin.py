"""A session that answers from memory, so that commands can be tested without a collector."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

from opsconsole.control.session import Series
from opsconsole.core.plan import confirmed_plan, make_plan
from opsconsole.core.steps import Progress


class StandIn:
    """fleets: what frames() yields; answers: the Progress that act() tells; interrupt: Ctrl-C comes behind the last of them."""

    def __init__(self, *fleets, answers=(), interrupt=False, series=None) -> None:
        self.fleets, self.answers, self.interrupt, self.series = fleets, answers, interrupt, series
        self.acted, self.asked = [], []
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
        yield plan
        if not plan.refusal:
            yield from self.answers
            if self.interrupt:
                raise KeyboardInterrupt

    def history(self, series: str, **query):
        self.asked.append((series, query))
        return Series(series, *self.series)

    @contextmanager
    def opened(self, settings):
        yield self


def word(worker: str, ok=True, done=True, text="stopped", step=0, **detail) -> Progress:
    return Progress(step, worker, "n1", ok, done, text, detail)


def renamed(fleet, **changes):
    """The fleet with other words in its roster: environment, fleet_name."""
    return replace(fleet, roster=replace(fleet.roster, **changes))
