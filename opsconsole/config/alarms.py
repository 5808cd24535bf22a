"""The fleet file's [[alarms]]: built-in rules tuned or switched off, and rules of the operator's own."""

from __future__ import annotations

from dataclasses import replace

from opsconsole.config.table import Document, Table
from opsconsole.core.alarm import CRITICAL, WARNING
from opsconsole.core.alarm_rules import BUILT_IN, RULES, Rule
from opsconsole.core.own_rules import METRICS

SEVERITIES = {"warning": WARNING, "critical": CRITICAL}
OWN_FOR_S, OWN_CLEAR_S = 30.0, 30.0
LONGEST_S = 86400.0
RULES_MOST = 100


def read_rules(document: Document) -> tuple[Rule, ...]:
    """All rules: the built-in ones as the file has them, then its own. Raises ConfigError."""
    rules = dict(BUILT_IN)
    lines: dict[str, int] = {}
    for table in document.tables("alarms"):
        name = table.name("rule")
        if name in lines:
            table.refuse("rule", f"{name} is already in line {lines[name]}; say all of it in one table")
        if len(rules) >= RULES_MOST + len(RULES):
            table.refuse("rule", f"there are more than {RULES_MOST} rules; remove some")
        lines[name] = table.line("rule")
        rules[name] = _tuned(table, BUILT_IN[name]) if name in BUILT_IN else _own(table, name)
        table.finish()
    return tuple(rules.values())


def _tuned(table: Table, rule: Rule) -> Rule:
    if rule.limit is None:
        for key in ("limit", "clear_limit"):
            if key in table:
                table.refuse(key, f"the rule {rule.name} is about a plain fact, it has no limit; tune severity, for_s, clear_s or enabled")
    limit = table.number("limit", rule.limit, 0.0, 1e12)
    clear_limit = rule.clear_limit
    if limit != rule.limit and clear_limit is not None and rule.limit:
        clear_limit = limit * clear_limit / rule.limit  # as far behind its limit as the built-in one
    return _timed(table, replace(rule, limit=limit, clear_limit=_clear_limit(table, limit, clear_limit, rule.is_below)))


def _own(table: Table, name: str) -> Rule:
    if "metric" not in table:
        known = ", ".join(sorted(BUILT_IN))
        table.refuse("rule", f'there is no built-in rule {name} (there are {known}); a rule of your own needs metric = "gpu.power_w"')
    metric = table.text("metric")
    if metric not in METRICS:
        table.refuse("metric", f"is {metric!r}; known are {', '.join(METRICS)}")
    if ("above" in table) == ("below" in table):
        table.refuse("metric", "needs a limit: write either above = N or below = N")
    is_below = "below" in table
    limit = table.number("below" if is_below else "above", 0.0, -1e15, 1e15)
    rule = Rule(name, WARNING, OWN_FOR_S, OWN_CLEAR_S, f"{metric} {'below' if is_below else 'above'} {limit:g}", limit, None, metric=metric,
                is_below=is_below)
    return _timed(table, replace(rule, clear_limit=_clear_limit(table, limit, None, is_below)))


def _clear_limit(table: Table, limit: float | None, default: float | None, is_below: bool) -> float | None:
    clear_limit = table.number("clear_limit", default, -1e15, 1e15)
    if "clear_limit" in table and (clear_limit < limit if is_below else clear_limit > limit):
        side = "below" if is_below else "above"
        problem = f"is {clear_limit:g}, {side} the limit of {limit:g}"
        table.refuse("clear_limit", f"{problem}: the alarm would never end; put it on the calm side")
    return clear_limit


def _timed(table: Table, rule: Rule) -> Rule:
    return replace(
        rule, severity=severity(table, rule.severity), for_s=table.number("for_s", rule.for_s, 0.0, LONGEST_S) or 0.0,
        clear_s=table.number("clear_s", rule.clear_s, 0.0, LONGEST_S) or 0.0, is_on=table.flag("enabled", rule.is_on),
    )


def severity(table: Table, default: int) -> int:
    said = table.text("severity")
    if said and said not in SEVERITIES:
        table.refuse("severity", f'is {said!r}; write "warning" or "critical"')
    return SEVERITIES.get(said, default)
