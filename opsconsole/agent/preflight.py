"""What must hold before a worker is started: each refusal is one sentence with the numbers."""

import os
import re
import socket
import time

from opsconsole.protocol import GPU_COLUMNS

from .cordon import cordon_refusal
from .engines import spec_refusal
from .host import disk_free_mib

DISK_NEEDED_MIB = 64
ADDRESS_PATTERN = re.compile(r"[0-9A-Za-z.:-]{1,255}\Z")
SHARE_OF_SHARE = 0.9
"""What JAX may take of a worker's share of a GPU's memory: the driver's context, the compiler and NCCL need some beside. Other engines
take as much of a whole GPU too."""
WHOLE_SHARE = 0.75
"""What JAX takes of the memory of a GPU that it does not share, unless told otherwise."""
USED = GPU_COLUMNS.index("mem_used_mib")
ROUNDING = 1e-6
FRESH_LIMIT_S = 3.0


def order_refusal(order):
    """What is wrong with the order itself, or None."""
    for field in ("checkpoint", "model", "engine"):
        text = order.get(field, "jax" if field == "engine" else None)
        if not isinstance(text, str) or not 0 < len(text) <= 4096 or not text.isprintable() or text.startswith("-"):
            return "%s must be printable text that does not begin with -" % field
    if order.get("engine", "jax") != "jax":
        refusal = spec_refusal(order.get("engine_spec"))
        if refusal:
            return refusal
    if not isinstance(order.get("host"), str) or not ADDRESS_PATTERN.match(order["host"]):
        return "host must be an address"
    for field, lowest, highest in (("port", 0, 65535), ("slots", 1, 4096), ("max_len", 1, 2**24)):
        if not _is_whole(order.get(field), lowest, highest):
            return "%s must be a whole number from %d to %d" % (field, lowest, highest)
    share = order.get("gpu_share", 1.0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        return "gpu_share must be a number above 0, at most 1"
    return None


def node_refusal(order, node):
    """Why this node cannot start it now, or None. Only under the node's lock: what is free must stay free until it is taken."""
    rows, share = order.get("gpus"), float(order.get("gpu_share", 1.0))
    return (
        cordon_refusal(node.records) or _rows_refusal(rows, node.source) or _taken_refusal(rows, share, node)
        or _memory_refusal(rows, _memory_share(order, share), node)
        or _checkpoint_refusal(order) or _port_refusal(order) or _disk_refusal(node)
    )


def _rows_refusal(rows, source):
    facts = source.facts()
    count = len(facts.gpus)
    if not isinstance(rows, list) or not all(_is_whole(row, 0, count - 1) for row in rows) or len(set(rows)) != len(rows):
        return "gpus must be distinct rows of this node's %d GPUs%s" % (count, " (%s)" % facts.error if facts.error else "")
    errors = source.reading().errors
    return next(("GPU %d: %s" % (row, errors[row]) for row in rows if row in errors), None)


def _taken_refusal(rows, share, node):
    tenants = [record for record in node.board.tenants() if record.name]
    for row in rows:
        here = [record for record in tenants if row in record.gpus]
        taken = sum(record.share or 1.0 for record in here)
        if taken + share > 1.0 + ROUNDING:
            who = ", ".join("%s (%.2f)" % (record.name, record.share or 1.0) for record in here)
            return "GPU %d is taken by %s: %.2f of it is free, %.2f is asked for" % (row, who, max(0.0, 1.0 - taken), share)
    return None


def _memory_share(order, share):
    """Of each GPU's memory, that the worker will take."""
    return WHOLE_SHARE if share >= 1.0 and order.get("engine", "jax") == "jax" else share * SHARE_OF_SHARE


def _memory_refusal(rows, share, node):
    """Memory that strangers hold would only be found out at the end of a long load. What has just ended may still be in the reading."""
    end_mono = time.monotonic() + FRESH_LIMIT_S
    refusal = _memory_short(rows, share, node)
    while refusal and time.monotonic() < end_mono:
        time.sleep(0.2)
        refusal = _memory_short(rows, share, node)
    return refusal


def _memory_short(rows, share, node):
    reading, gpus = node.source.reading(), node.source.facts().gpus
    for row in rows:
        total, used = gpus[row].get("mem_total_mib"), reading.rows[row][USED] if row < len(reading.rows) else None
        if not total or used is None:
            continue  # nobody knows: the worker will find out
        needed = total * share
        if total - used < needed:
            holders = ", ".join("pid %d has %s" % (pid, mib) for held_row, pid, _name, mib in reading.procs if held_row == row)
            told = (row, total - used, total, needed, holders or "no process is named")
            return "GPU %d has %d of %d MiB free, the worker needs %d (%s)" % told
    return None


def _checkpoint_refusal(order):
    """Only what is plainly a path is looked up: a name may be one that the engine fetches by itself."""
    path = os.path.expanduser(order["checkpoint"])
    if not os.path.isabs(path) or os.path.exists(path):
        return None
    return "there is no checkpoint %s on this node" % path


def _port_refusal(order):
    if not order["port"]:
        return None
    family = socket.AF_INET6 if ":" in order["host"] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((order["host"], order["port"]))
    except OSError as error:
        return "port %d of %s is not free: %s" % (order["port"], order["host"], error.strerror)
    return None


def _disk_refusal(node):
    free_mib = disk_free_mib(node.records.work_dir)
    if free_mib is None or free_mib < DISK_NEEDED_MIB:
        return "only %s MiB are free in %s; a worker needs %d" % (free_mib, node.records.work_dir, DISK_NEEDED_MIB)
    return None


def _is_whole(value, lowest, highest):
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest
