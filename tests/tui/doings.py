"""Made-up plans and runs for the screen's tests: open, interrupted, failed, held and done ones, and plans of every shape."""

from __future__ import annotations

from dataclasses import replace

from opsconsole.core.run import Run, StepRun
from opsconsole.core.steps import Change, Drain, Launch, Plan, Rebalance, Rollout, Step
from tests.tui.fleets import NOW


def drain_step(worker: str, node: str, after: tuple[int, ...] = ()) -> Step:
    order = {"op": "drain", "worker": worker, "deadline_s": 600.0, "on_deadline": "hold"}
    return Step(f"drain {worker} on {node}, then stop it", node, worker, order, after)


def launch_step(worker: str, node: str, gpu: int, after: tuple[int, ...] = ()) -> Step:
    order = {"op": "launch", "worker": worker, "model": worker.rpartition("-")[0], "gpus": [gpu]}
    return Step(f"start {worker} on {node}, GPU {gpu}", node, worker, order, after)


def rollout_plan() -> Plan:
    """New beside old, one at a time: every step waits for the one before it."""
    steps: list[Step] = []
    for number in range(8):
        node = f"h200-{number * 3 + 1:03d}"
        steps.append(launch_step(f"llama-8b-{number + 17}", node, 5, (len(steps) - 1,) if steps else ()))
        steps.append(drain_step(f"llama-8b-{number * 6:03x}", node, (len(steps) - 1,)))
    return Plan(
        Rollout("llama-8b", "/models/llama-8b-r2", actor="dana@ops1"), "rollout llama-8b to /models/llama-8b-r2", tuple(steps),
        checks=(
            "never fewer than 16 ready workers of llama-8b, its minimum is 2",
            "ams1 peaks at 84.1 kW, its budget is 140.0 kW, of which 10 % must stay free",
            *(f"h200-{number:03d} answers and its GPU 5 is free" for number in range(1, 9)),
        ),
        warnings=("the checkpoint cannot be looked at from here: the first start shows whether it is there",),
        changes=(
            Change("ready workers of llama-8b", "16", "16", "16"), Change("TTFT p95 of llama-8b", "320 ms", "410 ms", "320 ms"),
            Change("power of ams1", "75.7 kW", "84.1 kW", "75.7 kW"), Change("price an hour", "$201.60", "$203.70", "$201.60"),
        ),
    )


def refused_plan() -> Plan:
    return Plan(
        Drain(("h200-001",)), "drain h200-001",
        refusal="llama-8b would have 1 ready workers, its minimum is 2 (now 3); launch one first, or lower min_ready",
    )


def run_of(plan: Plan, run_id: str, ago_s: float, state: str, **options: object) -> Run:
    steps = tuple(StepRun(step, f"{run_id}-{number}") for number, step in enumerate(plan.steps))
    return Run(run_id, plan, NOW - ago_s, steps, state, **options)


def at_work(
    run: Run, number: int, state: str, text: str = "", began_ago_s: float = 0.0, took_s: float | None = None, **detail: object
) -> Run:
    """The run with one step further on."""
    began = NOW - began_ago_s
    step = replace(
        run.steps[number], state=state, text=text, detail=detail, began_at=began, ended_at=None if took_s is None else began + took_s
    )
    return replace(run, steps=(*run.steps[:number], step, *run.steps[number + 1 :]))


def open_run() -> Run:
    """Of the fleet `fleets.alarm`, in which bge-m3-022 drains with 3 in flight and qwen3-72b-028 loads."""
    steps = (
        launch_step("qwen3-72b-028", "l40s-021", 0), drain_step("bge-m3-022", "l40s-018"),
        drain_step("llama-8b-006", "h200-004", (0,)), launch_step("bge-m3-99", "h200-004", 0, (0, 1, 2)),
    )
    plan = Plan(Rebalance(actor="dana@ops1", reason="qwen3 waits"), "rebalance all, for the queue", steps)
    run = run_of(plan, "7f3c9a10d2", 48.0, "OPEN")
    run = at_work(run, 0, "SENT", "load", began_ago_s=44)
    return at_work(run, 1, "SENT", "no new requests; 3 in flight", began_ago_s=41, in_flight=3)


def interrupted_run() -> Run:
    steps = (drain_step("llama-8b-000", "h200-001"), drain_step("llama-8b-001", "h200-001"))
    plan = Plan(Drain(("h200-001",), actor="sam@ops2", reason="fan 3 is loud"), "drain h200-001", steps)
    run = run_of(plan, "2b1144e07a", 512.0, "INTERRUPTED", text="its console ended before the run had")
    return at_work(at_work(run, 0, "DONE", "stopped", 510, 31.0, finished=14), 1, "UNSURE", "5 in flight", 510, in_flight=5)


def failed_run() -> Run:
    steps = (launch_step("llama-8b-17", "h200-004", 5), drain_step("llama-8b-006", "h200-004", (0,)))
    plan = Plan(Launch("llama-8b", actor="dana@ops1"), "launch 1 x llama-8b", steps)
    words = "step 1 failed, so step 2 was not begun; nothing was stopped"
    run = run_of(plan, "c90d5531ff", 3720.0, "FAILED", ended_at=NOW - 3700.0, text=words)
    last = "ended 3 times within 60 s: RuntimeError: checkpoint [/x] has 12 layers, config.json says 16"
    return at_work(at_work(run, 0, "FAILED", last, 3720, 18.0, restarts=3, exit_code=1), 1, "SKIPPED")


def done_runs() -> list[Run]:
    launch = Plan(Launch("qwen3-72b", actor="sam@ops2"), "launch 1 x qwen3-72b on l40s-021", (launch_step("qwen3-72b-9", "l40s-021", 0),))
    first = at_work(run_of(launch, "51e2aa0c77", 9000.0, "DONE", ended_at=NOW - 8920.0), 0, "DONE", "ready", 9000, 80.0)
    held = Plan(Drain(("h100-010",), actor="dana@ops1"), "drain h100-010", (drain_step("llama-8b-012", "h100-010"),))
    second = run_of(held, "03ab19cc42", 7000.0, "HELD", ended_at=NOW - 6400.0, text="2 in flight at the deadline; nothing was stopped")
    return [first, at_work(second, 0, "HELD", "deadline: 2 in flight; held", 7000, 600.0, held=True, in_flight=2)]


def all_runs() -> list[Run]:
    return [*done_runs(), failed_run(), open_run(), interrupted_run()]
