"""The filter language of every list: `site:ams1 util>90 !drained` chooses nodes, GPUs and workers of a Fleet."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from opsconsole.core.columns import NUMBERS, TEXTS, Rows, dict_rows, gpu_rows, node_rows, worker_rows
from opsconsole.core.fleet import REACH_WORDS, Fleet, Worker
from opsconsole.protocol import WORKER_STATES

STATE_WORDS = frozenset(word.lower() for word in (*REACH_WORDS, *WORKER_STATES, "ACTIVE", "CORDONED", "MAINT"))
"""Such a word alone means that very state: `ready` does not find NOT_READY."""

_TERM = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_COMPARISON = re.compile(r"([a-z][a-z0-9_]*)(>=|<=|!=|>|<|=|:)(.*)", re.IGNORECASE | re.DOTALL)
_COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "=": operator.eq, "!=": operator.ne}
_WORD_KEYS = ("name", "node", "model", "site", "rack", "chip", "reach", "state", "reason")
_EXAMPLES = "for example site:ams1, util>90 or !drained"


class FilterError(ValueError):
    """An expression that cannot be read; the text is one sentence that names the term and what is allowed."""


Mask = Callable[[Rows], np.ndarray]
"""Rows -> (R,) bool."""


@dataclass(frozen=True)
class Filter:
    """A parsed expression: all of its terms must hold. named: (key, name or pattern) of the terms that ask for a thing by its name."""

    text: str
    terms: tuple[Mask, ...] = ()
    named: tuple[tuple[str, str], ...] = ()

    def nodes(self, fleet: Fleet) -> np.ndarray:
        """Which nodes it chooses, (N,) bool."""
        return self._choose(node_rows(fleet))

    def gpus(self, fleet: Fleet) -> np.ndarray:
        """Which GPUs it chooses, (G,) bool; a GPU has the words of its node."""
        return self._choose(gpu_rows(fleet))

    def workers(self, fleet: Fleet) -> list[Worker]:
        """The workers it chooses, in the fleet's order; a worker has the words and the GPU figures of its node."""
        chosen = self._choose(worker_rows(fleet))
        return [worker for worker, taken in zip(fleet.workers, chosen.tolist(), strict=True) if taken]

    def choose(self, things: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
        """Those of the JSON rows (models, sites) that it chooses; kind: the key that means their name."""
        chosen = self._choose(dict_rows(things, kind))
        return [thing for thing, taken in zip(things, chosen.tolist(), strict=True) if taken]

    def _choose(self, rows: Rows) -> np.ndarray:
        chosen = np.ones(rows.count, bool)
        for term in self.terms:
            chosen &= term(rows)
        return chosen


def parse(expression: str) -> Filter:
    """An expression as a Filter; "" chooses everything. Raises FilterError."""
    terms = _TERM.findall(expression)
    masks = tuple(_term(term) for term in terms)
    return Filter(expression, masks, tuple(pair for term in terms if (pair := _named(term))))


def _named(term: str) -> tuple[str, str] | None:
    compared = _COMPARISON.fullmatch(term)
    if compared is None or compared.group(2) not in (":", "=") or compared.group(1).lower() not in TEXTS:
        return None
    return compared.group(1).lower(), _unquoted(compared.group(3), term)


def _term(term: str) -> Mask:
    if term.startswith("!"):
        inner = term[1:]
        if not inner:
            raise FilterError(f"filter: `!` must stand before a term, {_EXAMPLES}")
        mask = _term(inner)
        return lambda rows: ~mask(rows)
    compared = _COMPARISON.fullmatch(term)
    if compared is None:
        return _word(_unquoted(term, term))
    key, sign, value = compared.group(1).lower(), compared.group(2), _unquoted(compared.group(3), term)
    if key in NUMBERS:
        return _number(term, key, sign, value)
    if key in TEXTS:
        return _text(term, key, sign, value)
    raise FilterError(f"filter: `{term}`: there is no key `{key}`; texts are {', '.join(TEXTS)}; numbers are {', '.join(NUMBERS)}")


def _unquoted(value: str, term: str) -> str:
    if value.count('"') % 2:
        raise FilterError(f"filter: `{term}`: the quotation mark is not closed")
    return value.replace('"', "")


def _word(word: str) -> Mask:
    wanted = word.lower()
    if not wanted:
        raise FilterError(f"filter: an empty word matches nothing, {_EXAMPLES}")
    if wanted in STATE_WORDS:
        return lambda rows: _where(rows, ("reach", "state"), wanted.__eq__) | _where(rows, ("name",), lambda text: wanted in text)
    return lambda rows: _where(rows, _WORD_KEYS, lambda text: wanted in text)


def _text(term: str, key: str, sign: str, value: str) -> Mask:
    if sign not in (":", "=", "!=") or not value:
        raise FilterError(f"filter: `{term}`: `{key}` is a text, so write {key}:WORD (with * for any characters)")
    wanted = value.lower()
    if sign == "!=":
        return lambda rows: ~_where(rows, (key,), lambda text: fnmatchcase(text, wanted))
    return lambda rows: _where(rows, (key,), lambda text: fnmatchcase(text, wanted))


def _number(term: str, key: str, sign: str, value: str) -> Mask:
    try:
        limit = float(value)
    except ValueError:
        limit = np.nan
    if limit != limit:
        raise FilterError(f"filter: `{term}`: `{key}` is a number, so write {key}>NUMBER (or >=, <, <=, =, !=)")
    compare = _COMPARE["=" if sign == ":" else sign]

    def mask(rows: Rows) -> np.ndarray:
        values = rows.number(key)
        return compare(values, limit) & ~np.isnan(values)  # unknown is neither above nor below

    return mask


def _where(rows: Rows, keys: tuple[str, ...], holds: Callable[[str], bool]) -> np.ndarray:
    found = np.zeros(rows.count, bool)
    for key in keys:
        codes, words = rows.text(key)
        hits = np.fromiter((any(holds(part) for part in word) for word in words), bool, len(words))
        if hits.any():
            found |= hits[codes]
    return found
