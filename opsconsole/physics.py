"""How a simulated GPU behaves: power follows load, temperature follows power with inertia, clocks give way at limits.

Plain arithmetic on numbers or on numpy arrays alike (`lowest` and `highest` are then numpy's minimum and maximum), so the agent of
one demo node and a simulated fleet of thousands share the same physics. Python 3.9 and stdlib only: it is packed into the agent.
"""

CHIPS = {
    # name: memory MiB, rated W, idle W, maximum SM MHz, memory MHz   (vendors' data sheets, rounded)
    "H100": {"mem_mib": 81559, "rated_w": 700.0, "idle_w": 72.0, "sm_mhz": 1980.0, "mem_mhz": 2619.0},
    "H200": {"mem_mib": 143771, "rated_w": 700.0, "idle_w": 76.0, "sm_mhz": 1980.0, "mem_mhz": 3201.0},
    "B200": {"mem_mib": 183359, "rated_w": 1000.0, "idle_w": 140.0, "sm_mhz": 1965.0, "mem_mhz": 3996.0},
    "A100": {"mem_mib": 81920, "rated_w": 400.0, "idle_w": 55.0, "sm_mhz": 1410.0, "mem_mhz": 1593.0},
    "L40S": {"mem_mib": 46068, "rated_w": 350.0, "idle_w": 35.0, "sm_mhz": 2520.0, "mem_mhz": 9001.0},
}

SLOWDOWN_C = 87.0
"""Above this the clocks give way (thermal slowdown)."""
RISE_C = 50.0
"""How far above its inlet a GPU settles at rated power."""
INERTIA_S = 25.0
"""Time constant of the temperature."""


def step(chip, load, temp_c, limit_w, inlet_c, dt_s, lowest=min, highest=max):
    """One time step of one GPU, or of arrays of them.

    load: 0..1, the share of the chip's compute that is asked for. limit_w: the enforced power limit. inlet_c: air temperature.
    Returns (power_w, temp_c, sm_clock_mhz, power_capped, thermal): the last two are 0..1, above 0 when that limit slows the clocks.
    """
    wanted_w = chip["idle_w"] + (chip["rated_w"] * 1.05 - chip["idle_w"]) * load
    over_c = highest(temp_c - SLOWDOWN_C, 0.0)
    thermal = lowest(over_c / 10.0, 0.6)
    dynamic_w = (wanted_w - chip["idle_w"]) * (1.0 - thermal)
    allowed_w = highest(limit_w - chip["idle_w"], 1.0)
    power_capped = highest(dynamic_w / allowed_w - 1.0, 0.0)
    dynamic_w = lowest(dynamic_w, allowed_w)
    power_w = chip["idle_w"] + dynamic_w
    settled_c = inlet_c + RISE_C * power_w / chip["rated_w"]
    temp_c = temp_c + (settled_c - temp_c) * lowest(dt_s / INERTIA_S, 1.0)
    # power grows faster than the clock, so a cap of x % costs clearly less than x % of clock
    clock_share = (1.0 - thermal * 0.7) / (1.0 + power_capped) ** 0.5
    idle_share = lowest(load * 50.0, 1.0)
    sm_clock_mhz = 345.0 + (chip["sm_mhz"] * clock_share - 345.0) * idle_share
    return power_w, temp_c, sm_clock_mhz, power_capped, thermal
