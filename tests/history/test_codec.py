"""Every number comes back as it was, to the smallest difference that is kept."""

import numpy as np
import pytest

from opsconsole.history.catalog import METRICS, find_metric
from opsconsole.history.codec import pack, pick, unpack
from opsconsole.history.schema import HistoryError


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("highest", [1, 200, 60_000, 4e9, 2**52])
def test_round_trip(scale, highest):
    random = np.random.default_rng(3)
    values = np.rint(random.uniform(0, highest, 500)) * scale
    values[random.uniform(size=500) < 0.2] = np.nan
    frame = pack(values, scale)
    np.testing.assert_allclose(unpack(frame, scale), values, atol=scale * 0.01, rtol=1e-12)
    np.testing.assert_allclose([pick(frame, slot, scale) for slot in range(500)], values, atol=scale * 0.01, rtol=1e-12)


def test_no_reading_is_neither_zero_nor_a_frame():
    assert pack(np.full(4, np.nan), 1.0) is None
    values = np.array([np.nan, 0.0, 5.0])
    assert np.isnan(unpack(pack(values, 1.0), 1.0)[0])
    assert unpack(pack(values, 1.0), 1.0)[1] == 0.0


def test_a_slot_that_came_later_has_no_reading():
    assert np.isnan(pick(pack(np.array([1.0]), 1.0), 7, 1.0))


def test_a_damaged_frame_is_refused():
    frame = pack(np.arange(50.0), 1.0)
    for damaged in (b"", frame[:5], frame[:-4]):
        with pytest.raises(ValueError, match="damaged"):
            unpack(damaged, 1.0)


def test_units_are_those_of_the_name():
    assert METRICS["gpu.power_w"].unit == "W"
    assert METRICS["gpu.pcie_rx_mib_s"].unit == "MiB/s"
    assert METRICS["worker.tokens_per_s"].unit == "tokens/s"
    assert METRICS["fleet.ttft_p95_ms"].unit == "ms"
    assert METRICS["gpu.throttle"].unit == ""


def test_an_unknown_series_names_its_neighbours():
    with pytest.raises(HistoryError, match="gpu.power_w"):
        find_metric("gpu.power")
