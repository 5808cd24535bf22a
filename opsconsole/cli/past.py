"""The past for commands: a history opened for reading, its failures told as sentences, and the fleet as it was at a moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from opsconsole.cli.moments import moment
from opsconsole.cli.output import CommandError, Exit, narrate
from opsconsole.cli.session import locate
from opsconsole.core.wording import age_text, at_text

if TYPE_CHECKING:
    from opsconsole.cli.root import Settings
    from opsconsole.control.archive import Reader
    from opsconsole.core.fleet import Fleet


def history_file(settings: Settings, file: str | None) -> Path:
    """The history to read: the given file, checked as a stranger's, else that of the state directory. Raises CommandError."""
    from opsconsole.control import archive

    if file is None:
        return archive.history_path(locate(settings)[1])
    try:
        return archive.from_elsewhere(Path(file))
    except archive.HistoryError as error:
        raise CommandError(str(error)) from None


@contextmanager
def open_past(settings: Settings, file: str | None = None) -> Iterator[Reader]:
    """A reader of the history, without a collector. What it cannot answer is raised as a CommandError."""
    from opsconsole.control import archive

    path = history_file(settings, file)
    try:
        with archive.Reader(path) as reader:
            yield reader
    except archive.HistoryError as error:
        raise CommandError(str(error)) from None


def typed_moment(text: str, now: float | None = None) -> float:
    """A moment as typed, in epoch seconds. Raises CommandError."""
    try:
        return moment(text, time.time() if now is None else now)
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None


def span_of(reader: Reader) -> tuple[float, float]:
    """The first and the last moment that are kept. Raises CommandError when there is none."""
    span = reader.span()
    if span is None:
        raise CommandError(f"nothing is recorded in {reader.path} yet")
    return span


def typed_span(since: str, until: str, now: float | None = None) -> tuple[float, float]:
    """Two moments as typed. Raises CommandError."""
    now = time.time() if now is None else now
    start, end = typed_moment(since, now), typed_moment(until, now)
    if start >= end:
        raise CommandError(f"the beginning of the span, {since}, is not before its end, {until}", Exit.USAGE)
    return start, end


def now_of(reader: Reader, file: str | None) -> float:
    """What times are counted back from: in a file from elsewhere its end. Raises CommandError."""
    return time.time() if file is None else span_of(reader)[1]


def fleet_at(settings: Settings, at: str | None, file: str | None = None) -> Fleet:
    """The fleet as it was, with a word on stderr of when that was. at: as typed, None is the end. Raises CommandError."""
    with open_past(settings, file) as reader:
        span = span_of(reader)
        wanted = span[1] if at is None else typed_moment(at, now_of(reader, file))
        _check(wanted, span, at)
        fleet = reader.at(wanted)
        _tell_which(reader, wanted, fleet.at, span)
    return fleet


def _check(wanted: float, span: tuple[float, float], at: str | None) -> None:
    if wanted > time.time() + 1.0:
        raise CommandError(f"--at {at} lies in the future; what will be is told by forecasts, not by history", Exit.USAGE)
    if wanted < span[0]:
        kept = f"seconds are kept from {at_text(span[0])} to {at_text(span[1])}"
        raise CommandError(f"nothing is kept of {at_text(wanted)}: {kept}; `opsconsole history` may reach further back, in minutes")


def _tell_which(reader: Reader, wanted: float, shown: float, span: tuple[float, float]) -> None:
    """On stderr: a listing does not say itself that it is old, and must not pass for another second than it is."""
    from opsconsole.control.archive import GAP_S

    if wanted - shown <= GAP_S:
        narrate(f"as it was at {at_text(shown)}")
        return
    this = f"this is the second {at_text(shown)}, {age_text(wanted - shown)} before"
    if wanted >= span[1]:
        narrate(f"nobody has recorded since {at_text(shown)}; {this}")
    else:
        narrate(f"nobody recorded between {at_text(shown)} and {at_text(reader.next_after(wanted))}; {this}")
