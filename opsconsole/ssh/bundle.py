"""The agent packed as one zip, the same bytes each time, so that its hash names it in every node's cache."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip can hold: a real one would change the hash at each checkout."""
MAIN = b'import runpy\n\nrunpy.run_module("opsconsole.agent", run_name="__main__", alter_sys=True)\n'
GROUND = ("protocol.py", "physics.py")


@dataclass(frozen=True)
class Bundle:
    content: bytes
    digest: str
    """SHA-256 of the content, in hexadecimal."""

    @staticmethod
    def of(members: dict[str, bytes]) -> Bundle:
        content = _zip(members)
        return Bundle(content, hashlib.sha256(content).hexdigest())


def _zip(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, members[name], zipfile.ZIP_DEFLATED, 9)
    return target.getvalue()


@cache
def agent_bundle(source: Path | None = None) -> Bundle:
    """The agent of this installation, or of the `opsconsole` package in directory `source`. Needs nvidia-ml-py installed."""
    package = source or Path(str(files("opsconsole")))
    members = {"__main__.py": MAIN, "opsconsole/__init__.py": b"", "pynvml.py": _pynvml()}
    for name in GROUND:
        if (package / name).exists():
            members[f"opsconsole/{name}"] = (package / name).read_bytes()
    for path in (package / "agent").glob("*.py"):
        members[f"opsconsole/agent/{path.name}"] = path.read_bytes()
    return Bundle.of(members)


def _pynvml() -> bytes:
    spec = find_spec("pynvml")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("pynvml.py is missing: pip install nvidia-ml-py")
    return Path(spec.origin).read_bytes()
