"""The first words to a node: one line that every login shell understands, and the source that it reads from standard input."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from opsconsole.ssh.bundle import Bundle

STAGE = b"OPSCONSOLE-STAGE "
"""How each line of stage.py begins."""
SAFE_PYTHON = re.compile(r"~?[A-Za-z0-9_./+-]+")
READ = 'import os;exec(b"".join(os.read(0,1) for _ in range({length})))'
"""Reads stage.py byte by byte, because what follows it belongs to stage.py. Nothing in it that a shell would touch in single quotes:
no apostrophe, no backslash (fish), no exclamation mark and no line break (tcsh)."""


class UnsafePython(ValueError):
    """The configured interpreter is no plain path."""


def command(python: str, bundle: Bundle) -> str:
    """What the node's login shell is asked to run. -I: nothing in the home directory can take a module's place."""
    if not SAFE_PYTHON.fullmatch(python) or python.startswith("-"):
        raise UnsafePython(f"`python` is {python!r}: it must be a plain path such as python3 or /opt/python/bin/python3")
    return f"{python} -I -c '{READ.format(length=len(opening()))}' {bundle.digest} {len(bundle.content)}"


@cache
def opening() -> bytes:
    """The source of stage.py without its comments: the first bytes on the node's standard input."""
    spec = find_spec("opsconsole.ssh.stage")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    return ast.unparse(ast.parse(source)).encode() + b"\n"


@dataclass(frozen=True)
class StageWord:
    """What stage.py said: HAVE, NEED, PYTHON version or BROKEN reason."""

    word: str
    rest: str


def stage_word(line: bytes) -> StageWord | None:
    """None for noise of the login shell."""
    if not line.startswith(STAGE):
        return None
    word, _, rest = line[len(STAGE) :].decode("ascii", "replace").strip().partition(" ")
    return StageWord(word, rest)
