"""A TOML table that knows the lines of its keys, hands out checked values, and complains about keys nobody asked for."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from opsconsole.config.values import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NAME_LIMIT = 120
_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"-]+)\s*\]")
_KEY = re.compile(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*[=.]")
_ENTRY = re.compile(r"\s*\{")


class Document:
    """A TOML file: its content, and where in the text each key stands (tomllib does not tell)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
            self.content = tomllib.loads(text)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such fleet file; make one with: opsconsole config init") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(_of_toml(path, text, str(error))) from None
        self._lines = _lines_of_keys(text)

    def line(self, table: str, index: int, key: str = "") -> int:
        return self._lines.get((table, index, key)) or self._lines.get((table, index, "")) or 1

    def has_line(self, table: str, index: int, key: str) -> bool:
        return (table, index, key) in self._lines

    def table(self, name: str) -> Table:
        """A [table]; an empty one when it is not there."""
        value = self.content.get(name, {})
        if not isinstance(value, dict):
            self._refuse(name, f"is written as a value; write a table headed [{name}]")
        return Table(self, name, 0, value)

    def tables(self, name: str) -> list[Table]:
        """All [[tables]] of a name."""
        values = self.content.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            self._refuse(name, f"is written as a single table; head each with [[{name}]]")
        return [Table(self, name, index, value) for index, value in enumerate(values)]

    def _refuse(self, name: str, problem: str) -> NoReturn:
        line = self._lines.get((name, 0, "")) or self.line("", 0, name)
        raise ConfigError(f"{self.path}:{line}: key `{name}`: {problem}")

    def allow(self, names: Collection[str]) -> None:
        """Raises ConfigError for a table that does not exist."""
        for name in self.content:
            if name not in names:
                self._refuse(name, f"there is no such table{_suggestion(name, names)}")


def _of_toml(path: Path, text: str, error: str) -> str:
    """tomllib's complaint with our way to name a place."""
    at = re.search(r" \(at line (\d+), column \d+\)", error)
    line = int(at[1]) if at else len(text.splitlines())
    return f"{path}:{line}: not valid TOML: {error[: at.start()] if at else error.removesuffix(' (at end of document)')}; mend this line"


def _lines_of_keys(text: str) -> dict[tuple[str, int, str], int]:
    """Line by (table, index of the table among those of its name, key); key "" is the header's, "key[2]" that of a list's third entry
    that begins a line."""
    lines: dict[tuple[str, int, str], int] = {}
    counts: dict[str, int] = {}
    table, index, last, entries = "", 0, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = header[2].replace('"', "")
            parent, _, rest = name.partition(".")
            if header[1] == "[[":
                counts[parent] = counts.get(parent, -1) + 1
            table, index = parent, max(counts.get(parent, 0), 0)
            lines.setdefault((table, index, rest), number)
        elif key := _KEY.match(line):
            lines.setdefault((table, index, key[1]), number)
            last, entries = key[1], 0
        elif last and _ENTRY.match(line):
            lines.setdefault((table, index, f"{last}[{entries}]"), number)
            entries += 1
    return lines


def _suggestion(name: str, names: Collection[str]) -> str:
    close = difflib.get_close_matches(name, names, 1, 0.6)
    return f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(sorted(names))}"


class Table:
    """Values by key. Each getter raises ConfigError naming file, line and key."""

    def __init__(self, document: Document, name: str, index: int, values: dict[str, Any], above: str = "") -> None:
        self._document, self._name, self._index, self._values, self._above = document, name, index, values, above
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def line(self, key: str = "") -> int:
        return self._document.line(self._name, self._index, self._above or key)

    def refuse(self, key: str, problem: str) -> NoReturn:
        shown = f"{self._above}.{key}" if self._above else key
        raise ConfigError(f"{self._document.path}:{self.line(key)}: key `{shown}`: {problem}")

    def get(self, key: str) -> Any:
        self._asked.add(key)
        return self._values.get(key)

    def text(self, key: str, default: str = "", pattern: re.Pattern[str] | None = None, mend: str = "") -> str:
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.refuse(key, f"is {value!r}, not a text; write it in quotes")
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            self.refuse(key, "has a control character; remove it")
        if pattern is not None and not pattern.fullmatch(value):
            self.refuse(key, f"is {value!r}; {mend}")
        return value

    def name(self, key: str, default: str | None = None) -> str:
        """A text that may stand in a command, a path and a metric. Required without a default."""
        if default is None and key not in self._values:
            self.refuse(key, f"is missing; give {self._name} a {key}")
        if default is not None and self.get(key) in (None, ""):
            return default
        value = self.text(key, "", NAME, "letters, digits, dot, hyphen and underscore are allowed")
        if len(value) > NAME_LIMIT:
            self.refuse(key, f"is longer than {NAME_LIMIT} characters; shorten it")
        return value

    def number(self, key: str, default: float | None, lowest: float, highest: float) -> float | None:
        value = self.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self.refuse(key, f"is {value!r}, not a number; write it without quotes")
        if not lowest <= value <= highest:
            self.refuse(key, f"is {value:g}; it must be from {lowest:g} to {highest:g}")
        return float(value)

    def whole(self, key: str, default: int, lowest: int, highest: int) -> int:
        value = self.number(key, default, lowest, highest)
        if value != int(value or 0):
            self.refuse(key, f"is {value:g}; it must be a whole number")
        return int(value or 0)

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            self.refuse(key, f"is {value!r}; write true or false")
        return default if value is None else value

    def within(self, key: str) -> Table:
        """A table in this one, empty when it is not there."""
        value = self.get(key)
        if value is not None and not isinstance(value, dict):
            self.refuse(key, f"is {value!r}; write {key} = {{ … = … }}")
        return Table(self._document, self._name, self._index, value or {}, key)

    def entries(self, key: str) -> list[Table]:
        """The tables of a list in this one, none when it is not there; a mistake in one is told with its own line where it has one."""
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.refuse(key, f"is {value!r}; write {key} = [{{ … = … }}, …]")
        places = [f"{key}[{number}]" for number in range(len(value))]
        has_own = self._document.has_line(self._name, self._index, places[0]) if places else False
        return [Table(self._document, self._name, self._index, entry, place if has_own else key)
                for place, entry in zip(places, value, strict=True)]

    def items(self) -> list[tuple[str, Any]]:
        self._asked.update(self._values)
        return list(self._values.items())

    def finish(self) -> None:
        """Raises ConfigError for a key that was never asked for: a misspelt one would be ignored in silence."""
        for key in self._values:
            if key not in self._asked:
                self.refuse(key, f"there is no such key{_suggestion(key, self._asked)}")
