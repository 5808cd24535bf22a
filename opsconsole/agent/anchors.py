"""Heads of the consoles' audits, left on the node with each order: an audit that was cut or rewritten contradicts them."""

import json
import os
import re
import time

from .answers import finish
from .hostile import count, plain
from .records import write_private

KEPT = 1000
SLACK = 200
"""As many more are let grow before the file is cut."""
TOLD = 40
"""The newest that an answer holds: a console takes lists of up to 50."""
HASH_PATTERN = re.compile(r"[0-9a-f]{16,128}\Z")
READ_LIMIT_BYTES = 2**20
LOCK = "~anchors"


def keep_anchor(order, records):
    """Append the head that the order carries, if it is one. Raises OSError."""
    anchor = order.get("anchor")
    if not isinstance(anchor, dict) or count(anchor.get("seq")) is None or not HASH_PATTERN.match(str(anchor.get("hash"))):
        return
    kept = {
        "audit": plain(anchor.get("audit"), 80), "seq": count(anchor["seq"]), "hash": anchor["hash"], "at": round(time.time(), 3),
        "order": plain(order["id"], 80), "by": plain(order.get("actor"), 80),
    }
    with records.node_lock(LOCK):
        lines = _lines(records)
        if len(lines) >= KEPT + SLACK:
            write_private(_path(records), "".join(line + "\n" for line in lines[-KEPT:]))
        with open(os.open(_path(records), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
            file.write(json.dumps(kept, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())


def anchors(order, node):
    """The newest heads, the last left last."""
    kept = [anchor for anchor in map(_object, _lines(node.records)[-KEPT:]) if anchor]
    yield finish("%d audit heads are kept here" % len(kept), anchors=kept[-TOLD:], kept=len(kept))


def _lines(records):
    try:
        with open(_path(records), encoding="utf-8", errors="replace") as file:
            return file.read(READ_LIMIT_BYTES).splitlines()
    except OSError:
        return []


def _object(line):
    try:
        value = json.loads(line)
    except ValueError:
        return None  # half a line: the node lost power while it was written
    return value if isinstance(value, dict) else None


def _path(records):
    return os.path.join(records.work_dir, "anchors.jsonl")
