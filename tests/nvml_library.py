"""Builds our libnvidia-ml.so.1 with no GPU behind it, and writes the file that tells it what to say, for every test that needs GPUs."""

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "agent" / "fake_nvml.c"
HAS_COMPILER = shutil.which("gcc") is not None


def build(tmp_dir: Path) -> Path:
    """Compile into `tmp_dir`; gives the directory to put into LD_LIBRARY_PATH. Needs gcc (see HAS_COMPILER)."""
    library = Path(tmp_dir) / "libnvidia-ml.so.1"
    flags = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run(["gcc", *flags, "-o", str(library), str(SOURCE), "-lm", "-lpthread"], check=True)
    return library.parent


def environment(library_dir: Path, state_file: Path) -> dict[str, str]:
    """What a process needs in its environment to find the library and its state."""
    return {"LD_LIBRARY_PATH": str(library_dir), "FAKE_NVML_STATE": str(state_file)}


def write_state(state_file: Path, *statements: str) -> None:
    """Replace the whole state at once (see fake_nvml.c for the language)."""
    beside = state_file.with_suffix(".new")
    beside.write_text("".join(statement + "\n" for statement in statements), encoding="utf-8")
    os.replace(beside, state_file)
