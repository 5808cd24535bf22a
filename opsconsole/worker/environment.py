"""Settles the process's environment before any native library is loaded, because those read it once.

A laptop or a test machine runs many CPU workers side by side, so each is held to one thread of work. What the user
has set is never changed, and a machine with an accelerator is left alone.
"""

import glob
import os
import platform
from collections.abc import Mapping

ONE_THREAD = {
    "JAX_PLATFORMS": "cpu",
    "PJRT_NPROC": "1",  # the only switch that limits XLA's CPU threads
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
PORTABLE_CODE = "--xla_cpu_max_isa=AVX2"
"""Costs no speed at these sizes, and stored programs then load on every x86 host instead of only the newest."""

ACCELERATOR_DEVICES = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/accel[0-9]*")


def runs_on_cpu(environ: Mapping[str, str]) -> bool:
    """Whether JAX will use the CPU: said by the user, or no accelerator is to be seen."""
    asked = environ.get("JAX_PLATFORMS")
    if asked:
        return asked.split(",")[0].strip() == "cpu"
    return not any(glob.glob(pattern) for pattern in ACCELERATOR_DEVICES)


def settings_to_add(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to set, leaving out those that the user has set."""
    wanted = {"TF_CPP_MIN_LOG_LEVEL": "3"}  # XLA reports failures as exceptions too; its log would mix into ours
    if runs_on_cpu(environ):
        wanted |= ONE_THREAD
        if platform.machine() == "x86_64" and _has_avx2():
            wanted["XLA_FLAGS"] = PORTABLE_CODE
    return {name: value for name, value in wanted.items() if name not in environ}


def _has_avx2() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
            return " avx2 " in cpuinfo.read(8192)
    except OSError:
        return False


def prepare(memory_fraction: float | None = None, devices: int = 1) -> None:
    """Apply the settings to this process; call it before importing numpy, tokenizers or jax.

    `memory_fraction` is the share of each GPU's memory to take; `devices`, how many the model is split over, makes a CPU
    show itself as so many: with them a split model can be tried on any machine.
    """
    os.environ.update(settings_to_add(os.environ))
    if memory_fraction is not None:
        os.environ.pop("XLA_PYTHON_CLIENT_MEM_FRACTION", None)  # its older name; jaxlib refuses both together
        os.environ["XLA_CLIENT_MEM_FRACTION"] = str(memory_fraction)
    if devices > 1 and runs_on_cpu(os.environ):
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(devices))
