"""Made-up Fleet values for the screen's tests: calm, alarm, lost, hostile, empty and large ones, the same at every call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from msgspec.structs import replace as changed

from opsconsole.core.alarm import Note
from opsconsole.core.alarm_book import Ack, Book, Silence, marked
from opsconsole.core.alarms import find_alarms
from opsconsole.core.fleet import (
    CONNECTING,
    GPU_FACT_COLUMNS,
    HEADLINES,
    LIVE,
    STALE,
    UNREACHABLE,
    Fleet,
    Model,
    NodeFacts,
    Process,
    Roster,
    Site,
    Worker,
)
from opsconsole.core.headlines import headlines
from opsconsole.protocol import GPU_COLUMNS, NODE_COLUMNS

NOW = 1_763_694_767.0
"""03:12:47 UTC, when such things happen."""
MONO = 5000.0
CHIPS = {"H200": (144_384.0, 700.0), "H100": (81_920.0, 700.0), "L40S": (46_068.0, 350.0)}
"""memory in MiB, power limit in W."""
MODELS = (
    Model("llama-8b", gpus=1, slots=16, min_ready=2, ttft_p95_ms=500.0),
    Model("qwen3-72b", gpus=4, slots=32, min_ready=2, ttft_p95_ms=2000.0),
    Model("bge-m3", gpus=1, slots=64, min_ready=1),
)
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "[@click=app.quit]click[/]",
    "n[/]x",
    "[/x]",
    "a\u202egpj.exe\u2066",
    "z\u0300\u0301\u0302\u0303\u0304algo",
    "日本語ノード",
    "👩‍👩‍👧‍👦 family",
    "line\nbreak\rback",
    "\x9b31mC1",
    "nul\x00bel\x07",
    "$(reboot)",
    "%s%n{0}",
)
"""Names from strangers who want the terminal, the markup or the layout."""


def roster(nodes: int = 24, gpus: int = 8, names: tuple[str, ...] = ()) -> Roster:
    chips = list(CHIPS)
    sites = ("ams1", "ams1", "fra2")
    kinds = [min(2, row * 3 // max(nodes, 1)) for row in range(nodes)]
    facts = tuple(
        NodeFacts(
            names[row] if row < len(names) else f"{chips[kind].lower()}-{row + 1:03d}",
            sites[kind],
            f"r{row // 8 + 1:02d}",
            chips[kind],
            driver="570.86.15",
            hostname=f"host{row}",
            python="3.11.2",
            cpu_count=64,
        )
        for row, kind in enumerate(kinds)
    )
    kind_of_gpu = np.repeat(kinds, gpus).astype(int)
    columns = np.full((len(GPU_FACT_COLUMNS), nodes * gpus), np.nan)
    columns[GPU_FACT_COLUMNS.index("mem_total_mib")] = np.array([CHIPS[chip][0] for chip in chips])[kind_of_gpu] if nodes else 0
    return Roster(
        fleet_name="prod-eu-1",
        environment="production",
        nodes=facts,
        sites=(Site("ams1", "acme", 140.0, 1.25), Site("fra2", "acme", 40.0, 1.3)),
        models=MODELS,
        gpu_start=np.arange(nodes + 1) * gpus,
        gpu_uuid=tuple(f"GPU-{row:08x}" for row in range(nodes * gpus)),
        gpu_name=tuple(f"NVIDIA {chips[kind]}" for kind in kind_of_gpu),
        gpu_index=np.tile(np.arange(gpus), nodes),
        gpu_facts=columns,
    )


def calm(nodes: int = 24, gpus: int = 8, seed: int = 7, names: tuple[str, ...] = (), at: float = NOW) -> Fleet:
    """Every node answers, two workers a node, nothing is wrong."""
    random = np.random.default_rng(seed)
    lineup = roster(nodes, gpus, names)
    values = np.full((len(GPU_COLUMNS), nodes * gpus), np.nan)
    base = np.repeat(random.uniform(45, 95, nodes), gpus)
    limit = np.array([CHIPS[node.chip][1] for node in lineup.nodes])[lineup.gpu_node] if nodes else np.zeros(0)
    util = np.clip(base + random.normal(0, 5, nodes * gpus), 0, 100)
    memory = lineup.gpu_fact("mem_total_mib")
    for name, column in (
        ("util_pct", util),
        ("mem_util_pct", util * 0.6),
        ("mem_used_mib", memory * random.uniform(0.6, 0.92, nodes * gpus)),
        ("power_w", limit * (0.25 + util / 160)),
        ("power_limit_w", limit),
        ("temp_c", 45 + util * 0.3),
        ("sm_clock_mhz", np.full(nodes * gpus, 1980.0)),
        ("mem_clock_mhz", np.full(nodes * gpus, 2600.0)),
        ("throttle", np.zeros(nodes * gpus)),
        ("ecc_corrected", np.zeros(nodes * gpus)),
        ("ecc_uncorrected", np.zeros(nodes * gpus)),
        ("energy_j", util * 1e6),
    ):
        values[GPU_COLUMNS.index(name)] = column
    told = np.full((len(NODE_COLUMNS), nodes), 20.0)
    told[NODE_COLUMNS.index("disk_free_mib")] = 500_000.0
    fleet = Fleet(
        at=at,
        mono=MONO,
        roster=lineup,
        reach=np.full(nodes, LIVE, np.int8),
        cause=("",) * nodes,
        sampled_mono=np.full(nodes, MONO - 0.4),
        clock_offset_s=np.zeros(nodes),
        node_values=told,
        gpu_values=values,
        workers=_workers(lineup, random),
        processes={row: (Process(0, 4000 + row, "python3 -m opsconsole.worker", 61_000.0),) for row in range(nodes)},
    )
    return _finished(fleet, random)


def _workers(lineup: Roster, random: np.random.Generator) -> tuple[Worker, ...]:
    found = []
    for row, node in enumerate(lineup.nodes):
        model = MODELS[row % 3]
        for number in range(2):
            gpus = tuple(range(number * 4, number * 4 + model.gpus))
            found.append(
                Worker(
                    f"{model.name}-{row * 2 + number:03x}",
                    node.name,
                    model.name,
                    "jax",
                    gpus,
                    8000 + number,
                    4000 + row,
                    "READY",
                    slots=model.slots,
                    queue_depth=float(random.integers(0, 5)),
                    running=float(random.integers(1, model.slots)),
                    tokens_per_s=float(random.uniform(300, 900)),
                    requests_per_s=float(random.uniform(2, 9)),
                    ttft_p50_ms=90.0,
                    ttft_p95_ms=float(random.uniform(120, 380)),
                    itl_p95_ms=28.0,
                    kv_used_pct=float(random.uniform(20, 90)),
                    started_wall=NOW - 86_400,
                )
            )
    return tuple(found)


def _finished(fleet: Fleet, random: np.random.Generator, ticks: int = 300) -> Fleet:
    """With trends that end at the fleet's own figures, and its alarms."""
    now = headlines(fleet)
    wobble = 1 + random.normal(0, 0.02, (len(HEADLINES), ticks))
    trend = np.where(np.isnan(now)[:, None], np.nan, now[:, None] * wobble)
    trend[HEADLINES.index("nodes_live")] = now[HEADLINES.index("nodes_live")]
    queues = {model.name: np.abs(random.normal(6, 2, ticks)) for model in fleet.roster.models}
    alarms = tuple(replace(alarm, since=fleet.at - 64.0 - 9 * place) for place, alarm in enumerate(find_alarms(fleet)))
    return replace(fleet, trend=trend, model_queue_trend=queues, alarms=alarms)


def alarm(nodes: int = 24) -> Fleet:
    """A bad night: one host gone, a GPU off the bus, two nodes too hot, one silent, a model too slow, a drain, a start."""
    fleet = calm(nodes)
    random = np.random.default_rng(3)
    values, reach, sampled, cause = fleet.gpu_values.copy(), fleet.reach.copy(), fleet.sampled_mono.copy(), list(fleet.cause)
    hot = slice(24, 40)
    values[GPU_COLUMNS.index("throttle"), hot] = 0x40
    values[GPU_COLUMNS.index("temp_c"), hot] = random.uniform(86, 92, 16)
    values[GPU_COLUMNS.index("sm_clock_mhz"), hot] = 1305.0
    values[:, 59] = np.nan
    reach[[9, 14]] = (UNREACHABLE, STALE)
    sampled[[9, 14]] = (MONO - 64, MONO - 3.6)
    cause[9] = "no route to host; is the machine on? ask its BMC"
    workers = list(fleet.workers)
    for place, worker in enumerate(workers):
        if worker.model == "llama-8b":
            workers[place] = changed(worker, ttft_p95_ms=900.0 + place, queue_depth=21.0)
    workers[34] = changed(workers[34], state="DRAINING", queue_depth=0.0, running=3.0)
    workers[40] = changed(
        workers[40], state="STARTING", phase="load", ttft_p95_ms=None, queue_depth=None, running=None, tokens_per_s=None, kv_used_pct=None
    )
    fleet = replace(
        fleet,
        gpu_values=values,
        reach=reach,
        sampled_mono=sampled,
        cause=tuple(cause),
        workers=tuple(workers),
        gpu_errors={59: "fell off the bus (Xid 79)"},
    )
    fleet = _finished(fleet, random)
    trend = fleet.trend.copy()
    trend[HEADLINES.index("nodes_live"), :236] = nodes
    trend[HEADLINES.index("ttft_p95_ms"), :200] = 330.0
    trend[HEADLINES.index("queue_depth"), :200] *= 0.2
    return replace(fleet, trend=trend)


def taken() -> Fleet:
    """The bad night, an hour on: one alarm is taken, one rule silenced, two were written on."""
    fleet = alarm()
    lost, broken = fleet.alarms[:2]
    book = Book(
        {broken.id: Ack(NOW - 1500, "anna@laptop", 2, 1)},
        (Silence("throttle", NOW + 5400, "the chiller is being mended", "bert", NOW - 1800),),
        ((lost.id, Note(NOW - 600, "anna@laptop", "its BMC does not answer; remote hands are called")),
         ("shift", Note(NOW - 300, "bert", "h200-004 and -005 stay hot until 5"))),
    )
    alarms = [marked(one, book, fleet.roster) for one in fleet.alarms]
    return replace(fleet, alarm_book=book, alarms=tuple(sorted(alarms, key=lambda one: (bool(one.silenced_by), bool(one.acked_by)))))


def lost() -> Fleet:
    """Nobody answers any more: last values, old."""
    fleet = calm(12)
    fleet = replace(
        fleet, reach=np.full(12, UNREACHABLE, np.int8), sampled_mono=np.full(12, MONO - 321.0), cause=("connection timed out",) * 12
    )
    return _finished(fleet, np.random.default_rng(5))


def connecting(nodes: int = 12) -> Fleet:
    """The first moment: the roster is known, no node has answered."""
    fleet = calm(nodes)
    bare = replace(
        fleet.roster,
        gpu_start=np.zeros(nodes + 1, np.int64),
        gpu_uuid=(),
        gpu_name=(),
        gpu_index=np.zeros(0, np.int64),
        gpu_facts=np.zeros((len(GPU_FACT_COLUMNS), 0)),
    )
    return Fleet(
        at=NOW,
        mono=MONO,
        roster=bare,
        reach=np.full(nodes, CONNECTING, np.int8),
        cause=("",) * nodes,
        sampled_mono=np.full(nodes, np.nan),
        clock_offset_s=np.full(nodes, np.nan),
        node_values=np.full((len(NODE_COLUMNS), nodes), np.nan),
    )


def empty() -> Fleet:
    """A fleet file without nodes."""
    return Fleet(at=NOW, mono=MONO, roster=Roster(fleet_name="prod-eu-1"))


def hostile() -> Fleet:
    """Strangers' words wherever a word can stand, uncleaned: as if ingest had failed us."""
    fleet = calm(len(HOSTILE), names=HOSTILE)
    text = dict(enumerate(HOSTILE))
    workers = tuple(
        changed(
            worker,
            name=HOSTILE[place % len(HOSTILE)],
            model=HOSTILE[(place + 3) % len(HOSTILE)],
            state="FAILED" if place % 5 == 0 else "READY",
            reason=HOSTILE[(place + 1) % len(HOSTILE)],
            phase=HOSTILE[(place + 2) % len(HOSTILE)],
        )
        for place, worker in enumerate(fleet.workers)
    )
    nodes = tuple(
        replace(node, site=HOSTILE[row % 5], rack=HOSTILE[(row + 1) % 7], chip=HOSTILE[(row + 2) % 3], driver=HOSTILE[row])
        for row, node in enumerate(fleet.roster.nodes)
    )
    models = tuple(Model(name, min_ready=1, ttft_p95_ms=100.0) for name in HOSTILE)
    processes = {row: (Process(0, 4000 + row, HOSTILE[row], 61_000.0),) for row in range(len(nodes))}
    fleet = replace(
        fleet,
        workers=workers,
        roster=replace(fleet.roster, nodes=nodes, models=models, fleet_name=HOSTILE[0]),
        gpu_errors={row * 8: words for row, words in text.items()},
        processes=processes,
        cause=HOSTILE,
        reach=np.array([LIVE, UNREACHABLE] * (len(HOSTILE) // 2), np.int8),
    )
    return _finished(fleet, np.random.default_rng(5))


def large(nodes: int = 1000, tick: int = 0) -> Fleet:
    """Many nodes whose figures move a little each tick."""
    return calm(nodes, seed=11 + tick, at=NOW + tick)


def moving(fleet: Fleet, random: np.random.Generator, seconds: float = 1.0) -> Fleet:
    """The same fleet a second later: every figure has wandered a little."""
    values = fleet.gpu_values.copy()
    for name, size, top in (("util_pct", 2.0, 100.0), ("temp_c", 0.4, 110.0), ("power_w", 8.0, 1000.0)):
        row = GPU_COLUMNS.index(name)
        values[row] = np.clip(values[row] + random.normal(0, size, values.shape[1]), 0, top)
    trend = np.roll(fleet.trend, -1, axis=1)
    trend[:, -1] = fleet.trend[:, -1] * (1 + random.normal(0, 0.01, len(trend)))
    trend[HEADLINES.index("nodes_live"), -1] = fleet.trend[HEADLINES.index("nodes_live"), -1]
    return replace(
        fleet, at=fleet.at + seconds, mono=fleet.mono + seconds, sampled_mono=fleet.sampled_mono + seconds, gpu_values=values, trend=trend
    )
