"""What the history costs and how fast it answers, beside Prometheus on the same telemetry where that is installed.

One fleet is recorded by both and asked the same questions; a larger one, with a writer at work, shows what we promise. CPU time is that of
the process that does the work; times are p95 of wall clock on a machine that may have other work. Rerun (about 10 minutes on a quiet
machine; --quick: one):
python tests/bench/history.py [--quick]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np  # noqa: E402

from opsconsole.history.chunks import BLOCK, pack_chunks  # noqa: E402
from opsconsole.history.reader import Reader  # noqa: E402
from opsconsole.history.store import Store  # noqa: E402
from opsconsole.history.ticks import Pen  # noqa: E402
from opsconsole.history.tiers import MINUTES, TENS, Tier  # noqa: E402
from tests.bench import history_prometheus as prometheus  # noqa: E402
from tests.bench.history_telemetry import A_NODE, GPUS, Telemetry, numbers_of, write_openmetrics  # noqa: E402

FIVE = tuple(f"gpu.{name}" for name in ("util_pct", "power_w", "temp_c", "mem_used_mib", "sm_clock_mhz"))
BEGIN = (int(time.time()) - 40 * 86400) // 43200 * 43200


def record(path: Path, telemetry: Telemetry, seconds: int, settle: bool = False, said: list | None = None) -> float:
    """CPU seconds that recording took, everything but making the fleets. said: gets the numbers of each second."""
    used = 0.0
    with closing(Store(path)) as store:
        pen = Pen(store.slots())
        for fleet in telemetry.fleets(seconds):
            begun = time.process_time()
            tick = pen.write(fleet)
            store.write([tick], [])
            store.tidy(tick.t)
            used += time.process_time() - begun
            if said is not None:
                said.append(numbers_of(fleet))
        begun = time.process_time()
        if settle:
            store.settle(tick.t + 200)
        store.checkpoint()
        used += time.process_time() - begun
    return used


def used_bytes(path: Path) -> int:
    """The file without the pages that wait to be used again."""
    with Reader(path) as reader, reader._opened() as connection:
        pages, free, size = (connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def p95_ms(question: Callable[[], object], times: int) -> float:
    return asked(question, times)[0]


def asked(question: Callable[[], object], times: int) -> tuple[float, float]:
    """95 of 100 answers come within so many ms; and the mean of the CPU time of this process for one, in ms."""
    took, used = [], time.process_time()
    for _ in range(times):
        begun = time.perf_counter()
        question()
        took.append(time.perf_counter() - begun)
    return float(np.quantile(took, 0.95)) * 1000, (time.process_time() - used) / times * 1000


def side_by_side(home: Path, nodes: int, seconds: int) -> list[tuple[str, str, str]]:
    """Rows of (what, ours, Prometheus's) on the same telemetry."""
    path, telemetry, said = home / "same.db", Telemetry(nodes, BEGIN), []
    cpu_s = record(path, telemetry, seconds, settle=True, said=said)
    gpus, of_nodes = (np.stack(part, axis=2) for part in zip(*said, strict=True))
    samples = gpus.size + of_nodes.size
    ours = {"bytes a sample": f"{used_bytes(path) / samples:.2f}", "CPU to take in a sample": f"{cpu_s / samples * 1e9:.0f} ns"}
    chance, end = random.Random(3), BEGIN + seconds

    def place() -> tuple[int, int, int]:
        return chance.randrange(nodes), chance.randrange(GPUS), chance.randrange(BEGIN + 1000, end)

    with Reader(path) as reader:

        def chart(span_s: int, points: int) -> None:
            node, gpu, until = place()
            reader.series("gpu.power_w", f"n{node:05}", gpu, since=until - span_s, until=until, points=points)

        ours[f"15 min of one GPU (of {nodes * GPUS})"] = f"{p95_ms(lambda: chart(900, 1000), 200):.1f} ms"
        ours["lowest, mean and highest of each minute, all GPUs"] = (
            f"{p95_ms(lambda: reader.edges('gpu.power_w', BEGIN, end - 1, 60), 20):.1f} ms")
        ours["whole fleet at a moment, 5 metrics"] = f"{p95_ms(lambda: [reader.frame(name, place()[2]) for name in FIVE], 100):.1f} ms"
    theirs = of_prometheus(home, (gpus, of_nodes), seconds, place) if prometheus.HAS_PROMETHEUS else {}
    return [(what, said, theirs.get(what, "–")) for what, said in ours.items()]


def of_prometheus(
    home: Path, said: tuple[np.ndarray, np.ndarray], seconds: int, place: Callable[[], tuple[int, int, int]]
) -> dict[str, str]:
    text, data = home / "same.txt", home / "prometheus"
    samples = write_openmetrics(text, BEGIN, *said)
    cpu_s = prometheus.import_blocks(text, data)
    text.unlink()
    found = {"bytes a sample": f"{prometheus.size_bytes(data) / samples:.2f}", "CPU to take in a sample": f"{cpu_s / samples * 1e9:.0f} ns"}
    with prometheus.server(data) as server:

        def chart() -> None:
            node, gpu, until = place()
            query = f'gpu_power_w{{node="n{node:05}",gpu="{gpu}"}}'
            prometheus.ask(server, "query_range", query=query, start=until - 900, end=until, step=1)

        def minutes() -> None:
            for how in ("min", "avg", "max"):
                query = f"{how}_over_time(gpu_power_w[1m])"
                prometheus.ask(server, "query_range", query=query, start=BEGIN + 60, end=BEGIN + seconds - 1, step=60)

        def fleet() -> None:
            _, _, at = place()
            for name in FIVE:
                prometheus.ask(server, "query", query=name.replace(".", "_"), time=at)

        found[f"15 min of one GPU (of {len(said[0][0])})"] = f"{p95_ms(chart, 200):.1f} ms"
        found["lowest, mean and highest of each minute, all GPUs"] = f"{p95_ms(minutes, 20):.1f} ms"
        found["whole fleet at a moment, 5 metrics"] = f"{p95_ms(fleet, 100):.1f} ms"
    return found


def lengthen(path: Path, tier: Tier, windows: int, slots: int) -> None:
    """Older windows of one metric, so that a long chart has something to read: a walk as wide as what the tier is usually made of."""
    random_ = np.random.default_rng(2)
    level = 4000 + np.cumsum(random_.integers(-60, 61, (slots, tier.ticks)), axis=1)
    spread = random_.integers(0, 300, (2, slots, tier.ticks))
    planes = [pack_chunks(plane) for plane in (level, *spread, np.full((slots, tier.ticks), tier.step_s))]
    with closing(Store(path)) as store:
        metric = store.connection.execute("select id from metric where name = 'gpu.power_w'").fetchone()[0]
        for window in range(1, windows + 1):
            t0 = tier.window(BEGIN) - window * tier.window_s
            rows = [(tier.step_s, metric, t0, block, *row) for block, row in enumerate(zip(*planes, strict=True))]
            store.connection.executemany("insert into chunk values(?, ?, ?, ?, ?, ?, ?, ?)", rows)


def at_work(home: Path, nodes: int, seconds: int) -> list[tuple[str, ...]]:
    """Rows of (what, measured, CPU time of it, goal) of a larger fleet, while another process writes to the same file."""
    path, telemetry = home / "large.db", Telemetry(nodes, BEGIN)
    cpu_s = record(path, telemetry, seconds, settle=True)
    samples = seconds * nodes * A_NODE
    rows = [
        ("bytes a sample, all tiers", f"{used_bytes(path) / samples:.2f}", "", "0.45"),
        (f"{nodes} nodes at 1 Hz", f"{cpu_s / seconds:.1%} of a core", "", "1.5 %"),
        ("taken in and stored, a core", f"{samples / cpu_s / 1e6:.1f} M samples/s", "", "5 M"),
    ]
    telemetry.begin += seconds
    record(path, telemetry, 100)  # not sealed yet
    for tier, windows in ((MINUTES, 26), (TENS, 62)):
        lengthen(path, tier, windows, (nodes * GPUS + BLOCK - 1) // BLOCK * BLOCK)
    newest = BEGIN + seconds + 99
    writer = subprocess.Popen([sys.executable, __file__, "--write", str(path), str(nodes), str(newest + 1)])
    try:
        time.sleep(4)
        return rows + questions(path, nodes, newest)
    finally:
        writer.terminate()
        writer.wait()


def questions(path: Path, nodes: int, newest: int) -> list[tuple[str, ...]]:
    chance, rows = random.Random(4), []

    def measure(what: str, question: Callable[[], object], times: int, goal: str = "") -> None:
        wall_ms, cpu_ms = asked(question, times)
        rows.append((what, f"{wall_ms:.1f} ms", f"{cpu_ms:.1f} ms", goal))

    def gpu() -> tuple[str, int]:
        return f"n{chance.randrange(nodes):05}", chance.randrange(GPUS)

    def chart(reader: Reader, since: float, until: float) -> None:
        assert len(reader.series("gpu.power_w", *gpu(), since=since, until=until, points=2000).times) > 10

    with Reader(path) as reader:
        for what, span_s, promised in (("15 min", 900, "5 ms"), ("24 h", 86400, "5 ms"), ("30 d", 30 * 86400, "20 ms")):
            measure(f"chart of {what} to now", lambda s=span_s: chart(reader, newest - s, newest), 60, promised)

        def tail() -> None:
            with Reader(path) as fresh:
                chart(fresh, newest - 60, newest + 600)

        measure("the newest minutes, not sealed yet, file just opened", tail, 40, "50 ms")
    seconds = iter(chance.sample(range(newest - 890, newest - 250), 40))

    def fleet_at() -> None:
        with Reader(path) as fresh, fresh._opened():
            assert len(fresh._numbers.at(next(seconds), FIVE)) == len(FIVE)

    measure("whole fleet at a moment, 5 metrics, file just opened", fleet_at, 40, "75 ms")
    with Reader(path) as reader:
        window = iter(range((newest - 600) // 120 * 120, newest))
        measure("the Fleet of a moment, everything in it", lambda: reader.at(next(window)), 1)
        measure("the next second of it, as scrubbing asks", lambda: reader.at(next(window)), 100, "near 0")
    return rows


def write_on(path: Path, nodes: int, begin: int) -> None:
    """The writer at work, until it is ended: a second each second."""
    with closing(Store(path)) as store:
        pen = Pen(store.slots())
        for fleet in Telemetry(nodes, begin).fleets(3600):
            tick = pen.write(fleet)
            store.write([tick], [])
            store.tidy(tick.t)
            time.sleep(0.9)


def table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(["| " + " | ".join(row) + " |" for row in (titles, ("---",) * len(titles), *rows)])


def main(quick: bool) -> None:
    nodes, seconds = (10, 1320) if quick else (20, 7200)  # two hours are a whole block of Prometheus
    with tempfile.TemporaryDirectory(prefix="opsconsole-bench-") as home:
        name = f"Prometheus {prometheus.version()}" if prometheus.HAS_PROMETHEUS else "Prometheus is not installed"
        millions = nodes * A_NODE * seconds / 1e6
        print(f"the same {millions:.1f} M samples: all numbers of {nodes} nodes x {GPUS} GPUs at 1 Hz", flush=True)
        print(table(("", "opsconsole", name), side_by_side(Path(home), nodes, seconds)), flush=True)
        large = 200 if quick else 1000
        print(f"\n{large} nodes x {GPUS} GPUs, while another process writes", flush=True)
        rows = at_work(Path(home), large, 960 if quick else 3600)
        if not quick:
            cpu_s = record(Path(home) / "largest.db", Telemetry(1000, BEGIN, copies=10), 250)
            rows.insert(2, ("10,000 nodes at 1 Hz", f"{cpu_s / 250:.1%} of a core", "", "20 %"))
        print(table(("", "p95, or a mean", "CPU, mean", "goal"), rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_on(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main("--quick" in sys.argv)
