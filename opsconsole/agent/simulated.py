"""GPUs that are not there, for demos and tests: a JSON file says what they are and suffer, physics says how they behave."""

import json
import os
import random
import time
import uuid

from opsconsole.physics import CHIPS, RISE_C, step
from opsconsole.protocol import GPU_COLUMNS, PROBE_LIMIT_S

from .cap import CapRefused
from .gpus import GpuFacts, GpuReading, unknown_facts, unknown_row
from .hostile import finite, plain
from .records import write_private

SW_POWER_CAP, SW_THERMAL, HW_THERMAL, IDLE = 0x4, 0x20, 0x40, 0x1
HW_THERMAL_SHARE = 0.3
"""From this share of clocks lost to heat the hardware itself, not the driver, slows down."""
MEM_IDLE_MIB = 620
MEM_SHARE_OF_WORKER = 0.75
"""What JAX takes of a GPU's memory at its start."""
GPU_LIMIT = 64
STEP_LIMIT_S = 5.0
CAPS = ".caps"
"""Beside the simulation file: the power limits that were set."""
HANG_S = PROBE_LIMIT_S - 0.2
NAMES = {"H100": "NVIDIA H100 80GB HBM3", "H200": "NVIDIA H200", "B200": "NVIDIA B200",
         "A100": "NVIDIA A100-SXM4-80GB", "L40S": "NVIDIA L40S"}


class SimulatedGpu:
    """The state of one GPU between two seconds."""

    def __init__(self, temp_c, seed, row):
        self.temp_c = temp_c
        self.energy_j = 0.0
        self.hung_since_mono = None
        self.last_values = unknown_row()
        self.noise = random.Random("%s/%s" % (seed, row))


class SimulatedSource:
    """A GpuSource. The file is read again when its time or size changes; a broken one is reported and the last good one kept."""

    def __init__(self, path, load_of_workers):
        self.name = "sim:" + path
        self._path = os.path.expanduser(path)
        self._load_of_workers = load_of_workers
        self._mark = self._caps_mark = None
        self._caps_read = {}
        self._error = None
        self._spec = {}
        self._gpus = []
        self._stepped_mono = time.monotonic()
        self._reading = GpuReading([], {}, [])

    def is_ready(self):
        return True

    def reading(self):
        return self._reading

    def begin(self):
        self._read_file()
        now_mono = time.monotonic()
        passed_s, self._stepped_mono = now_mono - self._stepped_mono, now_mono
        workers = self._load_of_workers()
        rows, errors = [], {}
        for row, gpu in enumerate(self._gpus):
            values, error = self._values_or_fault(row, gpu, workers, min(passed_s, STEP_LIMIT_S))
            rows.append(values)
            if error:
                errors[row] = error
        self._reading = GpuReading(rows, errors, self._procs(workers, errors))

    def _values_or_fault(self, row, gpu, workers, passed_s):
        if row in self._spec["lost"]:
            return self._with_xid(unknown_row(), row), "LOST: GPU is lost (simulated)"
        if row not in self._spec["hang"]:
            gpu.hung_since_mono = None
            gpu.last_values = self._with_xid(self._values(row, gpu, workers, passed_s), row)
            return gpu.last_values, None
        gpu.hung_since_mono = gpu.hung_since_mono or time.monotonic()
        if time.monotonic() - gpu.hung_since_mono < HANG_S:
            return gpu.last_values, None
        return self._with_xid(unknown_row(), row), "PROBE_HANG: the simulated GPU did not answer in %.0f s" % PROBE_LIMIT_S

    def _with_xid(self, values, row):
        values[GPU_COLUMNS.index("xid")] = self._spec["xid"].get(row)
        return values

    def _values(self, row, gpu, workers, passed_s):
        spec, chip = self._spec, CHIPS[self._spec["chip"]]
        limit_w = self._caps().get(row, self._limit_w(row))
        inlet_c = spec["inlet_c"] + spec["hot"].get(row, 0.0)
        here = [(self._share(worker[1], worker[2]), worker[5]) for worker in workers if row in worker[0]]
        placed = [load for load, _share in here]
        load = min(1.0, spec["background_load"].get(row, 0.0) + sum(placed))
        load = max(0.0, min(1.0, load * (1.0 + gpu.noise.uniform(-0.015, 0.015))))
        power_w, gpu.temp_c, sm_clock_mhz, capped, thermal = step(chip, load, gpu.temp_c, limit_w, inlet_c, passed_s)
        gpu.energy_j += power_w * passed_s
        mem_mib = MEM_IDLE_MIB + sum(share for _load, share in here) * MEM_SHARE_OF_WORKER * chip["mem_mib"]
        mem_mib = min(mem_mib, 0.98 * chip["mem_mib"])
        values = {
            "util_pct": round(100 * load), "mem_util_pct": round(60 * load), "mem_used_mib": int(mem_mib),
            "power_w": round(power_w, 1), "power_limit_w": limit_w, "temp_c": round(gpu.temp_c),
            "sm_clock_mhz": round(sm_clock_mhz), "mem_clock_mhz": round(chip["mem_mhz"]), "throttle": _reasons(load, capped, thermal),
            "ecc_corrected": 0, "ecc_uncorrected": 0, "pcie_rx_mib_s": round(900 * load, 1), "pcie_tx_mib_s": round(300 * load, 1),
            "energy_j": round(gpu.energy_j, 1),
        }
        return [values.get(column) for column in GPU_COLUMNS]

    def _share(self, busy, tokens_per_s):
        """The share of a GPU that a worker uses: its tokens where the file says what a full GPU gives, else its busy slots."""
        full = self._spec["full_tokens_per_s"]
        return busy if not full else min(1.0, (tokens_per_s or 0.0) / full)

    def _procs(self, workers, errors):
        mem_mib = MEM_SHARE_OF_WORKER * CHIPS[self._spec["chip"]]["mem_mib"] if self._spec else 0
        count = len(self._gpus)
        return [
            [row, pid, name, int(share * mem_mib)]
            for gpus, _busy, _tokens_per_s, pid, name, share in workers for row in gpus if row < count and row not in errors
        ]

    def power_limit_w(self, row):
        if row in self._spec["lost"]:
            raise CapRefused("GPU %d: GPU is lost (simulated)" % row)
        return float(self._caps().get(row, self._limit_w(row)))

    def set_power_limit_w(self, row, watts):
        """Kept beside the file, where every agent of this node finds it, as a driver would."""
        self.power_limit_w(row)
        caps = {**self._caps(), row: watts}
        try:
            write_private(self._path + CAPS, json.dumps({str(capped): limit for capped, limit in caps.items()}))
        except OSError as error:
            raise CapRefused("GPU %d: %s" % (row, error)) from error

    def _caps(self):
        """{row: watts} that were set, read again when the file changes."""
        try:
            mark = os.stat(self._path + CAPS).st_mtime_ns, os.stat(self._path + CAPS).st_ino
            if mark != self._caps_mark:
                with open(self._path + CAPS, encoding="utf-8") as file:
                    self._caps_mark, self._caps_read = mark, _by_row(json.load(file))
        except (OSError, ValueError, AttributeError):
            self._caps_mark, self._caps_read = None, {}
        return self._caps_read

    def _limit_w(self, row):
        """What its maker and the simulation file set."""
        return self._spec["limits_w"].get(row, CHIPS[self._spec["chip"]]["rated_w"])

    def facts(self):
        spec = self._spec
        return GpuFacts(spec.get("driver"), self._error, [self._facts_of(row) for row in range(len(self._gpus))])

    def _facts_of(self, row):
        spec, chip = self._spec, CHIPS[self._spec["chip"]]
        facts = unknown_facts(row)
        facts.update(
            uuid="GPU-%s" % uuid.uuid5(uuid.NAMESPACE_OID, "opsconsole/%s/%d" % (spec["seed"], row)),
            name=NAMES[spec["chip"]], mem_total_mib=chip["mem_mib"], power_min_w=round(0.3 * chip["rated_w"]), power_max_w=chip["rated_w"],
            power_default_w=chip["rated_w"], sm_clock_max_mhz=round(chip["sm_mhz"]), mig=0,
        )
        return facts

    def _read_file(self):
        try:
            status = os.stat(self._path)
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
            if mark == self._mark:
                return
            self._mark = mark
            with open(self._path, encoding="utf-8") as file:
                self._spec = _checked(json.load(file))
            self._error = None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            self._error = plain("simulation file %s: %s" % (self._path, error))
            return
        self._gpus = self._gpus[: self._spec["count"]]
        while len(self._gpus) < self._spec["count"]:
            self._gpus.append(self._new_gpu(len(self._gpus)))

    def _new_gpu(self, row):
        """It has run for a while: as warm as its background load makes it."""
        spec, chip = self._spec, CHIPS[self._spec["chip"]]
        inlet_c = spec["inlet_c"] + spec["hot"].get(row, 0.0)
        power_w = step(chip, spec["background_load"].get(row, 0.0), inlet_c, self._limit_w(row), inlet_c, 0.0)[0]
        return SimulatedGpu(inlet_c + RISE_C * power_w / chip["rated_w"], spec["seed"], row)


def _reasons(load, power_capped, thermal):
    reasons = IDLE if load <= 0.0 else 0
    if power_capped > 0.0:
        reasons |= SW_POWER_CAP
    if thermal > 0.0:
        reasons |= HW_THERMAL if thermal >= HW_THERMAL_SHARE else SW_THERMAL
    return reasons


def _checked(spec):
    """The file's object with every key present and every GPU key an int. Raises ValueError."""
    chip, count = spec.get("chip", "H100"), spec.get("count", 8)
    if chip not in CHIPS:
        raise ValueError("chip %r is not one of %s" % (chip, ", ".join(sorted(CHIPS))))
    if not isinstance(count, int) or not 0 <= count <= GPU_LIMIT:
        raise ValueError("count must be 0 to %d" % GPU_LIMIT)
    load = spec.get("background_load", 0.0)
    return {
        "chip": chip, "count": count, "seed": spec.get("seed", 0), "inlet_c": float(spec.get("inlet_c", 24.0)),
        "driver": plain(spec.get("driver", "580.95.05")), "full_tokens_per_s": finite(spec.get("full_tokens_per_s")),
        "limits_w": _by_row(spec.get("limits_w", {})), "hot": _by_row(spec.get("hot", {})), "xid": _by_row(spec.get("xid", {})),
        "background_load": _by_row(load) if isinstance(load, dict) else dict.fromkeys(range(count), float(load)),
        "lost": {int(row) for row in spec.get("lost", ())}, "hang": {int(row) for row in spec.get("hang", ())},
    }


def _by_row(values):
    return {int(row): value for row, value in values.items() if finite(value) is not None}
