"""Starting a worker so that it outlives this agent and its connection, and telling when it serves."""

import os
import re
import socket
import subprocess
import threading
import time

from . import processes
from .answers import finish, progress, refuse
from .host import disk_free_mib
from .records import Record
from .scrape import NoAnswer, fetch, local_address
from .workers import log_tail

DISK_NEEDED_MIB = 64
READY_LIMIT_S = 600.0
POLL_S = 0.25
ADDRESS_PATTERN = re.compile(r"[0-9A-Za-z.:-]{1,255}\Z")

spawning = threading.Lock()
"""Held from a worker's start until its record is on disk: an agent that ends in between would leave a worker nobody knows."""


def launch(order, node):
    """Answers: started, each phase, then READY or why not. The same order again waits for the same worker."""
    refusal = _refusal(order, node)
    if refusal:
        yield refuse(refusal)
        return
    lock = node.records.lock(order["worker"], "launch %s" % order["id"])
    if lock is None:
        yield refuse("another order has this worker: %s" % node.records.lock_owner(order["worker"]))
        return
    with lock:
        watched = node.board.find(order["worker"])
        if watched and watched.check_process() and watched.record.order != order["id"]:
            yield refuse("%s is alive already (pid %d)" % (order["worker"], watched.record.pid))
            return
        if not watched or watched.record.order != order["id"]:
            watched = _start(order, node)
    record = watched.record
    yield progress("started pid %d port %d" % (record.pid, record.port), pid=record.pid, port=record.port)
    yield from _wait_until_ready(watched)


def _refusal(order, node):
    """Why this order cannot be carried out, or None."""
    if order.get("engine", "jax") != "jax":
        return "this agent starts jax workers only"
    for field in ("checkpoint", "model"):
        text = order.get(field)
        if not isinstance(text, str) or not 0 < len(text) <= 4096 or not text.isprintable() or text.startswith("-"):
            return "%s must be printable text that does not begin with -" % field
    if not isinstance(order.get("host"), str) or not ADDRESS_PATTERN.match(order["host"]):
        return "host must be an address"
    for field, lowest, highest in (("port", 0, 65535), ("slots", 1, 4096), ("max_len", 1, 2**24)):
        if not _is_whole(order.get(field), lowest, highest):
            return "%s must be a whole number from %d to %d" % (field, lowest, highest)
    share = order.get("gpu_share", 1.0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        return "gpu_share must be a number above 0, at most 1"
    return _gpu_refusal(order.get("gpus"), node.source) or _disk_refusal(node)


def _gpu_refusal(rows, source):
    facts = source.facts()
    count = len(facts.gpus)
    if not isinstance(rows, list) or not all(_is_whole(row, 0, count - 1) for row in rows) or len(set(rows)) != len(rows):
        return "gpus must be distinct rows of this node's %d GPUs%s" % (count, " (%s)" % facts.error if facts.error else "")
    errors = source.reading().errors
    return next(("GPU %d: %s" % (row, errors[row]) for row in rows if row in errors), None)


def _disk_refusal(node):
    free_mib = disk_free_mib(node.records.work_dir)
    if free_mib is None or free_mib < DISK_NEEDED_MIB:
        return "only %s MiB are free in %s; a worker needs %d" % (free_mib, node.records.work_dir, DISK_NEEDED_MIB)
    return None


def _is_whole(value, lowest, highest):
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _start(order, node):
    """The worker's process, recorded and on the board. Raises OSError."""
    name, boot_id = order["worker"], node.board.boot_id
    port = order["port"] or free_port(order["host"])
    record = Record(
        name=name, model=order["model"], engine="jax", gpus=order["gpus"], slots=order["slots"], host=order["host"], port=port,
        boot_id=boot_id, started_wall=round(time.time(), 3), log=node.records.log_path(name), order=order["id"],
    )
    with spawning:
        argv = command(order, port, node.worker_python, node.source)
        child = _spawn(argv, environment(order["gpus"], node.source), record.log, node.records.work_dir)
        record.pid, record.start_time = child.pid, processes.start_time(child.pid)
        try:
            node.records.save(record)
        except OSError:
            child.kill()
            child.wait()
            raise
    node.board.put(record, child)
    return node.board.find(name)


def _spawn(argv, variables, log_path, work_dir):
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables, cwd=work_dir, start_new_session=True)
    finally:
        os.close(log)


SHARE_OF_SHARE = 0.9
"""What JAX may take of a worker's share of a GPU's memory: the driver's context, the compiler and NCCL need some beside."""


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
    variables = dict(os.environ, PYTHONUNBUFFERED="1")
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


def _wait_until_ready(watched):
    """A progress answer for each phase, then the last answer."""
    begun_mono, told = time.monotonic(), None
    while time.monotonic() - begun_mono < READY_LIMIT_S:
        if not watched.check_process():
            yield refuse("did not become ready: %s" % watched.why_gone(), log=log_tail(watched.record.log))
            return
        state, phase, reason = watched.state()
        if state == "FAILED":
            yield refuse("FAILED: %s" % reason, log=log_tail(watched.record.log))
            return
        if _is_ready(watched.record):
            yield finish("READY", pid=watched.record.pid, port=watched.record.port, seconds=round(time.monotonic() - begun_mono, 2))
            return
        if phase and phase != told:
            told = phase
            yield progress("phase %s" % phase, phase=phase)
        time.sleep(POLL_S)
    yield refuse("not ready after %.0f s; it goes on starting" % READY_LIMIT_S, log=log_tail(watched.record.log))


def _is_ready(record):
    try:
        return fetch(local_address(record.host), record.port, "/readyz")[0] == 200
    except NoAnswer:
        return False
