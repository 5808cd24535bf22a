"""What is done to a fleet under load: each round acts as an operator would, breaks something on the way, and leaves the fleet whole."""

import os
import signal
import time

from tests.torture.rig import BROKEN, FIRST, MODEL, READY_WITHIN_S, SECOND, ended, until

WORKERS = 3
END_LIMIT_S = 240.0
KILL_WITHIN_S = 5.0
FINAL = ("DONE", "HELD", "FAILED")


class Trouble(AssertionError):
    """A promise that did not hold."""


def expect(holds, words):
    if not holds:
        raise Trouble(words)


def ready(rig):
    return sorted(name for name, worker in rig.console.workers().items() if worker["state"] == "READY")


def act(rig, dice, *words, kill=True):
    """A command that is said yes to; the console may be killed while it is under way, and then goes on with what it had begun.

    Returns the exit code, None where the console was killed before the command ended.
    """
    command = rig.console.say(*words, "--yes")
    if not (kill and dice.random() < 0.6):
        return ended(command, END_LIMIT_S)[0]
    time.sleep(dice.uniform(0.0, KILL_WITHIN_S))
    was_under_way = command.poll() is None
    rig.console.kill()
    code, _, _ = ended(command, END_LIMIT_S)
    rig.console.start()
    resume_all(rig)
    return None if was_under_way else code


def resume_all(rig):
    """Every run that a dead console left behind goes on to its end."""
    for run in until(lambda: [[run for run in rig.console.runs() if run["state"] not in FINAL]], 60, "the console answers")[0]:
        rig.console.ask("resume", run["id"], "--yes", limit_s=END_LIMIT_S)
    until(lambda: all(run["state"] in FINAL for run in rig.console.runs()), END_LIMIT_S, "every run ends")


def make_whole(rig):
    """WORKERS ready ones, whatever the round has left."""
    def settled():
        workers = rig.console.workers().values()
        for worker in workers:
            if worker["state"] in ("DRAINING", "DRAINED"):
                rig.console.ask("undrain", worker["name"], "--yes")
        return all(worker["state"] in ("READY", "FAILED", "STOPPED") for worker in workers)

    until(settled, END_LIMIT_S, "no worker is on its way")
    missing = WORKERS - len(ready(rig))
    if missing > 0:
        code, out, said = rig.console.ask("launch", MODEL, "--count", str(missing), "--yes", limit_s=READY_WITHIN_S)
        expect(code == 0, f"a launch ended with {code}: {said[-400:]}")
    until(lambda: len(ready(rig)) >= WORKERS, READY_WITHIN_S, f"{WORKERS} workers are ready")


def drain(rig, dice):
    name = dice.choice(ready(rig))
    code = act(rig, dice, "drain", name, "--deadline", "60s")
    expect(code in (0, None), f"the drain of {name} ended with {code}")
    until(lambda: name not in ready(rig), 30, f"{name} is out")


def migrate(rig, dice):
    name = dice.choice(ready(rig))
    code = act(rig, dice, "drain", name, "--deadline", "0.3s", "--on-deadline", "migrate")
    expect(code in (0, 5, None), f"the drain of {name} with migrate ended with {code}")


def drain_and_regret(rig, dice):
    name = dice.choice(ready(rig))
    draining = rig.console.say("drain", name, "--deadline", "60s", "--yes")
    time.sleep(dice.uniform(0.3, 1.5))
    rig.console.ask("undrain", name, "--yes")
    ended(draining, END_LIMIT_S)


def launch(rig, dice):
    before = rig.living_workers()
    act(rig, dice, "launch", MODEL)
    until(lambda: len(rig.living_workers()) <= len(before) + 1, 5, "one launch makes one worker at most")
    names = ready(rig)
    if len(names) > WORKERS:
        act(rig, dice, "drain", names[-1], "--deadline", "60s")


def rivals(rig, dice):
    """Two consoles, one worker: one of them acts, the other learns of it."""
    name = dice.choice(ready(rig))
    until(lambda: name in rig.rival.workers(), 30, "the rival sees the worker")
    commands = [console.say("drain", name, "--deadline", "60s", "--yes") for console in (rig.console, rig.rival)]
    codes = [ended(command, END_LIMIT_S)[0] for command in commands]
    expect(sorted(codes)[0] == 0 and sorted(codes)[1] in (4, 6), f"two rivals drained {name} and ended with {codes}")


def rollout(rig, dice):
    checkpoint = dice.choice((FIRST, SECOND))
    code = act(rig, dice, "rollout", MODEL, "--to", checkpoint, "--deadline", "60s")
    expect(code in (0, None), f"the rollout to {checkpoint} ended with {code}")
    if code == 0:
        others = [w["name"] for w in rig.console.workers().values() if w["state"] == "READY" and w["checkpoint"] != checkpoint]
        expect(not others, f"after the rollout to {checkpoint} {others} serve another checkpoint")


def rebalance(rig, dice):
    code = act(rig, dice, "rebalance", "--objective", dice.choice(("queue", "power", "cost")))
    expect(code in (0, 4, None), f"a rebalance ended with {code}")


def failing_rollout(rig, dice):
    """The first new worker crashes: nobody of the old ones is touched."""
    before = ready(rig)
    code = act(rig, dice, "rollout", MODEL, "--to", BROKEN, kill=False)
    expect(code in (1, 4), f"a rollout to a checkpoint that does not exist ended with {code}")
    expect(ready(rig) == before, f"it changed who serves: {before} -> {ready(rig)}")


def stopped_worker(rig, dice):
    """Nobody knows what a worker has in flight that does not answer: it is held, not ended; it wakes, and nothing is lost."""
    name = dice.choice(ready(rig))
    pid = rig.console.workers()[name]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        code, _, said = rig.console.ask("drain", name, "--deadline", "4s", "--yes", limit_s=END_LIMIT_S)
        expect(code in (4, 5), f"the drain of a stopped worker ended with {code}: {said[-300:]}")
        expect(pid in rig.living_workers(), "a worker with unknown requests in flight was ended")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: rig.console.workers()[name]["state"] in ("READY", "DRAINING", "DRAINED"), 60, f"{name} answers again")


ROUNDS = (drain, rollout, migrate, rivals, stopped_worker, launch, failing_rollout, rebalance, drain_and_regret)
"""The first is first in every torture; a router that cannot move streams leaves out `migrate`."""
