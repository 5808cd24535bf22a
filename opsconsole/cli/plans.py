"""Plans and receipts as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from opsconsole.core.steps import Drain, Plan, Progress, Rollout, Step
from opsconsole.core.text import clean


def plan_lines(plan: Plan) -> list[str]:
    """The whole plan: steps, what holds, what to beware of, and what will change."""
    lines = [f"plan: {plan.title}"]
    lines += [f"  {number}. {step.text}{_after(number, step)}" for number, step in enumerate(plan.steps, 1)]
    intent = plan.intent
    if isinstance(intent, Drain | Rollout) and plan.steps:
        lines.append(f"  deadline {intent.deadline_s:g} s, then {_AT_DEADLINE[intent.on_deadline]}")
    if intent.reason:
        lines.append(f"  reason   {intent.reason}")
    lines += [f"  holds    {check}" for check in plan.checks]
    lines += [f"  changes  {what}: {now} -> {during} -> {after}" for what, now, during, after in plan.changes]
    lines += [f"  WARNING  {warning}" for warning in plan.warnings]
    if plan.refusal:
        lines.append(f"  REFUSED  {plan.refusal}")
    return [clean(line, 400) for line in lines]


def _after(number: int, step: Step) -> str:
    """Which steps a step waits for, where that is not just the one before."""
    waits = [before + 1 for before in step.after]
    if not waits:
        return ""
    return " (after that)" if waits == [number - 1] else f" (after {', '.join(map(str, waits))})"


_AT_DEADLINE = {
    "extend": "extend: as much time again while the number in flight falls, then hold",
    "hold": "hold: nothing is stopped while requests are in flight",
    "migrate": "migrate: other workers go on with what is in flight, from the next token",
    "abort": "abort: stop anyway and count what is lost",
}


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan for scripts; refusal null: it may be done."""
    return {
        "title": plan.title, "intent": {"kind": type(plan.intent).__name__.lower(), **asdict(plan.intent)},
        "steps": [
            {"text": step.text, "node": step.node, "worker": step.worker, "after": [number + 1 for number in step.after]}
            for step in plan.steps
        ],
        "checks": list(plan.checks), "warnings": list(plan.warnings),
        "changes": [change._asdict() for change in plan.changes],
        "refusal": plan.refusal or None,
    }


def progress_line(progress: Progress, steps: int) -> str:
    """One word from a node about a step."""
    state = "" if not progress.done else "done: " if progress.ok else "FAILED: " if not is_held(progress) else "HELD: "
    whom = f"{progress.worker} on {progress.node}" if progress.worker else progress.node
    return clean(f"[{progress.step + 1}/{steps}] {whom}  {state}{progress.text}", 400)


def receipt_lines(receipts: list[Progress], steps: int) -> list[str]:
    """What came of every step, with what was proven."""
    lines = []
    for progress in receipts:
        lines.append(progress_line(progress, steps))
        details = {name.replace("_", " "): value for name, value in progress.detail.items() if value is not None}
        lines += [clean(f"      {name}: {_value(value)}", 400) for name, value in details.items()]
    return lines


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def receipt_json(progress: Progress) -> dict[str, Any]:
    """One step's end for scripts; outcome: done, held or failed."""
    outcome = "held" if is_held(progress) else "done" if progress.ok else "failed"
    return {
        "step": progress.step + 1, "worker": progress.worker, "node": progress.node,
        "outcome": outcome, "text": progress.text, "detail": progress.detail,
    }


def is_held(progress: Progress) -> bool:
    """Whether a step ended with its worker still draining, because requests were in flight at the deadline."""
    return bool(progress.detail.get("held"))
