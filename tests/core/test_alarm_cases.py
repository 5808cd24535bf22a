"""Situations over time and the alarms they give: one JSON file a case, told second by second."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from opsconsole.core.alarm_rules import BUILT_IN, RULES, Rule
from opsconsole.core.fleet import Model, Site
from tests.core.alarm_world import World

CASES = sorted((Path(__file__).parent / "alarms").glob("*.json"))


def rules_of(tuned):
    changed = {one["name"]: replace(BUILT_IN[one["name"]], **one) if one["name"] in BUILT_IN else Rule(**one) for one in tuned}
    kept = [changed.pop(rule.name, rule) for rule in RULES]
    return (*kept, *changed.values())


class Stage:
    """Does what a case says and counts how often alarms were raised."""

    def __init__(self, case):
        sites = tuple(Site(**site) for site in case.get("sites", ())) or (Site("ams1"), Site("fra2"))
        models, rules = tuple(Model(**model) for model in case.get("models", ())), rules_of(case.get("rules", ()))
        self.world = World(case["nodes"], models, sites, rules=rules, said=case["then"][0].get("say"))
        self.world.tick_s = case.get("tick_s", 1.0)
        self.raised, self.shown = [], set()
        self.look(self.world.fleet)

    def look(self, fleet):
        now = {f"{alarm.kind} {alarm.subject}" for alarm in fleet.alarms}
        self.raised += sorted(now - self.shown)
        self.shown = now

    def play(self, step):
        world, events = self.world, []
        world.said.update({name: said for name, said in step.get("say", {}).items()})
        for name in step.get("find", ()):
            world.find(name)
        events += [world.lose(name) for name in step.get("lose", ())]
        for name in step.get("silent", ()):
            world.lose(name, "")
        events += [world.own(what, cause) for what, cause in step.get("own", {}).items()]
        if "act" in step:
            events.append(world.act(*step["act"]))
        world.router = step.get("router", world.router)
        world.wall += step.get("set_clock", 0)
        if "sleep" in step:
            self.look(world.sleep(step["sleep"]))
        for second in range(int(step.get("for", 0) / world.tick_s)):
            for name, phases in step.get("flicker", {}).items():
                world.said[name] = phases[second % len(phases)]
            for name, ramp in step.get("ramp", {}).items():
                running = ramp["from"] + ramp["per_s"] * second
                world.said[name] = {"workers": [{"name": ramp["worker"], "slots": ramp["slots"], "running": running}]}
            self.look(world.seconds(1, tuple(events) if not second else ()))


def check(step, fleet):
    by_name = {f"{alarm.kind} {alarm.subject}": alarm for alarm in fleet.alarms}
    if "alarms" in step:
        assert set(by_name) == set(step["alarms"])
    first = by_name[step["alarms"][0]] if step.get("alarms") else None
    assert step.get("has", "") in (first.text if first else "")
    assert step.get("detail", "") in (first.detail if first else "")
    assert step.get("cause", "") in (first.cause if first else "")
    if "severity" in step:
        assert first.severity == step["severity"]
    if "members" in step:
        assert list(first.members) == step["members"]
    for name, cause in step.get("cause_of", {}).items():
        assert cause in by_name[name].cause
    for name, seconds in step.get("since_ago", {}).items():
        assert abs(fleet.at - by_name[name].since - seconds) <= 8
    if "texts_at_most" in step:
        assert all(len(alarm.text) + len(alarm.detail) + len(alarm.cause) <= step["texts_at_most"] for alarm in fleet.alarms)


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_case(file):
    case = json.loads(file.read_text(encoding="utf-8"))
    stage = Stage(case)
    for number, step in enumerate(case["then"], 1):
        stage.play(step)
        try:
            check(step, stage.world.fleet)
        except AssertionError as error:
            told = [f"{alarm.kind} {alarm.subject}: {alarm.text} | {alarm.detail} | {alarm.cause}" for alarm in stage.world.fleet.alarms]
            raise AssertionError(f"step {number}: {error}\nalarms: {told}") from None
    assert len(stage.raised) <= case["raised_most"], stage.raised
