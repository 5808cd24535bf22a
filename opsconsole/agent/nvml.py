"""Real GPUs through NVML: one thread a GPU, so that a GPU that hangs or is lost takes only its own row with it."""

import ctypes
import threading
import time

from opsconsole.protocol import GPU_COLUMNS, PROBE_LIMIT_S

from .cap import CapRefused, not_permitted
from .gpus import GpuFacts, GpuReading, unknown_row
from .hostile import plain
from .nvml_gpu import NvmlGpu
from .watchdog import LATE_S, Probe

INIT_RETRY_S = 10.0
ROLL_CALL_S = 5.0
"""How often the number of GPUs is asked again."""
HANG_S = PROBE_LIMIT_S - 0.2
"""A round begins with a tick, so the sample of the tick PROBE_LIMIT_S later is the one that must say so."""
EVENT_WAIT_MS = 1000
XID = GPU_COLUMNS.index("xid")


class NvmlSource:
    """A GpuSource. The roll call (init, driver, count) has a thread, each GPU has one, and Xid events have one."""

    name = "nvml"

    def __init__(self, wake):
        self._wake = wake
        self._nvml = None
        self._is_initialised = False
        self._driver = None
        self._error = "nvmlInit has not answered yet"
        self._asked = []
        """(NvmlGpu, its Probe) of each row; replaced as a whole when the count changes."""
        self._xids = {}
        self._roll_due_mono = 0.0
        self._roll = Probe(self._call_roll, self._finished)

    def begin(self):
        if time.monotonic() >= self._roll_due_mono and not self._roll.waited_s():
            self._roll_due_mono = time.monotonic() + (ROLL_CALL_S if self._is_initialised else INIT_RETRY_S)
            self._roll.begin()
        for _gpu, probe in self._asked:
            probe.begin()

    def is_ready(self):
        roll_is_done = self._roll.answer is not None or self._roll.waited_s() > LATE_S
        return roll_is_done and all(probe.is_settled() for _gpu, probe in self._asked)

    def _finished(self):
        if self.is_ready():
            self._wake()

    def _call_roll(self, roll):
        """Initialise if need be; count; begin anew when the count has changed."""
        try:
            self._initialise(roll)
            roll.call = "nvmlDeviceGetCount"
            gpu_count = self._nvml.nvmlDeviceGetCount()
        except Exception as error:
            self._error = plain("%s (%s)" % (error, roll.call))
        else:
            self._error = None
            if gpu_count != len(self._asked):
                self._begin_with(gpu_count)
        yield True

    def _initialise(self, roll):
        if self._is_initialised:
            return
        roll.call = "nvmlInit"
        import pynvml

        pynvml.nvmlInit()
        self._nvml = pynvml
        self._driver = plain(pynvml.nvmlSystemGetDriverVersion())
        self._is_initialised = True

    def _begin_with(self, gpu_count):
        before = self._asked
        turn = threading.Lock()
        gpus = [NvmlGpu(self._nvml, row, turn) for row in range(gpu_count)]
        self._asked = [(gpu, Probe(gpu.read, self._finished)) for gpu in gpus]
        for _gpu, probe in before:
            probe.retire()
        for _gpu, probe in self._asked:
            probe.begin()
        if gpu_count:
            self._listen(self._asked)

    def _listen(self, asked):
        """A thread that lasts as long as these GPUs are the ones: it waits for Xid events."""
        threading.Thread(target=self._wait_for_xids, args=(asked,), daemon=True).start()

    def _register(self, asked, events):
        nvml, row_by_address = self._nvml, {}
        for gpu, _probe in asked:
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(gpu.row)
                row_by_address[_address(handle)] = gpu.row
                nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
            except nvml.NVMLError:
                continue  # not supported here, or lost already: its own row says so
        return row_by_address

    def _wait_for_xids(self, asked):
        nvml = self._nvml
        events = nvml.nvmlEventSetCreate()
        row_by_address = self._register(asked, events)
        while asked is self._asked:
            try:
                event = nvml.nvmlEventSetWait(events, EVENT_WAIT_MS)
            except nvml.NVMLError as error:
                if error.value != nvml.NVML_ERROR_TIMEOUT:
                    time.sleep(EVENT_WAIT_MS / 1000)
                continue
            row = row_by_address.get(_address(event.device))
            if row is not None and event.eventType & nvml.nvmlEventTypeXidCriticalError:
                self._xids[row] = int(event.eventData)
        nvml.nvmlEventSetFree(events)

    def reading(self):
        rows, errors, procs = [], {}, []
        for gpu, probe in self._asked:
            values, error, gpu_procs = probe.answer or (unknown_row(), probe.trouble, [])
            hang = probe.hang(HANG_S)
            if hang:
                values, error, gpu_procs = unknown_row(), hang, []
            if error:
                errors[gpu.row] = error
            values = list(values)
            values[XID] = self._xids.get(gpu.row)
            rows.append(values)
            procs.extend(gpu_procs)
        return GpuReading(rows, errors, procs)

    def power_limit_w(self, row):
        return self._limit(row, "nvmlDeviceGetPowerManagementLimit") / 1000

    def set_power_limit_w(self, row, watts):
        self._limit(row, "nvmlDeviceSetPowerManagementLimit", int(watts * 1000))

    def _limit(self, row, function, *arguments):
        """In an order's thread, with a handle of its own."""
        nvml = self._nvml
        try:
            return getattr(nvml, function)(nvml.nvmlDeviceGetHandleByIndex(row), *arguments)
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_NO_PERMISSION:
                raise not_permitted(row) from error
            raise CapRefused(plain("GPU %d: %s (%s)" % (row, error, function))) from error

    def facts(self):
        error = self._error and (self._roll.hang(HANG_S) or self._error)
        return GpuFacts(self._driver, error, [dict(gpu.facts) for gpu, _probe in self._asked])


def _address(handle):
    return ctypes.cast(handle, ctypes.c_void_p).value
