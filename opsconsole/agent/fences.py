"""Who may act on a worker: each order that is taken makes a new generation, and one that was made for an older one is refused.

The generation outlives the worker's record, so that it never goes back when a name is used again.
"""

import time

from .answers import refuse
from .hostile import count, plain

UNNAMED = "an unnamed console"


class Fences:
    """The generations of a node's workers. `take` only under the worker's lock."""

    def __init__(self, records):
        self._records = records
        self._seen = {}

    def generation(self, name):
        """The newest, read from disk; None when no order was ever taken."""
        self._seen[name] = generation = _generation(self._records.load_fence(name))
        return generation

    def last_seen(self, name):
        """The newest as far as this agent knows, without asking the disk."""
        return self._seen.get(name)

    def refusal(self, order):
        """Why this order comes too late, as an Answer; None when it may be taken, or is the one that was taken last."""
        if "generation" not in order:
            return None
        wanted, name = order["generation"], order["worker"]
        if wanted is not None and (count(wanted) is None or isinstance(wanted, float)):
            return refuse("generation must be a whole number or null")
        fence = self._records.load_fence(name) or {}
        now = _generation(fence)
        if now is None or fence.get("order") == order["id"] or now == wanted:
            return None
        if wanted is None and self._records.load(name) is None:
            return None  # the name was used before, and is free
        told = "%s by %s, %d s ago (generation %d, not %s)" % (
            fence.get("op"), by(fence), age_s(fence), now, "none" if wanted is None else wanted)
        text = "%s has taken another order since this one was planned: %s; look again before acting" % (name, told)
        return refuse(text, **conflict(fence))

    def take(self, order):
        """As `refusal`; None means that the order has the worker's newest generation. Raises OSError when that cannot be kept."""
        refusal = self.refusal(order)
        fence = self._records.load_fence(order["worker"]) or {}
        if refusal is None and fence.get("order") != order["id"]:
            generation = (_generation(fence) or 0) + 1
            self._records.save_fence(order["worker"], {
                "generation": generation, "order": order["id"], "op": order["op"], "by": plain(order.get("actor"), 80), "at": time.time(),
            })
            self._seen[order["worker"]] = generation
        return refusal

    def holder(self, name):
        """Detail of the order that was taken last, for one that finds the worker held."""
        return conflict(self._records.load_fence(name) or {})


def _generation(fence):
    return count(fence.get("generation")) if fence else None


def by(fence):
    return plain(fence.get("by"), 80) or UNNAMED


def age_s(fence):
    return max(0, int(time.time() - (count(fence.get("at")) or time.time())))


def conflict(fence):
    return {"conflict": True, "by": by(fence), "order": plain(fence.get("order")), "age_s": age_s(fence)}
