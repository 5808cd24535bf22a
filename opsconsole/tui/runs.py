"""What the screen knows of runs: one that is followed word by word, how their states look, and how long their steps take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from statistics import median

from opsconsole.core.fleet import Fleet, Worker
from opsconsole.core.run import ENDED, Run, StepRun
from opsconsole.core.steps import Plan, Progress, Step
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text, count_text

STEP_LOOKS = {
    "WAITING": ("·", "dim"), "ROUTING": ("◐", "info"), "SENT": ("◐", "info"), "UNSURE": ("◌", "warn"), "DONE": ("✔", "ok"),
    "HELD": ("▽", "accent"), "FAILED": ("✖", "crit"), "SKIPPED": ("–", "faint"),
}
RUN_LOOKS = {"OPEN": ("◐", "info"), "INTERRUPTED": ("◌", "warn"), "DONE": ("✔", "ok"), "HELD": ("▽", "accent"), "FAILED": ("✖", "crit")}
UNDER_WAY = ("ROUTING", "SENT", "UNSURE")
_ORDER = ("INTERRUPTED", "OPEN")
SAME_S = 5.0
"""A run that began here began at the collector within so long."""
ID_SHOWN = 8
"""Letters of a run's id that are shown, and that commands take."""


def newest_first(runs: Iterable[Run]) -> list[Run]:
    """Those that wait for a person first, then those under way, then the newest."""
    return sorted(runs, key=lambda run: (_ORDER.index(run.state) if run.state in _ORDER else len(_ORDER), -run.began_at, run.id))


def runs_then(runs: Iterable[Run], moment: float) -> list[Run]:
    """The runs that had begun at a moment, with what had ended of each; that one was interrupted meanwhile is not known afterwards."""
    then = []
    for run in runs:
        if run.began_at <= moment:
            ended = run.ended_at is not None and run.ended_at <= moment
            steps = tuple(_step_then(step, moment) for step in run.steps)
            then.append(run if ended else replace(run, state="OPEN", ended_at=None, text="", steps=steps))
    return newest_first(then)


def _step_then(step: StepRun, moment: float) -> StepRun:
    if step.began_at is None or step.began_at > moment:
        return replace(step, state="WAITING", text="", detail={}, began_at=None, ended_at=None)
    if step.ended_at is None or step.ended_at > moment:
        return replace(step, state="SENT", text="", detail={}, ended_at=None)
    return step


def begun(plan: Plan, at: float) -> Run:
    return Run("", plan, at, tuple(StepRun(step, "") for step in plan.steps))


def progressed(run: Run, progress: Progress, at: float) -> Run:
    """The run after one more word about one of its steps."""
    if not 0 <= progress.step < len(run.steps):
        return run
    step = run.steps[progress.step]
    ending = "DONE" if progress.ok else ("HELD" if progress.detail.get("held") else "FAILED")
    changed = replace(
        step, state=ending if progress.done else "SENT", text=progress.text, detail=progress.detail,
        began_at=step.began_at or at, ended_at=at if progress.done else None,
    )
    return replace(run, steps=(*run.steps[: progress.step], changed, *run.steps[progress.step + 1 :]))


@dataclass
class RunShown:
    """A run whose words reach this screen one by one. undo, plans: the keys that take it back, and that show all runs."""

    run: Run
    undo: str = ""
    plans: str = ""
    ended: bool = False
    trouble: str = ""
    """Why nothing was done, or nothing more is heard of it."""
    lost: bool = False
    """Nothing more is heard of it: it goes on, or waits, where this screen cannot see it."""

    @property
    def title(self) -> str:
        return self.run.plan.title

    @property
    def failed(self) -> int:
        return sum(step.state in ("FAILED", "SKIPPED") for step in self.run.steps)

    @property
    def verdict(self) -> str:
        states = [step.state for step in self.run.steps]
        done = f"{states.count('DONE')} of {len(states)}"
        if not self.ended:
            return f"◐ running · {done} done · goes on when you quit"
        if self.lost or self.run.state == "INTERRUPTED":
            return f"◌ {'not heard of' if self.lost else 'interrupted'} · {done} done · {self.plans} plans · esc closes"
        if self.trouble:
            return "✖ nothing was done · esc closes"
        undo = f" · {self.undo} undo" if self.undo and can_undo(self.run) else ""
        if self.failed:
            return f"✖ ended · {self.failed} of {len(states)} failed{undo} · esc closes"
        if "HELD" in states:
            return f"▽ held · {done} done, still draining{undo} · esc closes"
        return f"✔ done · {done}{undo} · esc closes" if done.split(" of ")[0] == str(len(states)) else f"◌ ended · {done} done · esc closes"

    @property
    def ink(self) -> str:
        return {"◐": "info", "✖": "crit", "▽": "accent", "✔": "ok", "◌": "warn"}[self.verdict[0]]

    def planned(self, plan: Plan, at: float) -> None:
        """The plan as it stood when it began; refused: nothing begins."""
        self.run = begun(plan, at) if not self.run.steps or not plan.refusal else self.run
        self.trouble = f"refused: {plan.refusal}" if plan.refusal else ""

    def found_in(self, runs: Iterable[Run]) -> None:
        """Where its words were lost: learn from the runs that the collector knows of what became of it."""
        texts = [step.step.text for step in self.run.steps]
        for run in runs:
            same = run.id == self.run.id if self.run.id else abs(run.began_at - self.run.began_at) < SAME_S
            if self.lost and same and [step.step.text for step in run.steps] == texts:
                self.run, self.lost, self.trouble, self.ended = run, False, "", run.state != "OPEN"

    def heard(self, progress: Progress, at: float) -> None:
        self.run = progressed(self.run, progress, at)


@dataclass
class Pace:
    """How fast what is in flight becomes less on each draining worker."""

    _since: dict[str, tuple[float, float]] = field(default_factory=dict)

    def watch(self, fleet: Fleet) -> None:
        draining = {worker.name: worker.in_flight for worker in fleet.heard_workers if worker.state == "DRAINING"}
        kept = {}
        for name, in_flight in draining.items():
            if in_flight is not None:
                since = self._since.get(name)
                kept[name] = since if since and since[1] >= in_flight else (fleet.at, in_flight)
        self._since = kept

    def left_s(self, worker: Worker, at: float) -> float | None:
        """Until nothing is in flight; None where no rate is known."""
        since, in_flight = self._since.get(worker.name), worker.in_flight
        if since is None or in_flight is None or since[1] <= in_flight or at <= since[0]:
            return None
        return in_flight * (at - since[0]) / (since[1] - in_flight)


def can_undo(run: Run) -> bool:
    """Whether it has done anything that an undo could take back."""
    return any(step.state in ("DONE", "HELD") for step in run.steps)


def expected_s(runs: Iterable[Run], step: Step) -> float | None:
    """How long starting a worker of that model usually took; None for other steps and for the first of its kind."""
    if step.order.get("op") != "launch":
        return None
    took = [
        known.ended_at - known.began_at for run in runs for known in run.steps
        if known.state == "DONE" and known.step.order.get("op") == "launch" and known.step.order.get("model") == step.order.get("model")
        and known.began_at is not None and known.ended_at is not None
    ]
    return median(took) if took else None


def facts_of(step: StepRun, fleet: Fleet | None, pace: Pace, now: float, runs: Iterable[Run]) -> str:
    """What is known of a step beside its words: in flight, phase, time taken, left, and expected from earlier runs."""
    if step.state not in UNDER_WAY:
        return age_text(step.ended_at - step.began_at) if step.began_at is not None and step.ended_at is not None else ""
    worker = _worker_of(step.step, fleet) if fleet is not None else None
    parts = _draining(step, worker, pace, now) if step.step.order.get("op") == "drain" else []
    if worker is not None and worker.state == "STARTING" and worker.phase:
        parts.append(worker.phase)
    if step.began_at is not None:
        deadline, expected = step.step.order.get("deadline_s"), expected_s(runs, step.step)
        of = f" of about {age_text(expected)}" if expected else (f" of {age_text(deadline)}" if deadline else "")
        parts.append(age_text(now - step.began_at) + of)
    return " · ".join(parts)


def _worker_of(step: Step, fleet: Fleet) -> Worker | None:
    """As its node last said; None when the node does not answer."""
    row = fleet.roster.node_row.get(step.node)
    if row is None or not fleet.answering[row]:
        return None
    return next((worker for worker in fleet.workers_of_node.get(step.node, ()) if worker.name == step.worker), None)


def _draining(step: StepRun, worker: Worker | None, pace: Pace, now: float) -> list[str]:
    told = step.detail.get("in_flight")
    leaving = worker is not None and worker.state == "DRAINING" and worker.in_flight is not None
    in_flight = worker.in_flight if leaving else told
    if isinstance(in_flight, bool) or not isinstance(in_flight, (int, float)):
        return []
    left = pace.left_s(worker, now) if leaving else None
    return [f"{count_text(in_flight)} in flight", *([f"{age_text(left)} left"] if left is not None else [])]


def progress_text(run: Run) -> str:
    """How many steps have ended well, of how many."""
    return f"{sum(step.state == 'DONE' for step in run.steps)}/{len(run.steps)}"


def first_unfinished(run: Run) -> int:
    """Place of the first step that has not ended; the last one when all have."""
    return next((place for place, step in enumerate(run.steps) if step.state not in ENDED), max(0, len(run.steps) - 1))


def name_of(run: Run) -> str:
    """A run in words: its short id and its title."""
    return f"{run.id[:ID_SHOWN]} {clean(run.plan.title)}"
