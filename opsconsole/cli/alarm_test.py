"""The fleet file's rules tried on the recorded past, so that a limit is chosen by what it would have done, not by feeling."""

from __future__ import annotations

import math
import time

from opsconsole.cli.moments import moment
from opsconsole.cli.output import CommandError, Exit, narrate, print_data, print_json
from opsconsole.cli.session import locate, read_fleet_file
from opsconsole.core.alarm import CRITICAL
from opsconsole.core.rule_trial import Fired, Trial
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text, at_text

MOMENTS_MOST = 3000
"""Looked at by default: about a minute's work for a fleet of a few hundred nodes."""


def test_rules(settings, since: str, step_s: float | None, only: str | None, as_json: bool) -> int:
    from opsconsole.control.past import HistoryError, Past
    from opsconsole.control.places import history_path

    rules = read_fleet_file(settings).alarm_rules
    if only is not None:
        rules = tuple(rule for rule in rules if rule.name == only)
        if not rules:
            raise CommandError(f"there is no rule {only!r}; `opsconsole alarms rules` lists them", Exit.USAGE)
    try:
        begin = moment(since, time.time())
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    path = history_path(locate(settings)[1])
    if not path.exists():
        raise CommandError(f"there is no history at {path} yet; the collector writes it while it watches")
    try:
        with Past(path).reader as reader:
            span = reader.span()
            if span is None or span[1] < begin:
                raise CommandError(f"the history at {path} holds nothing since {at_text(begin)}")
            first = max(begin, span[0])
            step_s = max(1.0, step_s or math.ceil((span[1] - first) / MOMENTS_MOST))
            trial = _gone_through(reader, Trial(rules, step_s), first, span[1], step_s)
    except HistoryError as error:
        raise CommandError(str(error)) from None
    _tell(trial, first, span[1], step_s, as_json)
    return Exit.DONE


def _gone_through(reader, trial: Trial, first: float, last: float, step_s: float) -> Trial:
    """A moment that cannot be read is passed over; that all of them cannot is an error."""
    from opsconsole.control.past import HistoryError

    seen, missing = -1.0, None
    for number in range(int((last - first) / step_s) + 1):
        at = first + number * step_s
        try:
            fleet = reader.at(at)
        except HistoryError as error:
            missing = error
            continue
        if fleet.at > seen:
            seen = fleet.at
            trial.see(fleet)
    if missing is not None and not trial.moments:
        raise missing
    return trial


def _tell(trial: Trial, first: float, last: float, step_s: float, as_json: bool) -> None:
    fired = trial.fired()
    if as_json:
        print_json({
            "since": at_text(first), "until": at_text(last), "step_s": step_s, "moments": trial.moments, "gaps": trial.gaps,
            "watched_s": round(trial.watched_s), "rules": [_json(one) for one in fired],
        })
        return
    width = max(len(one.rule.name) for one in fired) if fired else 4
    lines = [f"{'RULE':{width}}  SEVERITY  FIRED   IN ALL  LONGEST  MOST OFTEN"]
    for one in sorted(fired, key=lambda one: -one.times):
        word = "critical" if one.rule.severity == CRITICAL else "warning"
        who = ", ".join(f"{subject} ({times})" for subject, times in one.subjects)
        stands = f"; {one.stands} stand at the end" if one.stands else ""
        spans = f"{age_text(one.for_s):>7}  {age_text(one.longest_s):>7}" if one.times else f"{'–':>7}  {'–':>7}"
        lines.append(f"{one.rule.name:{width}}  {word:8}  {one.times:5}  {spans}  {who}{stands}".rstrip())
    print_data("\n".join(clean(line, 300) for line in lines))
    gaps = f", with {trial.gaps} gaps" if trial.gaps else ""
    narrate(f"{age_text(trial.watched_s)} since {at_text(first)}{gaps}, looked at every {age_text(step_s)}: "
            "what was so for a shorter time may be missed (--step looks closer)")


def _json(one: Fired) -> dict:
    return {
        "rule": one.rule.name, "severity": "critical" if one.rule.severity == CRITICAL else "warning", "fired": one.times,
        "for_s": round(one.for_s), "longest_s": round(one.longest_s), "stand_at_the_end": one.stands,
        "subjects": [{"subject": subject, "times": times} for subject, times in one.subjects],
    }
