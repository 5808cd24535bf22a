"""Many seeds, one after the other: `python -m tests.trial 20000 [FIRST]`. A seed that breaks a promise is printed with its history."""

import sys
import time

from tests.trial.trials import broken_at


def main(count: int, first: int = 0) -> int:
    began, broken = time.monotonic(), []
    for seed in range(first, first + count):
        if found := broken_at(seed):
            broken.append(seed)
            print(found, flush=True)
    print(f"{count} seeds from {first}: {len(broken)} broke a promise {broken[:20]}, {time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:] or ["500"])))
