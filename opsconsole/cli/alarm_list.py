"""Alarms and rules as a person reads them in a terminal, and as scripts do."""

from __future__ import annotations

import sys
import time

from opsconsole.cli.output import CommandError, Exit, narrate, print_data, print_json
from opsconsole.cli.past import fleet_at
from opsconsole.cli.session import open_session, read_fleet_file
from opsconsole.core.alarm import CRITICAL, Alarm
from opsconsole.core.alarm_book import SHIFT
from opsconsole.core.alarm_rules import BUILT_IN, Rule
from opsconsole.core.fleet import Fleet
from opsconsole.core.mends import mends
from opsconsole.core.text import clean
from opsconsole.core.wording import age_text, alarms_json, at_text

CLEAR_SCREEN = "\x1b[H\x1b[2J"
ATTACH_AGAIN_S = 2.0
MEMBERS_NAMED = 6


def list_alarms(settings, as_json: bool, watch: bool, past: tuple[str | None, str | None] | None = None) -> int:
    """past: --at and --file, None for the fleet as it is. Raises CommandError."""
    if watch:
        return _watch(settings, as_json)
    if past is not None:
        _show(fleet_at(settings, *past), as_json)
        return Exit.DONE
    with open_session(settings) as session:
        _show(session.first_fleet(), as_json)
    return Exit.DONE


def _watch(settings, as_json: bool) -> int:
    """Until Ctrl-C; a collector that ends is followed by the next."""
    watched = False
    paint = sys.stdout.isatty() and not as_json
    while True:
        try:
            with open_session(settings) as session:
                for fleet in session.frames():
                    watched = True
                    if paint:
                        print(CLEAR_SCREEN, end="")
                    _show(fleet, as_json)
            return Exit.FAILED
        except CommandError as error:
            if not watched or error.exit_code != Exit.FAILED:
                raise
            narrate(f"{error}; trying again")
            time.sleep(ATTACH_AGAIN_S)


def _show(fleet: Fleet, as_json: bool) -> None:
    if as_json:
        print_json(alarms_json(fleet))
    else:
        print_data("\n".join(clean(line, 400) for line in alarm_lines(fleet)))


def alarm_lines(fleet: Fleet) -> list[str]:
    """Every alarm with what is known of it, then what is silenced, then the notes of the shift."""
    still = [alarm for alarm in fleet.alarms if not alarm.is_open]
    waiting = len(fleet.alarms) - len(still)
    taken, silenced = sum(not alarm.silenced_by for alarm in still), sum(bool(alarm.silenced_by) for alarm in still)
    who = "alarm waits" if waiting == 1 else "alarms wait"
    lines = [f"{waiting} {who} for a person, {taken} taken, {silenced} silenced" if fleet.alarms else "no alarms"]
    for alarm in fleet.alarms:
        lines += _lines(fleet, alarm)
    for one in fleet.alarm_book.silences:
        lines.append(f"silenced: {one.what} until {at_text(one.until)} by {one.actor or '-'}: {one.reason}")
    lines += [f"shift note {at_text(note.at)} {note.actor or '-'}: {note.text}" for note in fleet.alarm_book.notes_of(SHIFT)]
    return lines


def _lines(fleet: Fleet, alarm: Alarm) -> list[str]:
    word = "CRITICAL" if alarm.severity == CRITICAL else "WARNING"
    lines = [f"{alarm.id}  {word:8}  {age_text(fleet.at - alarm.since):>6}  {alarm.text}" + (f": {alarm.detail}" if alarm.detail else "")]
    told = [f"{', '.join(alarm.members[:MEMBERS_NAMED])}"
            + (f" and {len(alarm.members) - MEMBERS_NAMED} more" if len(alarm.members) > MEMBERS_NAMED else "")] if alarm.members else []
    told += [f"likely: {alarm.cause}"] if alarm.cause else []
    told += ["over now; cleared once it stays so"] if alarm.is_over else []
    if alarm.acked_by and alarm.acked_at is not None:
        told.append(f"taken by {alarm.acked_by} {age_text(fleet.at - alarm.acked_at)} ago")
    if alarm.silenced_until is not None:
        told.append(f"silenced by {alarm.silenced_by} until {at_text(alarm.silenced_until)}: {alarm.silence_reason}")
    told += [f"note {at_text(note.at)} {note.actor or '-'}: {note.text}" for note in alarm.notes]
    if alarm.is_open:
        told += [f"mend: {mend.command}" for mend in mends(fleet, alarm)]
    return [*lines, *(f"       {line}" for line in told)]


def list_rules(settings, as_json: bool) -> int:
    rules = read_fleet_file(settings).alarm_rules
    if as_json:
        print_json({"rules": [rule_json(rule) for rule in rules]})
        return Exit.DONE
    print_data("\n".join(clean(line, 400) for line in _rule_lines(rules)))
    return Exit.DONE


def rule_json(rule: Rule) -> dict:
    return {
        "rule": rule.name, "enabled": rule.is_on, "severity": "critical" if rule.severity == CRITICAL else "warning", "limit": rule.limit,
        "clear_limit": rule.clear_limit, "unit": rule.unit or None, "for_s": rule.for_s, "clear_s": rule.clear_s,
        "metric": rule.metric or None, "says": rule.says, "built_in": rule == BUILT_IN.get(rule.name),
    }


def _rule_lines(rules: tuple[Rule, ...]) -> list[str]:
    width = max(len(rule.name) for rule in rules)
    lines = []
    for rule in rules:
        word = "off" if not rule.is_on else "critical" if rule.severity == CRITICAL else "warning"
        limit = "" if rule.limit is None else f" {'below' if rule.is_below else 'above'} {rule.limit:g} {rule.unit}".rstrip()
        over = "" if rule.clear_limit is None else f", over {'above' if rule.is_below else 'below'} {rule.clear_limit:g}"
        mark = "" if rule == BUILT_IN.get(rule.name) else "  (fleet file)"
        times = f"for {age_text(rule.for_s)}" if rule.for_s else "at once"
        lines.append(f"{rule.name:{width}}  {word:8}  {times}{limit}{over}, cleared after {age_text(rule.clear_s)}  {rule.says}{mark}")
    return lines
