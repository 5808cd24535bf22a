"""What GPUs cost, by hand: reserved first, then the rest, each moment at its price."""

from datetime import UTC, datetime

import pytest

from opsconsole.core import money
from opsconsole.core.declared import Price
from opsconsole.core.fleet import Site
from tests.telemetry import fleet_of

DAY_S = 86400.0


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


RESERVED = Price("H100", "reserved", 1.80, 8)
DEMAND = Price("H100", "on-demand", 2.40)
SITE = Site("ams1", prices=(RESERVED, DEMAND), price_per_gpu_hour={"H100": 2.10})


def test_reserved_gpus_are_taken_first():
    assert money.usd_per_h(SITE, "H100", 12, 0.0) == pytest.approx(8 * 1.80 + 4 * 2.40)
    assert money.usd_per_h(SITE, "H100", 5, 0.0) == pytest.approx(5 * 1.80)
    assert money.usd_per_h(SITE, "L40S", 1, 0.0) is None
    assert money.usd_per_h(Site("x", price_per_gpu_hour={"H100": 2.10}), "H100", 4, 0.0) == pytest.approx(8.40)


def test_entries_hold_between_their_dates():
    rise = at("2026-07-01")
    site = Site("ams1", prices=(Price("H100", "on-demand", 2.0, since=at("2026-01-01")), Price("H100", "on-demand", 3.0, since=rise)))
    assert money.usd_per_h(site, "H100", 1, rise - 1) == 2.0 and money.usd_per_h(site, "H100", 1, rise) == 3.0
    assert money.usd_per_h(site, "H100", 1, at("2025-12-31")) is None
    fleet = fleet_of(sites=(site,))  # 12 H100
    assert money.bill_usd(fleet, rise - 3600, rise + 3600) == pytest.approx(12 * 2.0 + 12 * 3.0)
    assert money.bill_usd(fleet, at("2025-12-31"), rise) is None


def test_a_fleet_costs_what_its_sites_cost_and_unknown_is_not_nothing():
    fleet = fleet_of(sites=(SITE,))
    assert money.fleet_usd_per_h(fleet) == pytest.approx(24.0)
    assert money.price_lists(fleet)["ams1"]["H100"] == pytest.approx(2.0)
    assert money.gpu_prices(fleet) == pytest.approx([2.0] * 12)
    assert money.fleet_usd_per_h(fleet_of()) is None


def test_dollars_a_million_tokens():
    # EVIDENCE: 10^6 $/h over 3600 tokens/s
    assert money.usd_per_million_tokens(8 * 2.10, 5000.0) == pytest.approx(0.9333, abs=1e-4)
    assert money.usd_per_million_tokens(2.0, 0.0) is None and money.usd_per_million_tokens(None, 5.0) is None


def test_a_months_budget_ends_on_its_day():
    begin, end = money.month(at("2026-02-10T12:00:00"))
    assert (begin, end) == (at("2026-02-01"), at("2026-03-01")) and money.month(at("2026-12-31"))[1] == at("2027-01-01")
    site = Site("ams1", price_per_gpu_hour={"H100": 2.0}, budget_usd_per_month=24.0 * 24 * 10)  # 24 $/h: ten days
    fleet = fleet_of(sites=(site,))
    assert money.budget_ends_at(fleet, site, at("2026-02-05")) == pytest.approx(at("2026-02-11"))
    rich = Site("ams1", price_per_gpu_hour={"H100": 2.0}, budget_usd_per_month=1e9)
    assert money.budget_ends_at(fleet_of(sites=(rich,)), rich, at("2026-02-05")) is None
    assert money.midnight(at("2026-02-05T13:30:00")) == at("2026-02-05")
