"""Where the numbers of a node's GPUs come from: NVML, or a simulation with the same face."""

from collections import namedtuple
from typing import Protocol

from opsconsole.protocol import GPU_COLUMNS, GPU_FACTS

GpuReading = namedtuple("GpuReading", "rows errors procs")
"""rows: one list of GPU_COLUMNS values a GPU. errors: {row: text}. procs: [[row, pid, name, MiB], ...]."""

GpuFacts = namedtuple("GpuFacts", "driver error gpus")
"""gpus: one dict of GPU_FACTS a GPU. error: None, or why no GPU could be asked at all."""

class GpuSource(Protocol):
    """What the agent asks of any source. No method may take longer than a millisecond or two, whatever the hardware does."""

    name: str

    def begin(self):
        """Start a fresh reading."""

    def is_ready(self):
        """Whether every GPU has answered since `begin`."""

    def reading(self):
        """The newest GpuReading; a GPU that has not answered in time keeps its last values, then goes to None with an error."""

    def facts(self):
        """GpuFacts."""

    def power_limit_w(self, row):
        """The limit that is set, asked now. This and the next may take as long as the driver does. Both raise CapRefused."""

    def set_power_limit_w(self, row, watts):
        """Until the driver is loaded anew."""

def choose(spec, wake, load_of_workers):
    """The source named by the hello's "gpus": "nvml", or "sim:PATH". Raises ValueError for anything else.

    wake: called when a reading is complete.
    load_of_workers: () -> [(gpus, busy share 0..1, tokens/s, pid, name, share of its GPUs)], for the simulation.
    """
    if spec == "nvml":
        from .nvml import NvmlSource

        return NvmlSource(wake)
    if isinstance(spec, str) and spec.startswith("sim:"):
        from .simulated import SimulatedSource

        return SimulatedSource(spec[4:], load_of_workers)
    raise ValueError("gpus must be nvml or sim:PATH")

def unknown_row():
    return [None] * len(GPU_COLUMNS)

def unknown_facts(row):
    facts = dict.fromkeys(GPU_FACTS)
    facts["index"] = row
    return facts

def by_column(rows):
    """[[value of each GPU] for each of GPU_COLUMNS]."""
    return [list(column) for column in zip(*rows)] if rows else [[] for _ in GPU_COLUMNS]  # noqa: B905 (3.10 and newer)

def facts_by_column(gpus):
    """{name: [value of each GPU]} for each of GPU_FACTS."""
    return {name: [gpu.get(name) for gpu in gpus] for name in GPU_FACTS}
