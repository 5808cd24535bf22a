"""What was said before a change agrees with what the simulator then does: sites lost, surges, caps; and history teaches what is so."""

import time

import numpy as np
import pytest

from opsconsole.config import read_config
from opsconsole.control.learned import learn
from opsconsole.core.fleet import NodeFacts
from opsconsole.core.outlook import outlook, outlook_json
from opsconsole.history.samples import FLEETS_WAITING, Recorder
from opsconsole.sim.fleetfile import fleet_file, read_fleet
from opsconsole.sim.scenario import Story, read_scenario
from opsconsole.sim.service import REQUESTS_PER_S_OF_CHIP, TOKENS_PER_REQUEST
from tests.watched import BEGIN, Watched

HOUR_S = 3600


def recorded(path, watched, seconds, step_s):
    """The recorder is waited for now and then, so that no moment is dropped however fast they come."""
    recorder, count = Recorder(path, hours=100 * 24), 0
    recorder.start()

    def record(fleet):
        nonlocal count
        recorder.record(fleet)
        count += 1
        while count % (FLEETS_WAITING // 2) == 0 and (recorder.acknowledged or 0) < int(fleet.at):
            time.sleep(0.002)

    watched.run(seconds, step_s, record)
    recorder.close()
    assert not recorder.trouble and not recorder.lost_ticks
    return watched.fleet


def said(watched, what_if, learned=None):
    _, then = outlook(watched.fleet, *([learned] if learned else []), what_if=what_if)
    return {model.name: model for model in then.capacity.models}


def agrees(told, came):
    for name, model in told.items():
        mean, low, high = model.expected
        assert low <= came[name] <= high, f"{name}: {low:.0f} to {high:.0f} were said (best guess {mean:.0f}), {came[name]:.0f} came"


@pytest.mark.parametrize("seed", [3, 4])
def test_a_lost_site_does_what_was_said_before(seed):
    watched = Watched(12, seed)
    watched.run(60)
    told = said(watched, "lose site fra1")
    watched.world.suffer({"dark": watched.of_site("fra1")})
    watched.run(30)
    assert (watched.fleet.answering == [node.site == "ams1" for node in watched.fleet.roster.nodes]).all()
    agrees(told, watched.tokens_per_s())


def test_in_the_demos_lost_site_the_what_if_asked_before_agrees_with_what_then_happens(tmp_path):
    demo = read_fleet(16, None, 7)
    (tmp_path / "fleet.toml").write_text(fleet_file(demo, tmp_path, {}, None))
    config = read_config(tmp_path / "fleet.toml")
    nodes = [NodeFacts(node.name, node.site, node.rack, node.chip) for node in config.nodes]
    watched, story = Watched(nodes, 7, models=config.models, sites=config.sites), Story(demo)
    before, lost, back = read_scenario("lost-site")
    story.play(before)
    watched.world.suffer(story.faults())
    watched.run(before["at_s"] + 60)
    told = said(watched, "lose site fra1")
    story.play(lost)
    watched.world.suffer(story.faults())
    watched.run(30)
    agrees(told, watched.tokens_per_s())
    assert {node.site for node, answers in zip(nodes, watched.fleet.answering, strict=True) if not answers} == {"fra1"}
    story.play(back)
    watched.world.suffer(story.faults())
    watched.run(5)
    assert watched.fleet.answering.all() and not [w for w in watched.fleet.workers if w.node.startswith("fra1")]


@pytest.mark.parametrize("percent", [20, 80])
def test_a_surge_does_what_was_said_before(percent):
    watched = Watched(12)
    watched.run(60)
    told = said(watched, f"surge {percent}%")
    watched.world.suffer({"surge": dict.fromkeys(told, 1 + percent / 100)})
    watched.run(30)
    agrees(told, watched.tokens_per_s())


def test_a_lowered_cap_does_what_was_said_before():
    watched = Watched(12)
    watched.world.suffer({"surge": {"chat": 3.0, "code": 3.0}})  # all workers are full, so that their pace shows
    watched.run(120)
    told = said(watched, "cap ams1 350")
    gpus = watched.world.gpus
    at_ams = np.isin(watched.fleet.roster.gpu_node, [row for row, node in enumerate(watched.fleet.roster.nodes) if node.site == "ams1"])
    gpus.limit_w[at_ams] = 350.0
    watched.run(60)
    agrees(told, watched.tokens_per_s())


@pytest.fixture(scope="module")
def two_days(tmp_path_factory):
    """A small fleet over two days in steps of twenty minutes, what it was at their end, and what they taught."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    watched = Watched(4, at=BEGIN)
    fleet = recorded(path, watched, 48 * HOUR_S, 1200.0)
    return watched, fleet, learn(path, fleet)


def test_rates_learned_are_the_simulators_own(two_days):
    _, fleet, learned = two_days
    assert learned.note == "" and learned.span_s > 47 * HOUR_S
    gpus = {model.name: model.gpus for model in fleet.roster.models}
    slots = {model.name: model.slots for model in fleet.roster.models}
    assert learned.rates
    for (model, chip), rate in learned.rates.items():
        truth = REQUESTS_PER_S_OF_CHIP[chip] * gpus[model] * TOKENS_PER_REQUEST
        assert rate.tokens_per_s(slots[model]) == pytest.approx(truth, rel=0.05) and rate.samples > 40
    assert all(0.1 < energy.joules_per_token < 5 for energy in learned.energy.values()) and learned.energy
    assert learned.peak_over_mean == pytest.approx(1.25, abs=0.1)  # the simulated day sways by a quarter


def test_the_day_is_foreseen_from_recorded_history_and_its_error_is_told(two_days):
    watched, fleet, learned = two_days
    told = learned.demand
    assert told.keys() == {"chat", "code"} and all(ahead.way == "season" and ahead.error_pct < 12 for ahead in told.values())
    came: dict[str, list[float]] = {name: [] for name in told}
    hours = 12
    for _ in range(hours * 2):
        watched.run(1800, 900.0)
        for name in told:
            came[name].append(sum(worker.tokens_per_s or 0.0 for worker in watched.fleet.workers_of_model[name]))
    times = fleet.at + 1800 * np.arange(1, hours * 2 + 1)
    for name, ahead in told.items():
        truth = np.array(came[name])
        mean, low, high = (np.interp(times, ahead.times, line) for line in (ahead.mean, ahead.low, ahead.high))
        assert np.abs(mean - truth).sum() / truth.sum() < max(2 * ahead.error_pct / 100, 0.1)
        assert ((truth >= low) & (truth <= high)).mean() > 0.55


def test_the_answer_says_what_it_stands_on(two_days):
    _, fleet, learned = two_days
    told = outlook_json(*outlook(fleet, learned, tokens_per_day=5e9))
    assert {"gpus_needed", "gpus_short", "mw_needed", "usd_per_day", "stranded", "saturation", "assumptions"} <= told.keys()
    assert told["models"][0]["forecast"]["backtest_error_pct"] > 0 and told["learned"]["rates"][0]["samples"] > 40
    assert any("times its mean, as its forecast has it" in text for text in told["assumptions"])


def test_an_hour_of_history_is_said_to_be_little(tmp_path):
    watched = Watched(4)
    fleet = recorded(tmp_path / "history.db", watched, 600, 5.0)
    learned = learn(tmp_path / "history.db", fleet)
    assert learned.note.startswith("only 9 min of history") and learned.peak_over_mean is None
    assert learned.rates and {ahead.way for ahead in learned.demand.values()} <= {"last value", "trend"}
    assert "nothing was learned from history" in learn(tmp_path / "none.db", fleet).note
