"""The listings: JSON as scripts rely on it, tables for people, and what happens when nodes are lost or words are hostile."""

import json
import unicodedata

import pytest

from opsconsole.cli.table import Column, cell_width, fit, table
from opsconsole.core.events import Lost
from opsconsole.core.fleet import UNREACHABLE
from opsconsole.core.fold import fold
from tests.cli.standin import StandIn
from tests.telemetry import fleet_of, tick, worker_fields
from tests.tui import fleets

KINDS = ("nodes", "gpus", "workers", "models", "sites")
WHOLE = fleet_of({"n1": [worker_fields("w1")]})
WORKER = WHOLE.workers[0]
BROKEN = fold(WHOLE, [Lost("n2", 100.0, UNREACHABLE, "no route to host"), tick(101.0)])


@pytest.mark.parametrize("kind", KINDS)
def test_json_is_one_object_with_a_moment(opsconsole, kind):
    code, out, err = opsconsole(kind, "--json", session=StandIn(WHOLE))
    value = json.loads(out)
    assert (code, err, out.count("\n"), list(value)) == (0, "", 1, ["at", kind])
    assert value["at"] == "1970-01-01T00:16:40.000Z"


def test_the_json_of_a_node_is_pinned(opsconsole):
    _, out, _ = opsconsole("nodes", "--json", "--filter", "n1", session=StandIn(WHOLE))
    (node,) = json.loads(out)["nodes"]
    assert node == {
        "name": "n1", "site": WHOLE.roster.nodes[0].site, "rack": "r01", "chip": WHOLE.roster.nodes[0].chip,
        "reach": "LIVE", "state": "ACTIVE", "reason": "", "severity": 0, "age_s": 0, "gpus": 4, "gpus_unread": 0,
        "util_pct": 60, "mem_util_pct": 30, "mem_used_mib": 4000, "mem_total_mib": 320000, "power_w": 1600, "power_limit_w": 2800,
        "temp_c": 55, "sm_clock_mhz": 1900, "queue_depth": WORKER.queue_depth, "running": WORKER.running, "in_flight": WORKER.in_flight,
        "tokens_per_s": WORKER.tokens_per_s, "requests_per_s": WORKER.requests_per_s, "ttft_p95_ms": WORKER.ttft_p95_ms,
        "itl_p95_ms": WORKER.itl_p95_ms, "kv_used_pct": WORKER.kv_used_pct, "cpu_pct": 10, "load1": 1.5, "disk_free_mib": 90000,
        "host_mem_used_mib": 4000, "host_mem_total_mib": 500000, "net_rx_mib_s": 1, "net_tx_mib_s": 2,
        "cpu_count": 64, "driver": "580.95", "python": "3.11.2", "clock_offset_s": 0,
    }


def test_a_lost_node_makes_it_partial_and_is_still_printed(opsconsole):
    code, out, err = opsconsole("nodes", "--json", session=StandIn(BROKEN))
    lost = json.loads(out)["nodes"][1]
    assert code == 3 and err == "opsconsole: 1 of 3 nodes do not answer: n2 (UNREACHABLE)\n"
    assert (lost["name"], lost["reach"], lost["reason"]) == ("n2", "UNREACHABLE", "no route to host")
    assert (lost["util_pct"], lost["age_s"]) == (None, 1)


@pytest.mark.parametrize("arguments, code", [
    (("nodes", "--filter", "n1"), 0), (("nodes", "--filter", "n2"), 3), (("gpus", "--filter", "name:n3"), 0), (("workers",), 0),
    (("models",), 3), (("status",), 3), (("status", "--filter", "!n2"), 0),
])
def test_only_nodes_that_were_asked_for_make_it_partial(opsconsole, arguments, code):
    assert opsconsole(*arguments, session=StandIn(BROKEN))[0] == code


def test_people_see_the_worst_first_with_its_age_and_last_figures(opsconsole):
    _, out, _ = opsconsole("nodes", session=StandIn(BROKEN))
    first = out.splitlines()[1]
    assert first.startswith("!!  n2") and "UNREACHABLE" in first and "no route to host" in first and "1600 W" in first and " 1 s " in first


def test_unknown_is_a_dash_never_a_zero(opsconsole):
    _, out, _ = opsconsole("nodes", session=StandIn(fleets.connecting(2)))
    assert "–" in out and " 0 W" not in out


@pytest.mark.parametrize("kind", [*KINDS, "status"])
@pytest.mark.parametrize("make", [fleets.hostile, fleets.alarm, fleets.empty, fleets.connecting])
def test_no_fleet_breaks_a_listing_or_reaches_the_terminal(opsconsole, kind, make):
    for arguments in ((kind,), (kind, "--json")):
        code, out, err = opsconsole(*arguments, session=StandIn(make()))
        assert code in (0, 3) and "internal error" not in err
        assert not {c for c in (out + err).replace("\n", "") if unicodedata.category(c) in ("Cc", "Cf")}


def test_columns_line_up_by_cells():
    columns = [Column("NAME", lambda row: row["name"]), Column("N", lambda row: row["n"], right=True), Column("END", lambda row: "|")]
    names = ["日本語ノード", "plain", "z\u0300\u0301algo", ""]
    lines = table(columns, [{"name": name, "n": str(number)} for number, name in enumerate(names)])
    assert len({cell_width(line[: line.index("|")]) for line in lines[1:]}) == 1


@pytest.mark.parametrize("cells", [1, 5, 12])
def test_a_cut_text_fits(cells):
    assert cell_width(fit("日本語ノード and more", cells)) <= cells


def test_a_narrow_terminal_cuts_only_the_last_column():
    lines = table([Column("A", lambda row: "aaaa"), Column("B", lambda row: "b" * 100)], [{}], 30)
    assert lines[1] == "aaaa  " + "b" * 23 + "…"


def test_watch_prints_an_object_a_line_until_interrupted(opsconsole):
    code, out, err = opsconsole("nodes", "--watch", "--json", session=StandIn(WHOLE, BROKEN, interrupt=True))
    assert code == 130 and [json.loads(line)["nodes"][1]["reach"] for line in out.splitlines()] == ["LIVE", "UNREACHABLE"]
    assert "interrupted" in err


@pytest.mark.parametrize("arguments, words", [
    (("nodes", "--filter", "heat>3"), "`heat>3`"), (("nodes", "--site", 'a"b'), "there is no site"),
    (("gpus", "--filter", "util>x"), "NUMBER"),
])
def test_a_wrong_filter_is_a_usage_error_in_one_sentence(opsconsole, arguments, words):
    code, out, err = opsconsole(*arguments, session=StandIn(WHOLE))
    assert (code, out, err.count("\n")) == (2, "", 1) and words in err


@pytest.mark.parametrize("kind", [*(kind for kind in KINDS if kind != "models"), "status"])
@pytest.mark.parametrize("how", [("--json",), ("--watch",), ()])
def test_a_site_that_is_none_is_a_usage_error_that_names_those_there_are(opsconsole, kind, how):
    code, out, err = opsconsole(kind, "--site", "zz", *how, session=StandIn(fleets.calm()))
    assert (code, out, err) == (2, "", "opsconsole: there is no site 'zz' in the fleet file; known: ams1, fra2\n")


@pytest.mark.parametrize("arguments, words", [
    (("nodes", "--filter", "node:h200-00"), "there is no node 'h200-00' in the fleet file; near it: h200-00"),
    (("gpus", "--filter", "util>5 name=xyz"), "there is no node 'xyz' in the fleet file; it has 24, such as h200-001"),
    (("workers", "--filter", "model:qwen*9"), "there is no model 'qwen*9' in the fleet file; known: llama-8b, qwen3-72b, bge-m3"),
    (("models", "--filter", "name:llama"), "there is no model 'llama' in the fleet file"),
    (("sites", "--filter", "name:zz"), "there is no site 'zz' in the fleet file"),
])
def test_a_filter_for_a_name_that_nothing_has_is_a_usage_error(opsconsole, arguments, words):
    code, out, err = opsconsole(*arguments, session=StandIn(fleets.calm()))
    assert (code, out, err.count("\n")) == (2, "", 1) and words in err


@pytest.mark.parametrize("arguments, said", [
    (("nodes", "--filter", "site:ams* util>100"), "no nodes match site:ams* util>100\n"), (("nodes", "--filter", "!site:zz chip:zz"), None),
    (("workers", "--filter", "worker:gone"), "no workers match worker:gone\n"), (("workers", "--filter", "name:gone"), None),
    (("workers", "--filter", "SITE:FRA2 state:failed"), None), (("gpus", "--filter", "nowhere"), "no gpus match nowhere\n"),
])
def test_what_nothing_matches_now_is_no_mistake(opsconsole, arguments, said):
    code, out, err = opsconsole(*arguments, session=StandIn(fleets.calm()))
    assert (code, err) == (0, "") and (out == said if said else out.startswith("no "))
    code, out, _ = opsconsole(*arguments, "--json", session=StandIn(fleets.calm()))
    assert code == 0 and json.loads(out)[arguments[0]] == []


def test_models_are_of_no_single_site(opsconsole):
    assert opsconsole("models", "--site", "ams1", session=StandIn(WHOLE))[0] == 2


def test_site_narrows(opsconsole):
    _, out, _ = opsconsole("nodes", "--site", "fra2", "--json", session=StandIn(fleets.calm()))
    assert {node["site"] for node in json.loads(out)["nodes"]} == {"fra2"}


def test_status_names_alarms(opsconsole):
    _, out, _ = opsconsole("status", session=StandIn(fleets.alarm()))
    assert "22 of 24 answer" in out and "!! h100-010  UNREACHABLE" in out
