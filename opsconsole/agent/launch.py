"""Starting a worker so that it outlives this agent and its connection, and telling when it serves."""

import json
import os
import socket
import threading
import time

from opsconsole.protocol import METRICS_PREFIX

from . import engines, units
from .alone import alone
from .answers import finish, progress, refuse
from .keeper import start_kept
from .preflight import SHARE_OF_SHARE, node_refusal, order_refusal
from .records import Record
from .scrape import NoAnswer, fetch, is_ready, local_address, look
from .workers import log_tail

READY_LIMIT_S = 600.0
FIRST_TOKEN_LIMIT_S = 30.0
POLL_S = 0.25
UNIT_TERM_LIMIT_S = 60.0
"""After so long systemd ends a worker of ours that was told to end; an idle one needs a second or two."""
PROVEN = {
    200: "first token",
    **dict.fromkeys((404, 405, 501), "no completions API to try"),
    **dict.fromkeys((401, 403), "not tried: it wants a key"),
}
"""HTTP statuses of the first generation that let a worker be READY, and what they prove."""

spawning = threading.Lock()
"""Held from a worker's start until its record is on disk: an agent that ends in between would leave a worker nobody knows."""


def launch(order, node):
    """Answers: each phase as it begins, then READY or why not. The same order again waits for the same worker."""
    refusal = order_refusal(order)
    if refusal:
        yield refuse(refusal)
        return
    yield from alone(order, node, lambda: _launch(order, node))


def _launch(order, node):
    watched = node.board.find(order["worker"])
    begun_mono = time.monotonic()
    if watched is None or watched.record.order != order["id"]:
        if watched and watched.check_process():
            yield refuse("%s is alive already (pid %d)" % (order["worker"], watched.record.pid))
            return
        if watched and watched.state()[2] and watched.record.orphans:
            yield refuse("%s has left an orphan: %s" % (order["worker"], watched.state()[2]))
            return
        yield _phase("preflight", begun_mono)
        with node.records.node_lock():
            refusal = node_refusal(order, node)
            if not refusal:
                watched = _start(order, node)
        if refusal:
            yield refuse(refusal)
            return
    record = watched.record
    detail = {"pid": record.pid, "port": record.port, "supervised": _supervision(record, node)}
    yield progress("started pid %d port %d" % (record.pid, record.port), **detail)
    yield from _wait_until_ready(watched, node, begun_mono)


def _supervision(record, node):
    if record.unit:
        return "systemd (%s) keeps it: %s" % tuple(record.unit)
    return "a process of its own keeps it%s" % (": %s" % node.no_systemd if node.no_systemd else "")


def _start(order, node):
    """The worker, recorded and on the board. Raises OSError."""
    name, host, spec = order["worker"], order["host"], order.get("engine_spec")
    port = order["port"] or free_port(host)
    record = Record(
        name=name, model=order["model"], engine=order.get("engine", "jax"), gpus=order["gpus"], slots=order["slots"], host=host, port=port,
        boot_id=node.board.boot_id, started_wall=round(time.time(), 3), log=node.records.log_path(name), order=order["id"],
        checkpoint=order["checkpoint"], share=float(order.get("gpu_share", 1.0)), restarts=0,
    )
    variables = environment(order["gpus"], node.source)
    if record.engine == "jax":
        argv = command(order, port, node.worker_python, node.source)
    else:
        argv, record.spec = engines.filled(spec, host, port, order["gpus"]), engines.kept(spec, METRICS_PREFIX)
        variables.update(spec.get("env", {}))
    node.board.forget(name)
    node.records.set_leaving(name, False)
    with spawning:
        record = _supervised(node, record, argv, variables, spec is None or spec.get("notifies", False))
    node.board.put(record)
    return node.board.find(name)


def _supervised(node, record, argv, variables, notifies):
    if not node.systemd:
        return start_kept(node.records, record, argv, variables)
    record.unit = [node.systemd, units.unit_name(record.name)]
    limit_s = record.spec["term_limit_s"] if record.spec else UNIT_TERM_LIMIT_S
    try:
        record = units.start_unit(node.records, record, argv, variables, limit_s, notifies)
    except OSError as error:
        raise OSError(": ".join(filter(None, (str(error), log_tail(record.log))))) from error
    node.records.save(record)
    return record


def command(order, port, worker_python, source):
    """The worker's argv; no shell ever sees it. Several real GPUs share the model, and several workers may share one."""
    gpus = []
    if source.name == "nvml" and len(order["gpus"]) > 1:
        gpus = ["--tensor-parallel", str(len(order["gpus"]))]
    if order.get("gpu_share", 1) < 1:
        gpus = ["--memory-fraction", "%.3f" % (order["gpu_share"] * SHARE_OF_SHARE)]
    return [
        os.path.expanduser(worker_python), "-m", "opsconsole.worker", "--model", order["checkpoint"], "--name", order["model"],
        "--host", order["host"], "--port", str(port), "--slots", str(order["slots"]), "--max-len", str(order["max_len"]),
        *gpus,
    ]


def environment(rows, source):
    """The worker sees its own GPUs only, named by UUID since rows may change; on simulated GPUs, or none, JAX uses the processor."""
    variables = {name: text for name, text in os.environ.items() if name not in units.NOT_HANDED_DOWN}
    variables["PYTHONUNBUFFERED"] = "1"
    if source.name != "nvml" or not rows:
        variables["JAX_PLATFORMS"] = "cpu"
        return variables
    gpus = source.facts().gpus
    variables["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[row].get("uuid") or str(row) for row in rows)
    return variables


def free_port(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        return listener.getsockname()[1]


def _wait_until_ready(watched, node, begun_mono):
    """A progress answer for each phase, then the last answer."""
    told, name = None, watched.record.name
    while time.monotonic() - begun_mono < READY_LIMIT_S:
        if node.records.is_asked_back(name):
            yield refuse("cancelled", cancelled=True, seconds=_since(begun_mono))
            return
        is_alive = watched.check_process()
        state, phase, reason = watched.state()
        if not is_alive or state == "FAILED":
            why = "did not become ready: %s" % watched.why_gone() if not is_alive else "FAILED: %s" % reason
            yield refuse(why, log=log_tail(watched.record.log), restarts=watched.record.restarts, seconds=_since(begun_mono))
            return
        if is_ready(watched.record):
            yield from _prove_first_token(watched, begun_mono)
            return
        if phase and phase != told:
            told = phase
            yield _phase(phase, begun_mono, **({"reason": reason} if reason else {}))
        time.sleep(POLL_S)
    yield refuse("not ready after %.0f s; it goes on starting" % READY_LIMIT_S, log=log_tail(watched.record.log))


def _phase(phase, begun_mono, **more):
    return progress("phase %s" % phase, phase=phase, elapsed_s=_since(begun_mono), **more)


def _since(begun_mono):
    return round(time.monotonic() - begun_mono, 2)


def _had_programs(record):
    """Whether nothing had to be compiled; a worker tells that once it is ready."""
    try:
        return look(record).artifacts == "hit"
    except NoAnswer:
        return False


def _prove_first_token(watched, begun_mono):
    """READY only after a generation of one token, where the engine has that API."""
    record = watched.record
    if _had_programs(record):
        yield _phase("cache hit", begun_mono)
    yield _phase("first token", begun_mono)
    body = json.dumps({"model": record.model, "prompt": "a", "max_tokens": 1}).encode()
    try:
        status = fetch(local_address(record.host), record.port, "/v1/completions", "POST", FIRST_TOKEN_LIMIT_S, body)[0]
    except NoAnswer as error:
        status = str(error)
    if status not in PROVEN:
        yield refuse("ready, but it gave no first token: %s; it is left running, drain it" % (
            "HTTP %s" % status if isinstance(status, int) else status), log=log_tail(record.log), seconds=_since(begun_mono))
        return
    yield finish("READY", pid=record.pid, port=record.port, seconds=_since(begun_mono), proof=PROVEN[status], restarts=record.restarts)
