"""The rules that raise alarms, with sane defaults: how bad, from which figure on, for how long, and when it is over again."""

from __future__ import annotations

from dataclasses import dataclass

from opsconsole.core.alarm import CRITICAL, WARNING


@dataclass(frozen=True, slots=True)
class Rule:
    """When one kind of alarm is raised and cleared.

    limit, clear_limit: the figure, in `unit`, beyond which it is raised, and back behind which it is over; None: it is a plain fact.
    for_s, clear_s: how long it has to be so before it is raised, and to be gone before it is cleared. Both at once make a figure that
    hovers at its limit raise one alarm, not one a second.
    """

    name: str
    severity: int
    for_s: float
    clear_s: float
    says: str
    """When it is raised, in words."""
    limit: float | None = None
    clear_limit: float | None = None
    unit: str = ""
    is_on: bool = True
    metric: str = ""
    """Of a rule of the fleet file's own: "gpu.COLUMN", "node.COLUMN", "worker.FIELD" or "model.FIELD"; "" for a built-in rule."""
    is_below: bool = False
    """Of an own rule: it is raised below its limit, not above."""

    def is_beyond(self, value: float, stands: bool) -> bool:
        """Whether a figure asks for the alarm; of one that stands, whether it is not over yet."""
        limit = self.clear_limit if stands and self.clear_limit is not None else self.limit
        return value < limit if self.is_below else value > limit


RULES: tuple[Rule, ...] = (
    Rule("reach", CRITICAL, 3.0, 0.0, "a node cannot be heard; STALE for 3 s is a warning, whatever else is wrong is told at once"),
    Rule("gpu", CRITICAL, 0.0, 10.0, "a GPU does not answer its driver"),
    Rule("xid", CRITICAL, 0.0, 0.0, "a GPU has told an Xid that concerns hardware"),
    Rule("ecc", WARNING, 0.0, 0.0, "uncorrected memory errors of a GPU", 0.0, None, "errors"),
    Rule("throttle", WARNING, 10.0, 30.0, "hardware or heat slows GPUs; a power cap by software does not count"),
    Rule("temperature", WARNING, 60.0, 60.0, "the hottest GPU of a node", 88.0, 84.0, "°C"),
    Rule("power", CRITICAL, 5.0, 30.0, "what a site, PUE included, or a rack draws at its feed", 100.0, 97.0, "% of its budget"),
    Rule("worker", CRITICAL, 5.0, 0.0, "a worker FAILED (at once), or is NOT_READY"),
    Rule("crash-loop", CRITICAL, 0.0, 600.0, "a worker's node had to start it again within 10 min", 1.0, None, "times"),
    Rule("ready", CRITICAL, 0.0, 5.0, "a model has fewer workers READY than its min_ready"),
    Rule("ttft", WARNING, 5.0, 30.0, "TTFT eats the error budget of its objective: burn of a short and a long window", 30.0, 10.0, "x"),
    Rule("itl", WARNING, 5.0, 30.0, "ITL eats the error budget of its objective, likewise", 30.0, 10.0, "x"),
    Rule("queue", WARNING, 5.0, 30.0, "the wait at the router eats the error budget of TTFT, likewise", 30.0, 10.0, "x"),
    Rule("saturation", WARNING, 10.0, 60.0, "a model's requests will fill all its slots", 600.0, 1200.0, "s ahead", is_below=True),
    Rule("imbalance", WARNING, 120.0, 120.0, "a worker decodes slower than its peers on the same chip", 1.6, 1.3, "x their median ITL"),
    Rule("stranded", WARNING, 1800.0, 60.0, "GPUs have no worker while requests wait", 0.0, None, "GPUs"),
    Rule("disk", WARNING, 30.0, 60.0, "free space where a node keeps its workers", 5120.0, 7168.0, "MiB", is_below=True),
    Rule("clock", WARNING, 10.0, 10.0, "a node's clock is off", 5.0, 3.0, "s"),
    Rule("router", WARNING, 3.0, 5.0, "the router does not answer, or keeps old routes"),
    Rule("history", WARNING, 0.0, 5.0, "nothing is kept of what happens"),
    Rule("audit", CRITICAL, 0.0, 5.0, "the audit cannot be written, or soon not; free space", 200.0, 300.0, "MiB", is_below=True),
    Rule("notify", WARNING, 0.0, 5.0, "alarms do not reach those who should be told"),
)
BUILT_IN = {rule.name: rule for rule in RULES}

BURN_WINDOWS = ((60.0, 10.0, 1.0), (1800.0, 180.0, 0.48), (21600.0, 1800.0, 0.2))
"""(long window s, short window s, share of the rule's limit): an alarm when the budget burns so fast over both of one pair. With the
default of 30: 30x over a minute, 14.4x over half an hour, 6x over six hours. The form and the two slower rates are those of Google's Site
Reliability Workbook (2018), chapter 5, table 5-8, with shorter windows: who has five minutes cannot wait an hour."""
