"""Secrets, addresses and people taken out of what leaves the house: texts and JSON values made fit for a stranger's eyes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import msgspec

REMOVED = "[removed]"
ADDRESS = "[address]"
REDACTED = "[redacted]"

_NAMES = (
    r"(?:(?:api|access|private)[-_ ]?key|key[-_ ]?id|secret|passw(?:or)?d|passphrase|credentials?|authorization|cookie|sig(?:nature)?)"
)
_VALUE = r"(\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)"
_GIVES = r"(?![a-z0-9])[\w-]*[\"']?\s*[=:]\s*"
_SECRETS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REMOVED),
    (re.compile(r"(?<=://)[^/\s@]+@"), f"{REMOVED}@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {REMOVED}"),
    # the keys of OpenAI, Hugging Face, GitHub, GitLab, Slack, NVIDIA, AWS and Google are known by their beginnings, a JWT by its head
    (re.compile(r"\b(?:sk-|hf_|gh[opsur]_|github_pat_|glpat-|xox[abprs]-|nvapi-)[\w-]{8,}"), REMOVED),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}|\bAIza[\w-]{20,}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), REMOVED),
    (re.compile(rf"((?:\b|(?<=[_-])){_NAMES}{_GIVES}){_VALUE}", re.IGNORECASE), rf"\1{REMOVED}"),
    # a model's tokens are counted, a secret one is never a bare number
    (re.compile(rf"((?:\b|(?<=[_-]))token{_GIVES})(?![\d.]+(?:\W|$)){_VALUE}", re.IGNORECASE), rf"\1{REMOVED}"),
)
_SECRET_NAME = re.compile(rf"(?:^|[-_ ])(?:{_NAMES}|token)(?:$|[-_ ])", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.]*\w)")
_IPV6 = re.compile(r"(?<![\w:])\[?[0-9a-fA-F:]*::?[0-9a-fA-F:.]+(?:%\w+)?\]?(?::\d{1,5})?(?!\w)")
_ENVIRONMENTS = ("env", "environ", "environment")
_NAME_KEYS = frozenset((
    "name", "node", "site", "rack", "chip", "model", "worker", "engine", "subject", "kind", "rule", "id", "run", "order_id", "members",
    "targets", "op", "state", "phase", "hash", "uuid",
))
"""What tells one thing from another stays, or nothing could be told any more; so does a node's name that is an address."""
_TYPED_KEYS = frozenset(("reason", "silence_reason"))
_TYPED_BESIDE_AN_ACTOR = frozenset(("text", "note", "what"))
_HOMES = re.compile(r"(/home/|/Users/)[^/\s:]+")


@lru_cache(maxsize=8192)
def scrub(text: str) -> str:
    """`text` without what looks like a secret (REMOVED stands there) or a network address (ADDRESS)."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return _IPV6.sub(_no_address, _IPV4.sub(_no_address, text))


def _no_address(found: re.Match[str]) -> str:
    """A candidate that is no address (a time of day has colons, too) stays as it is."""
    said = found.group()
    bare = re.sub(r"\]:\d+$", "", said).strip("[]").partition("%")[0]
    for candidate in (bare, bare.rpartition(":")[0]):
        try:
            ip_address(candidate)
        except ValueError:
            continue
        return ADDRESS
    return said


class Scrubber:
    """Scrubs texts and values alike. people: pseudonyms instead of people's names, and none of the words that they typed."""

    def __init__(self, people: bool = False) -> None:
        self.hides_people = people
        self._pseudonyms: dict[str, str] = {}
        self._words: set[str] = set()

    def meet(self, actors: Iterable[str], words: Iterable[str] = ()) -> None:
        """Learns the names of people, and what they typed, before texts that hold either are scrubbed."""
        for actor in actors:
            self.person(actor)
        self._words.update(filter(None, words))

    def person(self, name: str) -> str:
        """Who did something, as it may be told: the same pseudonym for the same person."""
        if not self.hides_people or not name:
            return scrub(name)
        return self._pseudonyms.setdefault(name, f"operator-{len(self._pseudonyms) + 1}")

    def told(self, text: str, actor: str) -> str:
        """What is said of something that somebody did: what stands behind a colon may be that person's own words."""
        head, colon, _ = text.partition(": ")
        return f"{self.text(head)}: {REDACTED}" if self.hides_people and actor and colon else self.text(text)

    def typed(self, text: str) -> str:
        """A person's own words."""
        return REDACTED if self.hides_people and text else self.text(text)

    def text(self, text: str) -> str:
        if self.hides_people:
            text = _HOMES.sub(rf"\1{REDACTED}", text)
            for name, instead in (*self._pseudonyms.items(), *((words, REDACTED) for words in self._words)):
                if name in text:
                    text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", instead, text)
        return scrub(text)

    def value(self, value: Any, key: str = "", is_said: bool = False) -> Any:
        """Any value: of JSON, or made of frozen dataclasses, structs and tuples. key: its name; is_said: an actor stands beside it.

        Under an environment, or under a name of secrets, names stay and values go.
        """
        if isinstance(value, str):
            return self._word(value, key, is_said)
        if isinstance(value, dict):
            hidden, said = key.lower() in _ENVIRONMENTS, "actor" in value
            return {name: REMOVED if hidden else self.value(one, str(name), said) for name, one in value.items()}
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(self.value(one, key, is_said) for one in value)
        names = _field_names(value)
        if not names:
            return value
        said = "actor" in names
        return _remade(value, {name: self.value(getattr(value, name), name, said) for name in names})

    def _word(self, word: str, key: str, is_said: bool) -> str:
        if not word or key in _NAME_KEYS:
            return word
        if key.lower() in _ENVIRONMENTS and "=" in word:
            return f"{word.partition('=')[0]}={REMOVED}"
        if _SECRET_NAME.search(key):
            return REMOVED
        if key in ("actor", "by") or key.endswith("_by"):
            return self.person(word)
        return self.typed(word) if key in _TYPED_KEYS or (is_said and key in _TYPED_BESIDE_AN_ACTOR) else self.text(word)


def _field_names(value: Any) -> tuple[str, ...]:
    """Of a dataclass, a struct or a named tuple; () for everything else."""
    if dataclasses.is_dataclass(value):
        return tuple(field.name for field in dataclasses.fields(value) if field.init)
    return getattr(value, "__struct_fields__", None) or getattr(value, "_fields", ())


def _remade(value: Any, changes: dict[str, Any]) -> Any:
    if hasattr(value, "__struct_fields__"):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes) if dataclasses.is_dataclass(value) else value._replace(**changes)
