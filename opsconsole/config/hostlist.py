"""Many hosts in one word, as Slurm and ClusterShell write them: gpu[001-016,020].ams1."""

from __future__ import annotations

import re

HOSTS_LIMIT = 20_000
_NAME = re.compile(r"[A-Za-z0-9._-]*")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


class HostlistError(ValueError):
    """The text says what is wrong with the list, and how to write it."""


def expand(text: str) -> list[str]:
    """The hosts in the order written; commas outside of brackets part lists. Raises HostlistError."""
    hosts = [host for part in _split(text) for host in _expand_one(part)]
    if not hosts:
        raise HostlistError("is empty; write a host such as gpu01 or gpu[01-16].ams1")
    return hosts


def _split(text: str) -> list[str]:
    parts = re.split(r",(?![^\[]*\])", text)
    return [part.strip() for part in parts if part.strip()]


def _expand_one(part: str) -> list[str]:
    pieces = re.split(r"(\[[^\[\]]*\])", part)
    hosts = [""]
    for piece in pieces:
        if piece.startswith("[") and piece.endswith("]"):
            endings = _ranges(piece[1:-1])
        elif _NAME.fullmatch(piece):
            endings = [piece]
        else:
            odd = next(character for character in piece if not _NAME.fullmatch(character))
            reason = "has a bracket without its partner" if odd in "[]" else f"has the character {odd!r}"
            raise HostlistError(f"{reason}; names are letters, digits, dot, hyphen and underscore, ranges are [001-016,020]")
        if len(hosts) * len(endings) > HOSTS_LIMIT:
            raise HostlistError(f"means more than {HOSTS_LIMIT} hosts; part it into several [[nodes]]")
        hosts = [host + ending for host in hosts for ending in endings]
    if any(host[:1] in "-." for host in hosts):
        raise HostlistError("has a name that begins with a hyphen or a dot; names begin with a letter or a digit")
    return hosts


def _ranges(text: str) -> list[str]:
    """001-003,020 as 001 002 003 020: the first number's width is kept."""
    found: list[str] = []
    for word in text.split(","):
        match = _RANGE.fullmatch(word.strip())
        if match is None:
            raise HostlistError(f"has the range [{text}]; write numbers such as [001-016,020]")
        first, last = match[1], match[2] or match[1]
        if int(last) < int(first):
            raise HostlistError(f"has the range {first}-{last}, which goes down; write {last}-{first}")
        if int(last) - int(first) >= HOSTS_LIMIT:
            raise HostlistError(f"means more than {HOSTS_LIMIT} hosts; part it into several [[nodes]]")
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return found
