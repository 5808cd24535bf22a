"""All GPUs of a simulated fleet as arrays: one step of physics moves thousands of them."""

from __future__ import annotations

import numpy as np

from opsconsole.physics import CHIPS, RISE_C, step
from opsconsole.protocol import GPU_COLUMNS

SW_POWER_CAP, SW_THERMAL, HW_THERMAL, IDLE = 0x4, 0x20, 0x40, 0x1
HW_THERMAL_SHARE = 0.3
MEM_IDLE_MIB = 620.0
MEM_SHARE_OF_WORKER = 0.75
"""What JAX takes of a GPU's memory at its start."""
XID_OFF_THE_BUS = 79.0
NAMES = {
    "H100": "NVIDIA H100 80GB HBM3", "H200": "NVIDIA H200", "B200": "NVIDIA B200", "A100": "NVIDIA A100-SXM4-80GB", "L40S": "NVIDIA L40S",
}


class Gpus:
    """G GPUs. columns: (GPU_COLUMNS, G) float64, rounded as a node rounds; NaN for what a lost GPU cannot say."""

    def __init__(self, chips: list[str], random: np.random.Generator):
        count = len(chips)
        self.chips = chips
        self.chip = {key: np.array([CHIPS[chip][key] for chip in chips], np.float64) for key in CHIPS["H100"]}
        self.limit_w = self.chip["rated_w"].copy()
        self.inlet_c = random.uniform(22.0, 28.0, count)
        self.hot_c = np.zeros(count)
        self.lost = np.zeros(count, bool)
        self.occupied = np.zeros(count, bool)
        self.temp_c = self.inlet_c + RISE_C * self.chip["idle_w"] / self.chip["rated_w"]
        self.pace = np.ones(count)
        """Share of their full speed that power and heat leave, (G,)."""
        self.energy_j = random.uniform(1e7, 1e9, count)
        self.columns = np.full((len(GPU_COLUMNS), count), np.nan)

    def advance(self, load: np.ndarray, dt_s: float) -> None:
        """load: (G,) 0..1, the share of each GPU's compute that is asked for."""
        inlet_c = self.inlet_c + self.hot_c
        power_w, self.temp_c, clock_mhz, capped, thermal = step(
            self.chip, load, self.temp_c, self.limit_w, inlet_c, dt_s, lowest=np.minimum, highest=np.maximum
        )
        self.pace = (1.0 - 0.7 * thermal) / np.sqrt(1.0 + capped)
        self.energy_j += power_w * dt_s
        mem_mib = MEM_IDLE_MIB + self.occupied * MEM_SHARE_OF_WORKER * self.chip["mem_mib"]
        nothing = np.zeros(len(load))
        self.columns = np.stack([
            np.rint(100 * load), np.rint(60 * load), np.rint(mem_mib), power_w.round(1), self.limit_w, np.rint(self.temp_c),
            np.rint(clock_mhz), self.chip["mem_mhz"], _reasons(load, capped, thermal), nothing, nothing,
            np.rint(900 * load), np.rint(300 * load), self.energy_j.round(1), np.full(len(load), np.nan),
        ])
        self.columns[:, self.lost] = np.nan
        self.columns[GPU_COLUMNS.index("xid"), self.lost] = XID_OFF_THE_BUS

    def warm_up(self, load: np.ndarray) -> None:
        """As hot as if the load had been there for long."""
        self.advance(load, 0.0)
        for _ in range(40):
            self.advance(load, 5.0)

    def facts(self, gpus: slice, node: str, seed: int) -> dict[str, list]:
        """The `gpus` object of a facts line, for the GPUs of one node."""
        chips = self.chips[gpus]
        rated = [CHIPS[chip]["rated_w"] for chip in chips]
        return {
            "index": list(range(len(chips))), "uuid": [f"GPU-sim-{seed}-{node}-{row}" for row in range(len(chips))],
            "name": [NAMES[chip] for chip in chips], "mem_total_mib": [CHIPS[chip]["mem_mib"] for chip in chips],
            "power_min_w": [round(0.3 * watts) for watts in rated], "power_max_w": rated, "power_default_w": rated,
            "sm_clock_max_mhz": [round(CHIPS[chip]["sm_mhz"]) for chip in chips], "mig": [0] * len(chips),
        }


def _reasons(load: np.ndarray, capped: np.ndarray, thermal: np.ndarray) -> np.ndarray:
    heat = np.where(thermal >= HW_THERMAL_SHARE, HW_THERMAL, np.where(thermal > 0, SW_THERMAL, 0))
    return np.where(load <= 0, IDLE, 0) + np.where(capped > 0, SW_POWER_CAP, 0) + heat.astype(np.float64)
