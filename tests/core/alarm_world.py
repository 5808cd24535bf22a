"""A fleet that is told what happens second by second: the stage on which alarms are tested, as plain events folded one after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opsconsole.core.events import Acted, Event, Hampered, Linked, Lost, Recorded, Routed, Sampled, Ticked
from opsconsole.core.fleet import REACH_WORDS, Fleet, Model, NodeFacts, Roster, Site, opening
from opsconsole.core.fold import fold
from opsconsole.core.ingest import ingest
from tests.telemetry import CALM_NODE, facts_line, roster, sample_line, worker_fields

START = 1_763_694_000.0


class World:
    """nodes: name -> {site, rack, chip, jump}; what each says is in `said`, by node: gpu, workers, gpu_errors, node, wall_off."""

    def __init__(
        self, nodes: dict[str, dict[str, str]], models: tuple[Model, ...] = (), sites: tuple[Site, ...] = (), gpus: int = 4, rules=None,
        said: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        facts = tuple(NodeFacts(name, place.get("site", ""), place.get("rack", ""), place.get("chip", "H100"), jump=place.get("jump", ""))
                      for name, place in nodes.items())
        made: Roster = replace(roster(list(nodes), sites=sites, models=models), nodes=facts)
        self.roster = made if rules is None else replace(made, alarm_rules=rules)
        self.gpus, self.mono, self.wall = gpus, 100.0, START
        self.tick_s = 1.0
        self.said: dict[str, dict[str, Any]] = {name: {} for name in nodes} | (said or {})
        self.silent: dict[str, tuple[str, str]] = {}
        """Lost nodes: (reach word, cause); "" for one that merely says nothing."""
        self.router: dict[str, float] = {}
        self.fleet: Fleet = fold(opening(self.roster), [Linked(name, self.mono, ingest(facts_line(gpus))) for name in nodes])
        self.seconds(1)

    def seconds(self, count: int, more: tuple[Event, ...] = ()) -> Fleet:
        """The fleet after so many ticks in which all go on saying what they say."""
        for number in range(count):
            self.mono += self.tick_s
            self.wall += self.tick_s
            self._fold(more if not number else ())
        return self.fleet

    def sleep(self, seconds: float) -> Fleet:
        """The laptop's lid is closed: one tick after it, with the values from before."""
        self.mono, self.wall = self.mono + seconds, self.wall + seconds
        self.fleet = fold(self.fleet, [Ticked(self.wall, self.mono)])
        return self.fleet

    def _fold(self, more: tuple[Event, ...]) -> None:
        events: list[Event] = [Routed(self.router)]
        for name, said in self.said.items():
            if name not in self.silent:
                events.append(self._sample(name, said))
        self.fleet = fold(self.fleet, [*events, *more, Ticked(self.wall, self.mono)])

    def _sample(self, name: str, said: dict[str, Any]) -> Sampled:
        workers = [worker_fields(**worker) for worker in said.get("workers", ())]
        gpu = {int(row): values for row, values in said.get("gpu", {}).items()}
        if "all_gpus" in said:
            gpu = {row: {**said["all_gpus"], **gpu.get(row, {})} for row in range(self.gpus)}
        node = [{**CALM_NODE, **said.get("node", {})}[column] for column in CALM_NODE]
        line = sample_line(self.gpus, workers=workers, gpu=gpu, wall=self.wall + said.get("wall_off", 0.0), node=node,
                           gpu_errors=said.get("gpu_errors", {}))
        return Sampled(name, self.wall, self.mono, ingest(line, name))

    def lose(self, name: str, word: str = "UNREACHABLE", cause: str = "no answer") -> Event | None:
        """A node that is lost; with the word "" it only falls silent."""
        self.silent[name] = word, cause
        return Lost(name, self.mono, REACH_WORDS.index(word), cause) if word else None

    def find(self, name: str) -> None:
        del self.silent[name]

    def own(self, what: str, cause: str) -> Event:
        return Recorded(cause) if what == "history" else Hampered(what, cause)

    def act(self, subject: str, text: str, actor: str = "") -> Event:
        return Acted(self.wall, subject, text, actor)
