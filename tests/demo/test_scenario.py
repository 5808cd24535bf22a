"""Every scenario can be read, fits the demo's fleets, and says in its files what it says in words."""

import json
import time

import pytest

from opsconsole.sim.arrivals import parse_plan
from opsconsole.sim.fleetfile import read_fleet
from opsconsole.sim.scenario import Player, ScenarioError, Story, about, names, read_scenario

LAPTOP = read_fleet(None, None, 1)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("fleet", [LAPTOP, read_fleet(20, None, 1)], ids=["laptop", "large"])
def test_a_scenario_can_be_played(name, fleet):
    assert about(name)
    story = Story(fleet)
    for moment in read_scenario(name):
        story.play(moment)
        parse_plan(json.dumps(story.traffic()))
        faults = story.faults()
        assert set(faults["gpus"]) | set(faults["cut"]) | set(faults["dark"]) | set(faults["hang"]) <= set(fleet.names)


def test_the_six_promised_scenarios_are_there():
    assert set(names()) >= {"quiet-night", "rush-hour", "hot-node", "dead-gpu", "lost-link", "lost-site"}


def test_a_trouble_ends_when_it_is_taken_back():
    story = Story(LAPTOP)
    for moment in read_scenario("dead-gpu")[:2]:
        story.play(moment)
    assert story.faults()["gpus"] == {LAPTOP.names[1]: {"lost": [3]}}
    story.play(read_scenario("dead-gpu")[2])
    assert story.faults()["gpus"] == {}


def test_a_lost_site_takes_all_its_nodes_with_it_and_gives_them_back():
    story = Story(LAPTOP)
    for moment in read_scenario("lost-site")[:2]:
        story.play(moment)
    assert story.faults()["dark"] == list(LAPTOP.names[2:]) and {node["site"] for node in LAPTOP.nodes[2:]} == {"fra1"}
    story.play(read_scenario("lost-site")[2])
    assert story.faults()["dark"] == []


def test_demand_multiplies_what_the_public_asks():
    story = Story(LAPTOP)
    story.play({"at_s": 0, "demand": 0.5})
    story.play({"at_s": 1, "demand": {"demo": 3.0}})
    usual = LAPTOP.traffic["demo"]["requests_per_s"]
    assert story.traffic()["models"]["demo"]["requests_per_s"] == 3.0 * usual
    assert story.traffic()["models"]["demo-mini"]["requests_per_s"] == 0.5 * LAPTOP.traffic["demo-mini"]["requests_per_s"]


def test_an_unknown_scenario_names_those_there_are():
    with pytest.raises(ScenarioError, match="rush-hour"):
        read_scenario("../secrets")


def test_the_player_writes_as_time_passes(tmp_path):
    said = []
    moments = [{"at_s": 0, "demand": 1.0}, {"at_s": 0.2, "cut": [1], "say": "cut"}, {"at_s": 100, "cut": []}]
    player = Player(LAPTOP, moments, tmp_path, said.append)
    player.start()
    give_up = time.monotonic() + 10
    while not said and time.monotonic() < give_up:
        time.sleep(0.02)
    player.stop()
    assert said == ["cut"]
    assert json.loads((tmp_path / "faults.json").read_text())["cut"] == [LAPTOP.names[1]]
    assert json.loads((tmp_path / "traffic.json").read_text())["models"]["demo"]["requests_per_s"] > 0
