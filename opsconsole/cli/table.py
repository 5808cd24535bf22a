"""Tables for people: aligned by cell width, cleaned of what a terminal would obey, and readable without colour."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from opsconsole.cli.output import in_colour
from opsconsole.core.text import clean

Row = dict[str, Any]
GAP = "  "
REST_LEAST_CELLS = 12
"""What the last column keeps on a narrow terminal."""

MARKS = ("  ", "! ", "!!")
"""Severity as a shape, so that it is told without colour."""
_COLOURS = ("", "\x1b[33m", "\x1b[31m")
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Column(NamedTuple):
    """say: a row as the cell's text. right: numbers. optional: left out when every cell is empty."""

    title: str
    say: Callable[[Row], str]
    right: bool = False
    optional: bool = False


def cell_width(text: str) -> int:
    """Cells that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, cells: int) -> str:
    """`text` in at most so many cells, "…" where it was cut."""
    if cell_width(text) <= cells:
        return text
    kept, used = "", 1
    for character in text:
        used += _width(character)
        if used > cells:
            break
        kept += character
    return kept + "…"


def table(columns: Sequence[Column], rows: Sequence[Row], width: int | None = None) -> list[str]:
    """Lines of a table, its titles first. width: cells of the terminal, to which the last column is cut; None: uncut."""
    cells = [[clean(column.say(row)) for row in rows] for column in columns]
    kept = [index for index, column in enumerate(columns) if not column.optional or any(cells[index])]
    titles = [columns[index].title for index in kept]
    widths = [max([cell_width(columns[index].title), *map(cell_width, cells[index])]) for index in kept]
    if width is not None and widths:
        widths[-1] = min(widths[-1], max(width - sum(widths[:-1]) - len(GAP) * (len(widths) - 1), REST_LEAST_CELLS))
    rights = [columns[index].right for index in kept]
    lines = zip(*(cells[index] for index in kept), strict=True) if rows else ()
    return [_line(line, widths, rights) for line in (titles, *lines)]


def _line(cells: Sequence[str], widths: list[int], rights: list[bool]) -> str:
    padded = []
    for cell, width, right in zip(cells, widths, rights, strict=True):
        cell = fit(cell, width)
        blank = " " * (width - cell_width(cell))
        padded.append(blank + cell if right else cell + blank)
    return GAP.join(padded).rstrip()


def coloured(lines: list[str], rows: Sequence[Row]) -> list[str]:
    """The lines with each row's severity as colour and a silent row dim; what colour tells, a mark, REACH and AGE tell too."""
    if not in_colour():
        return lines
    return [f"\x1b[1m{lines[0]}{_PLAIN}", *(_colour(line, row) for line, row in zip(lines[1:], rows, strict=True))]


def _colour(line: str, row: Row) -> str:
    before = _COLOURS[row.get("severity") or 0]
    if row.get("reach") not in (None, "LIVE", "NO_DRIVER"):
        before += _DIM
    return f"{before}{line}{_PLAIN}" if before else line


def terminal_width() -> int | None:
    """Cells of a line when stdout is a terminal, else None."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
