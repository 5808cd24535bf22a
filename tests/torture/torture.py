"""The torture itself: rounds of operation, breakage and recovery under load, and the promises that are counted at the end."""

import asyncio
import random
import sys
import time
from collections import Counter

from tests.torture.observer import Observer
from tests.torture.public import Public, texts_of
from tests.torture.rig import FIRST, MINIMUM, READY_WITHIN_S, SECOND, Rig, until
from tests.torture.rounds import FINAL, ROUNDS, WORKERS, expect, make_whole, ready, resume_all


class Report(Counter):
    """What was counted, in one line."""

    def line(self):
        return ", ".join(f"{name} {count}" for name, count in self.items())


def torture(here, front, rounds, seed=1, left_out=(), tell=print):
    """So many rounds, each kind in turn and then by chance. Raises AssertionError with the broken promise; returns the counts."""
    dice = random.Random(seed)
    kinds = [kind for kind in ROUNDS if kind.__name__ not in left_out]
    plan = (kinds + [dice.choice(kinds) for _ in range(max(0, rounds - len(kinds)))])[:rounds]
    with Rig(here, front) as rig, Observer(rig) as observer:
        expected = _undisturbed(rig)
        make_whole(rig)
        until(lambda: len([w for w in observer.workers.values() if w["state"] == "READY"]) == WORKERS, 60, "the observer sees them")
        observer.begin()
        with Public(rig.url, seed=seed, expected=expected) as public:
            for number, kind in enumerate(plan, 1):
                began = time.monotonic()
                kind(rig, dice)
                resume_all(rig)
                make_whole(rig)
                expect(not public.faults, f"round {number} ({kind.__name__}), seed {seed}: {public.faults[:3]}")
                tell(f"round {number:3} {kind.__name__:16} {time.monotonic() - began:6.1f} s  {public.tally['whole']} answers whole")
            tally = public.stop()
        return _verdict(rig, observer, tally, public.faults, len(plan))


def _undisturbed(rig):
    """{prompt: the text of each checkpoint}, from workers that nobody disturbs; only the last of them stays."""
    texts = []
    for checkpoint in (SECOND, FIRST):
        code, _, said = rig.console.ask("launch", "m", "--yes", limit_s=READY_WITHIN_S)
        expect(code == 0, f"the first launch ended with {code}: {said[-400:]}")
        if checkpoint == SECOND:
            code, _, said = rig.console.ask("rollout", "m", "--to", SECOND, "--yes", limit_s=READY_WITHIN_S)
            expect(code == 0, f"the first rollout ended with {code}: {said[-400:]}")
        (worker,) = [w for w in rig.console.workers().values() if w["state"] == "READY" and w["checkpoint"] == checkpoint]
        texts.append(asyncio.run(texts_of(f"http://127.0.0.1:{worker['port']}")))
    return {prompt: {one[prompt] for one in texts} for prompt in texts[0]}


def _verdict(rig, observer, tally, faults, rounds):
    until(lambda: all(run["state"] in FINAL for run in rig.console.runs()), 60, "every run has ended")
    living, known = rig.living_workers(), {worker["pid"] for worker in rig.console.workers().values()}
    orphans = sorted(set(living) - known)
    code, _, said = rig.console.ask("audit", "--verify")
    report = Report(
        rounds=rounds, kills=rig.console.kills, runs=len(rig.console.runs()), sent=tally["sent"], whole=tally["whole"],
        lost=tally["sent"] - tally["whole"], orphans=len(orphans), fewest_ready=observer.lowest, seconds_watched=observer.seconds)
    expect(report["lost"] == 0, f"{report.line()}: {faults[:3]}")
    expect(observer.lowest >= MINIMUM, f"{report.line()}: fewer than {MINIMUM} were ready")
    expect(not orphans, f"{report.line()}: nobody knows of {orphans}")
    expect(len(ready(rig)) >= WORKERS and code == 0, f"{report.line()}: audit --verify ended with {code}: {said[-300:]}")
    return report


def main(argv):
    """python -m tests.torture.torture [ROUNDS] [SEED]: our gateway and HAProxy in turn, ROUNDS each."""
    import tempfile
    from pathlib import Path

    from tests.torture.fronts import FRONTS

    rounds, seed = (int(word) for word in (argv + ["30", "1"][len(argv):])[:2])
    for name, (front, left_out) in FRONTS.items():
        with tempfile.TemporaryDirectory(prefix="opsconsole-torture-") as here:
            Path(here).chmod(0o700)
            print(f"{name}: {torture(here, front, rounds, seed, left_out).line()}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
