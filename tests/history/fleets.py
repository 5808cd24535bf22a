"""Small fleets with known numbers, for the tests of the history."""

from dataclasses import fields, replace

import numpy as np

from opsconsole.core.fleet import HEADLINES, LIVE, Fleet, NodeFacts, Roster, Worker
from opsconsole.history.moments import NOT_KEPT
from opsconsole.protocol import GPU_COLUMNS, NODE_COLUMNS


def roster(node_count=3, gpu_count=2):
    nodes = tuple(NodeFacts(f"node{row}", chip="H100") for row in range(node_count))
    total = node_count * gpu_count
    return Roster(
        fleet_name="test", nodes=nodes, gpu_start=np.arange(node_count + 1) * gpu_count, gpu_uuid=tuple(f"u{row}" for row in range(total)),
        gpu_name=("H100",) * total, gpu_index=np.tile(np.arange(gpu_count), node_count),
    )


def fleet_at(at, of=None, seed=0, workers=()):
    """A LIVE fleet with random but plausible numbers."""
    of = of or roster()
    random = np.random.default_rng(seed + int(at))
    node_count, gpu_count = len(of.nodes), len(of.gpu_uuid)
    gpu = random.uniform(0, 100, (len(GPU_COLUMNS), gpu_count)).round(0)
    return Fleet(
        at=float(at), mono=float(at), roster=of, reach=np.full(node_count, LIVE, np.int8), cause=("",) * node_count,
        sampled_mono=np.full(node_count, float(at)), clock_offset_s=np.zeros(node_count),
        node_values=random.uniform(0, 100, (len(NODE_COLUMNS), node_count)).round(0), gpu_values=gpu,
        workers=tuple(workers), trend=np.arange(len(HEADLINES), dtype=float)[:, None],
    )


def with_gpu(fleet, column, row, value):
    values = fleet.gpu_values.copy()
    values[GPU_COLUMNS.index(column), row] = value
    return replace(fleet, gpu_values=values)


def worker(name="w0", node="node0", **fields):
    return Worker(name, node, **({"state": "READY", "queue_depth": 3.0, "ttft_p95_ms": 41.5} | fields))


def assert_same(one, other, where="", apart_from=()):
    """That two fleets are equal in everything, numbers to a billionth; apart_from: fields that need not be."""
    if isinstance(one, (Fleet, Roster)):
        for field in fields(one):
            if field.name not in apart_from and field.name not in NOT_KEPT:
                assert_same(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}", apart_from)
    elif isinstance(one, np.ndarray):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-9, err_msg=where)
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}[{key}]")
    else:
        assert one == other and type(one) is type(other), where
