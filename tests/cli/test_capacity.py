"""The command `capacity`: its JSON for scripts, its lines for people, its refusals; and the same figures beside models and sites."""

import json

import pytest

from opsconsole.core.fleet import Site
from tests.cli.standin import StandIn
from tests.telemetry import fleet_of, worker_fields
from tests.tui import fleets

SITES = (Site("ams1", "acme", 40.0, 1.2, {"H100": 2.0}),)
WHOLE = fleet_of({"n1": [worker_fields("w1", running=2, tokens_per_s=200.0)], "n2": [worker_fields("w2", running=1)]}, sites=SITES)
PROMISED = {"gpus_needed", "gpus_short", "mw_needed", "usd_per_day", "stranded", "saturation", "assumptions"}


def test_json_has_what_was_promised(opsconsole):
    code, out, err = opsconsole("capacity", "--json", session=StandIn(WHOLE))
    told = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1) and PROMISED <= told.keys() and "before" not in told
    (model,) = told["models"]
    assert (model["name"], model["ready"], model["demand_tokens_per_s"]) == ("demo", 2, 320) and model["capacity_tokens_per_s"] > 320
    assert told["gpus"] == {"total": 12, "serving": 2, "free": 10, "stranded": 0, "unheard": 0}
    assert told["usd_per_h_rented"] == 24 and told["idle_usd_per_h"] == 20 and told["stranded_usd_per_h"] == 0
    assert any("nothing was learned from history" in text for text in told["assumptions"])


def test_a_what_if_tells_before_and_after(opsconsole):
    code, out, _ = opsconsole("capacity", "--what-if", "lose node n1", "--json", session=StandIn(WHOLE))
    told = json.loads(out)
    assert code == 0 and told["after"]["gpus"]["unheard"] == 4 and told["before"]["gpus"]["unheard"] == 0
    assert {key: told[key] for key in PROMISED} == {key: told["after"][key] for key in PROMISED}


def test_a_target_tells_what_is_short(opsconsole):
    code, out, _ = opsconsole("capacity", "--target-tokens-per-day", "20T", "--json", session=StandIn(WHOLE))
    told = json.loads(out)
    assert code == 0 and told["gpus_short"]["H100"] > 100_000 and told["mw_needed"] > 50 and told["usd_per_day"] > 1e6


@pytest.mark.parametrize(("arguments", "words"), [
    (("--what-if", "lose site moon"), "no site is called 'moon'; known are ams1"), (("--what-if", "rain"), "is no change"),
    (("--target-tokens-per-day", "many"), "write a number with K, M, G, T or P behind it"), (("--target-tokens-per-day", "0"), "no amount"),
])
def test_refusals_are_a_sentence_and_wrong_usage(opsconsole, arguments, words):
    code, out, err = opsconsole("capacity", *arguments, session=StandIn(WHOLE))
    assert (code, out) == (2, "") and words in err


def test_people_read_tables_ends_and_assumptions(opsconsole):
    code, out, _ = opsconsole("capacity", "--what-if", "surge 900%", session=StandIn(WHOLE))
    assert code == 0
    for words in ("BEFORE", "AFTER", "demo: full", "CAN SERVE", "what ends first", "assumed", "launch demo --count", "$ an hour rented"):
        assert words in out


@pytest.mark.parametrize("make", [fleets.hostile, fleets.alarm, fleets.empty, fleets.connecting, fleets.lost])
def test_no_fleet_breaks_it(opsconsole, make):
    for arguments in ((), ("--json",), ("--what-if", "surge 10%"), ("--target-tokens-per-day", "5G", "--json")):
        code, out, err = opsconsole("capacity", *arguments, session=StandIn(make()))
        assert code in (0, 3) and "internal error" not in err and out


def test_listings_have_the_same_figures(opsconsole):
    capacity = json.loads(opsconsole("capacity", "--json", session=StandIn(WHOLE))[1])
    (model,) = json.loads(opsconsole("models", "--json", session=StandIn(WHOLE))[1])["models"]
    (site,) = json.loads(opsconsole("sites", "--json", session=StandIn(WHOLE))[1])["sites"]
    for name in ("capacity_tokens_per_s", "load_pct", "usd_per_million_tokens", "error_budget_left_pct"):
        assert model[name] == capacity["models"][0][name]
    assert (site["gpus_free"], site["gpus_stranded"], site["usd_per_h"]) == (10, 0, capacity["sites"][0]["usd_per_h"])
    assert "CAN SERVE" in opsconsole("models", session=StandIn(WHOLE))[1] and "STRANDED" in opsconsole("sites", session=StandIn(WHOLE))[1]
