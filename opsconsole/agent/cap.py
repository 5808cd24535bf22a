"""Power limits of this node's GPUs: what they were before the first cap is kept in a file, so that any console can put it back."""

import getpass

from .answers import finish, refuse
from .hostile import finite

NOTE = "power-limits"
TOLERANCE_W = 1.0
"""A driver may round what it is given."""


class CapRefused(Exception):
    """A limit could not be set; the text is for the operator."""


def not_permitted(row):
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "this user"
    return CapRefused("GPU %d: the driver lets only root set power limits, and the agent runs as %s; give this node a root login "
                      "or set it there with nvidia-smi -pl" % (row, user))


def cap(order, node):
    """Each of the GPUs to so many watts, or (null) to what it had before the first cap; all of them or none."""
    rows, watts = order.get("gpus"), order.get("watts")
    facts = node.source.facts()
    refusal = _refusal(rows, watts, facts)
    if refusal:
        yield refuse(refusal)
        return
    with node.records.node_lock():
        yield _cap(rows, watts, node, [facts.gpus[row].get("uuid") or str(row) for row in rows])


def _refusal(rows, watts, facts):
    count = len(facts.gpus)
    is_row = lambda row: isinstance(row, int) and not isinstance(row, bool) and 0 <= row < count  # noqa: E731 (one use, beside)
    if not isinstance(rows, list) or not rows or not all(map(is_row, rows)) or len(set(rows)) != len(rows):
        return "gpus must be distinct rows of this node's %d GPUs%s" % (count, " (%s)" % facts.error if facts.error else "")
    if watts is None:
        return None
    if finite(watts) is None:
        return "watts must be a number or null"
    for row in rows:
        lowest, highest = facts.gpus[row].get("power_min_w"), facts.gpus[row].get("power_max_w")
        if lowest is not None and highest is not None and not lowest <= watts <= highest:
            return "GPU %d takes %.0f to %.0f W, not %.0f W" % (row, lowest, highest, watts)
    return None


def _cap(rows, watts, node, uuids):
    originals = node.records.load_note(NOTE) or {}
    if watts is None and not any(finite(originals.get(uuid)) for uuid in uuids):
        return finish("was not capped here; the limits are as they were", gpus=rows)
    before, done = {}, []
    try:
        for row, uuid in zip(rows, uuids):  # noqa: B905 (3.10 and newer)
            before[row] = node.source.power_limit_w(row)
            originals.setdefault(uuid, before[row])
        node.records.save_note(NOTE, originals)  # before the first change: it must outlive this agent
        for row, uuid in zip(rows, uuids):  # noqa: B905 (3.10 and newer)
            done.append(row)
            _set(node.source, row, originals[uuid] if watts is None else watts)
    except CapRefused as error:
        return refuse(str(error), **_put_back(node.source, done, before))
    if watts is None:
        kept = {uuid: limit_w for uuid, limit_w in originals.items() if uuid not in uuids}
        node.records.save_note(NOTE, kept) if kept else node.records.forget_note(NOTE)
    limits = [round(node.source.power_limit_w(row), 1) for row in rows]
    return finish("%d GPUs limited to %s W each" % (len(rows), ", ".join(sorted({"%.0f" % limit for limit in limits}))),
                  gpus=rows, limits_w=limits, before_w=[before[row] for row in rows])


def _set(source, row, watts):
    source.set_power_limit_w(row, watts)
    now_w = source.power_limit_w(row)
    if abs(now_w - watts) > TOLERANCE_W:
        raise CapRefused("GPU %d was given %.0f W, and its driver says %.0f W" % (row, watts, now_w))


def _put_back(source, rows, before):
    """What a cap that failed half way leaves: nothing, where the driver lets it."""
    stuck = []
    for row in rows:
        try:
            if abs(source.power_limit_w(row) - before[row]) > TOLERANCE_W:
                source.set_power_limit_w(row, before[row])
        except CapRefused:
            stuck.append(row)
    return {"not_put_back": stuck} if stuck else {}
