"""Parts of the screen as plain values: widths, sparks, braille, the past, and what is unknown."""

from __future__ import annotations

import numpy as np
import pytest
from rich.cells import cell_len

from opsconsole.core.fleet import Rack
from opsconsole.tui.frame import Frame
from opsconsole.tui.looks import LOOKS, MONO, NIGHT, choose_look
from opsconsole.tui.messages import FleetChanged
from opsconsole.tui.paint import NAME_CELLS_MOST, Row, fit, fit_fields, fit_name, milliseconds, spark, watts
from opsconsole.tui.past import SPANS, Past
from opsconsole.tui.widgets.braille import raster
from opsconsole.tui.widgets.node_facts import rack_text
from tests.telemetry import fleet_of
from tests.tui import fleets
from tests.tui.fleets import HOSTILE


@pytest.mark.parametrize("text", [*HOSTILE, "", "plain", "❤️ heart", "é" * 40, "日" * 30])
@pytest.mark.parametrize("width", [0, 1, 2, 7, 12, 60])
def test_text_fits_exactly(text: str, width: int) -> None:
    for right in (False, True):
        shown = fit(text, width, right)
        assert cell_len(shown) == width and shown.isprintable()
    name = fit_name(text, width)
    assert cell_len(name) == width and name.isprintable()


def test_a_name_is_cut_in_the_middle() -> None:
    assert fit_name("ams1-h100-a", 11) == "ams1-h100-a" and fit_name("gpu-7", 8) == "gpu-7   "
    assert fit_name("dc1-rack04-gpu-07", 12) == "dc1-rack…-07"
    assert fit_name("dc1-rack04-gpu-07", 6) == "dc1-r…"
    assert fit_name("llama-3.1-70b-instruct-12", 15) == "llama-3.1-…t-12"


@pytest.mark.parametrize(("width", "shown"), [(22, "gpu-0017.cluster.exam…"), (12, "gpu-0017.cl…"), (8, "gpu-0017")])
def test_of_a_host_the_domain_is_cut_first(width: int, shown: str) -> None:
    assert fit_name("gpu-0017.cluster.example", width) == shown


def test_long_names_take_room_from_the_least_important_columns_first() -> None:
    fields = (("", 2, False), ("NODE", 10, False), ("LOAD", 6, True), ("CHIP", 6, False), ("WHY", 0, False))

    def titles(width: int, longest: int) -> list[str]:
        return [name for name, _, _ in fit_fields(fields, width, {"NODE": longest}, ("CHIP", "LOAD"), 20)]

    assert titles(60, 10) == ["", "NODE", "LOAD", "CHIP", "WHY"]
    assert titles(54, 22) == ["", "NODE", "LOAD", "WHY"]
    assert titles(40, 90) == ["", "NODE", "WHY"]
    assert fit_fields(fields, 40, {"NODE": 90}, (), 20)[1] == ("NODE", NAME_CELLS_MOST, False)


def test_a_row_takes_no_control_character_even_unfitted() -> None:
    row = Row(NIGHT).put("a\x1b[2Jb").put("\x9bc")
    assert all(segment.text.isprintable() for segment in row.segments)
    assert row.used == sum(cell_len(segment.text) for segment in row.segments)


def test_unknown_is_a_dash_never_a_zero() -> None:
    assert milliseconds(None) == milliseconds(float("nan")) == watts(None) == "–"
    assert milliseconds(0.0) == "0ms" and milliseconds(2820) == "2.82s" and watts(2710) == "2.7kW"


def test_a_gap_in_a_spark_stays_a_gap() -> None:
    text = "".join(segment.text for segment in spark(Row(NIGHT), np.array([1.0, np.nan, np.nan, 4.0]), 4).segments)
    assert text[1:3] == "  " and text[3] == "▇"


def test_braille_joins_neighbours_and_leaves_gaps() -> None:
    line = np.array([0.0, 100.0])
    codes = raster(line, line, 2, 0.0, 100.0)
    assert codes.shape == (2, 1) and codes.all()
    line = np.array([50.0] * 4 + [np.nan] * 4)
    gap = raster(line, line, 2, 0.0, 100.0)
    assert gap[:, :2].any() and not gap[:, 2:].any()


def test_the_past_moves_on_and_keeps_gaps() -> None:
    fleet = fleets.calm(2)
    frame = Frame(fleet)
    past = Past(frame.roster.nodes[0].name, "temp", 8, fleet.at)
    times = np.arange(fleet.at - 600, fleet.at, 5.0)
    values = np.full(len(times), 60.0)
    values[20:40] = np.nan
    past.load(0, times, values)
    assert np.isnan(past.values[0]).sum() > 30 and np.nanmax(past.values[0]) == 60.0
    later = fleets.moving(fleet, np.random.default_rng(1), seconds=20.0)
    past.add(Frame(later))
    assert np.isnan(past.values[0, SPANS - 9:SPANS - 1]).any() and not np.isnan(past.values[:, -1]).any()


def test_cells_hold_still_under_noise_and_follow_a_change() -> None:
    fleet = fleets.calm(4)
    first = Frame(fleet)
    steady = first.cells("util")
    noisy = Frame(fleets.moving(fleet, np.random.default_rng(2)), first)
    assert (noisy.cells("util") == steady).mean() > 0.9


def test_a_rack_that_has_a_budget_tells_what_it_draws_of_it() -> None:
    fleet = fleet_of(racks=(Rack("r01", "ams1", 12.0),))
    assert rack_text(Frame(fleet), 0) == "r01, 4800 W of 12.0 kW"
    assert rack_text(Frame(fleet_of()), 0) == "r01"


def test_newer_fleets_replace_older_ones_in_the_queue() -> None:
    assert FleetChanged(fleets.empty()).can_replace(FleetChanged(fleets.empty()))


def test_looks() -> None:
    assert choose_look("day", {"NO_COLOR": "1"}) is MONO and choose_look("", {"TERM": "xterm-256color"}) is NIGHT
    assert choose_look("contrast", {}) is LOOKS["contrast"] and choose_look("", {"TERM": "linux"}).name == "16-colour"
    assert MONO.style("crit", "crit_ground").color is None
