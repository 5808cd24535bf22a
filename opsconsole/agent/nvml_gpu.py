"""One GPU asked through NVML: which call fills which column, and what its errors mean."""

import time

from opsconsole.protocol import GPU_COLUMNS

from .gpus import unknown_facts, unknown_row
from .hostile import plain

FACTS_AGE_LIMIT_S = 30.0
"""Limits and MIG mode can be changed by an administrator, so facts are read again from time to time."""
TURN_LIMIT_S = 0.05
"""GPUs are asked one after the other, since threads that contend for the interpreter cost several times the processor time; but none
waits longer than this for its turn, so one that hangs delays the others no more."""
MIB = 2**20
PROCS_LIMIT = 256
NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
NVML_CORRECTED, NVML_UNCORRECTED, NVML_VOLATILE = 0, 1, 0
NVML_PCIE_TX, NVML_PCIE_RX = 0, 1
NVML_MEMORY_V2 = 0x02000028
NOT_SUPPORTED, FUNCTION_NOT_FOUND, LOST, RESET_REQUIRED, VERSION_MISMATCH = 3, 13, 15, 16, 25
UNSUPPORTED = (NOT_SUPPORTED, FUNCTION_NOT_FOUND, VERSION_MISMATCH)

# columns, NVML function, its arguments after the handle, the values from its answer
CALLS = (
    (("util_pct", "mem_util_pct"), "nvmlDeviceGetUtilizationRates", (), lambda rates: (rates.gpu, rates.memory)),
    (("power_w",), "nvmlDeviceGetPowerUsage", (), lambda power_mw: (round(power_mw / 1000, 1),)),
    (("power_limit_w",), "nvmlDeviceGetEnforcedPowerLimit", (), lambda limit_mw: (round(limit_mw / 1000, 1),)),
    (("temp_c",), "nvmlDeviceGetTemperature", (NVML_TEMPERATURE_GPU,), lambda temp_c: (temp_c,)),
    (("sm_clock_mhz",), "nvmlDeviceGetClockInfo", (NVML_CLOCK_SM,), lambda mhz: (mhz,)),
    (("mem_clock_mhz",), "nvmlDeviceGetClockInfo", (NVML_CLOCK_MEM,), lambda mhz: (mhz,)),
    (("ecc_corrected",), "nvmlDeviceGetTotalEccErrors", (NVML_CORRECTED, NVML_VOLATILE), lambda count: (count,)),
    (("ecc_uncorrected",), "nvmlDeviceGetTotalEccErrors", (NVML_UNCORRECTED, NVML_VOLATILE), lambda count: (count,)),
    (("energy_j",), "nvmlDeviceGetTotalEnergyConsumption", (), lambda energy_mj: (round(energy_mj / 1000, 1),)),
)
PCIE_CALLS = (("pcie_rx_mib_s", NVML_PCIE_RX), ("pcie_tx_mib_s", NVML_PCIE_TX))


class GpuGone(Exception):
    """NVML says that the GPU is lost: nothing else it tells about it is worth showing."""


class NvmlGpu:
    """`read` is the question of one Probe; everything here runs in that probe's thread, except the reading of `facts`."""

    def __init__(self, nvml, row, turn):
        self.row = row
        self.facts = unknown_facts(row)
        self._nvml = nvml
        self._turn = turn
        self._handle = None
        self._probe = None
        self._error = None
        self._facts_due_mono = 0.0
        self._pcie_mib_s = {}
        self._rounds = 0

    def read(self, probe):
        """Yields (values, error text or None, procs). What is slow (PCIe) comes after, for the next round."""
        self._probe, self._error = probe, None
        is_in_turn = self._turn.acquire(timeout=TURN_LIMIT_S)
        try:
            answer = self._read_all()
        finally:
            if is_in_turn:
                self._turn.release()
        yield answer
        if self._handle is not None:
            self._measure_pcie()

    def _read_all(self):
        try:
            self._find()
            self._read_facts()
            values, procs = self._read_values(), self._read_procs()
            return values, self._error, procs
        except GpuGone as gone:
            self._handle = None
            return unknown_row(), plain(gone), []

    def _find(self):
        if self._handle is None:
            self._handle = self._ask_any("nvmlDeviceGetHandleByIndex", self.row)
        if self._handle is None:
            raise GpuGone(self._error or "LOST: no handle (nvmlDeviceGetHandleByIndex)")

    def _ask(self, function, *arguments):
        return self._ask_any(function, self._handle, *arguments)

    def _ask_any(self, function, *arguments):
        """NVML's answer; None when it has none. Raises GpuGone."""
        self._probe.call = function
        nvml = self._nvml
        try:
            return getattr(nvml, function)(*arguments)
        except nvml.NVMLError as error:
            if error.value == LOST:
                raise GpuGone("LOST: %s (%s)" % (error, function)) from error
            if error.value not in UNSUPPORTED:
                kind = "RESET_REQUIRED" if error.value == RESET_REQUIRED else "NVML_ERROR"
                self._error = self._error or plain("%s: %s (%s)" % (kind, error, function))
        except (AttributeError, ValueError):
            pass  # an older pynvml without the function; a name that is no UTF-8
        return None

    def _read_values(self):
        values = dict.fromkeys(GPU_COLUMNS)
        for columns, function, arguments, convert in CALLS:
            answer = self._ask(function, *arguments)
            if answer is not None:
                values.update(zip(columns, convert(answer)))  # noqa: B905 (3.10 and newer)
        memory = self._memory()
        if memory is not None:
            values["mem_used_mib"] = memory.used // MIB
        values["throttle"] = self._first_of("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        values.update(self._pcie_mib_s)
        return [values[column] for column in GPU_COLUMNS]

    def _first_of(self, *functions):
        """Drivers before 535 know an older name only."""
        for function in functions:
            answer = self._ask(function)
            if answer is not None:
                return answer
        return None

    def _memory(self):
        """Version 2 does not count what the driver reserves as used, as nvidia-smi does not."""
        return self._ask("nvmlDeviceGetMemoryInfo", NVML_MEMORY_V2) or self._ask("nvmlDeviceGetMemoryInfo")

    def _read_procs(self):
        procs = self._ask("nvmlDeviceGetComputeRunningProcesses") or []
        return [[self.row, proc.pid, self._process_name(proc.pid), _mib(proc.usedGpuMemory)] for proc in procs[:PROCS_LIMIT]]

    def _process_name(self, pid):
        try:
            with open("/proc/%d/comm" % pid, "rb") as comm:
                return plain(comm.read(64))
        except OSError:
            return None

    def _measure_pcie(self):
        """NVML watches the bus for 20 ms in each call, so one direction a second is measured (both in the first)."""
        self._rounds += 1
        for turn, (column, counter) in enumerate(PCIE_CALLS):
            if self._rounds > 1 and self._rounds % 2 != turn:
                continue
            try:
                kib_s = self._ask("nvmlDeviceGetPcieThroughput", counter)
            except GpuGone:
                kib_s = None  # the next round says so
            self._pcie_mib_s[column] = None if kib_s is None else round(kib_s / 1024, 2)

    def _read_facts(self):
        if time.monotonic() < self._facts_due_mono:
            return
        limits_mw = self._ask("nvmlDeviceGetPowerManagementLimitConstraints") or (None, None)
        mig = self._ask("nvmlDeviceGetMigMode")
        memory = self._memory()
        facts = unknown_facts(self.row)
        facts.update(
            uuid=plain(self._ask("nvmlDeviceGetUUID")),
            name=plain(self._ask("nvmlDeviceGetName")),
            mem_total_mib=None if memory is None else memory.total // MIB,
            power_min_w=_watts(limits_mw[0]),
            power_max_w=_watts(limits_mw[1]),
            power_default_w=_watts(self._ask("nvmlDeviceGetPowerManagementDefaultLimit")),
            sm_clock_max_mhz=self._ask("nvmlDeviceGetMaxClockInfo", NVML_CLOCK_SM),
            mig=None if mig is None else int(bool(mig[0])),
        )
        self.facts = facts
        self._facts_due_mono = time.monotonic() + FACTS_AGE_LIMIT_S


def _mib(size_bytes):
    return None if size_bytes is None else size_bytes // MIB


def _watts(power_mw):
    return None if power_mw is None else power_mw / 1000
