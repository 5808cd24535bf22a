"""What holds for every plan over every fleet: it is made without an exception, twice the same, and none of its moments breaks a limit."""

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from opsconsole.core.guards import step_refusal
from opsconsole.core.plan import make_plan
from opsconsole.core.power import limits_w
from opsconsole.core.steps import Undo
from opsconsole.core.undo import make_undo
from tests.core.random_fleets import fleets, intents, under_ways

many = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None,
                phases=(Phase.generate,))


class Walk:
    """A plan carried out in some order that its steps allow, with the limits looked at after each beginning and end."""

    def __init__(self, fleet, steps, under_way):
        self.fleet, self.steps, self.under_way = fleet, steps, under_way
        self.begun, self.ended = set(), set()
        self.workers = {worker.name: worker for worker in fleet.workers}
        self.minimum = {model.name: model.min_ready for model in fleet.roster.models}
        self.share = {model.name: model.gpu_share for model in fleet.roster.models}

    def next_moves(self):
        begins = [("begin", number) for number, step in enumerate(self.steps)
                  if number not in self.begun and all(before in self.ended for before in step.after)]
        return begins + [("end", number) for number in sorted(self.begun - self.ended)]

    def move(self, what, number):
        (self.begun if what == "begin" else self.ended).add(number)
        self.check_floor()
        self.check_gpus()
        self.check_power()
        self.check_out()

    def _of(self, numbers, *ops):
        return [self.steps[number] for number in sorted(numbers) if self.steps[number].order["op"] in ops]

    def check_floor(self):
        now = Counter(worker.model for worker in self.fleet.workers if worker.state == "READY")
        then = Counter(now)
        then.subtract(self.workers[step.worker].model for step in self._of(self.begun, "drain", "stop")
                      if self.workers[step.worker].state == "READY")
        then.update(step.order["model"] for step in self._of(self.ended, "launch"))
        for model, minimum in self.minimum.items():
            assert then[model] >= min(now[model], minimum)

    def check_gpus(self):
        """No GPU that a launch takes is promised beyond its memory, on a node that is silent, broken or cordoned, or whole elsewhere."""
        gone = {step.worker for step in self._of(self.ended, "drain", "stop")}
        held = Counter()
        for worker in self.fleet.workers:
            if worker.state not in ("STOPPED", "FAILED") and worker.name not in gone:
                for gpu in worker.gpus:
                    held[worker.node, gpu] += self.share.get(worker.model, 1.0)
        for step in self._of(self.begun, "launch"):
            row = self.fleet.roster.node_row[step.node]
            assert self.fleet.answering[row] and row not in self.fleet.cordons
            for gpu in step.order["gpus"]:
                held[step.node, gpu] += self.share[step.order["model"]]
                assert self.fleet.roster.gpu_row[step.node, gpu] not in self.fleet.gpu_errors
                assert held[step.node, gpu] <= 1.0 + 1e-6

    def check_power(self):
        """With every launched GPU at its limit each site and each rack that gets one stays within its budget less the headroom."""
        launches = self._of(self.begun, "launch")
        limits, drawn = limits_w(self.fleet), self.fleet.gpu("power_w")
        drawn = np.where(np.isnan(drawn), limits, drawn)
        for step in launches:
            for gpu in step.order["gpus"]:
                row = self.fleet.roster.gpu_row[step.node, gpu]
                drawn[row] = max(drawn[row], limits[row])
        nodes, share = self.fleet.roster.nodes, 1 - self.fleet.roster.policy.power_headroom_pct / 100
        touched = {nodes[self.fleet.roster.node_row[step.node]] for step in launches}
        for site in self.fleet.roster.sites:
            if site.name in {node.site for node in touched} and site.power_budget_kw is not None:
                here = [nodes[row].site == site.name for row in self.fleet.roster.gpu_node]
                rest = self.beside(here, site.name)
                assert (drawn[here].sum() + rest) * (site.pue or 1.0) <= site.power_budget_kw * 1000 * share + 1e-6
        for rack in self.fleet.roster.racks:
            if (rack.site, rack.name) in {(node.site, node.rack) for node in touched}:
                here = [(nodes[row].site, nodes[row].rack) == (rack.site, rack.name) for row in self.fleet.roster.gpu_node]
                assert drawn[here].sum() + self.beside(here, rack.site) <= rack.power_budget_kw * 1000 * share + 1e-6

    def beside(self, here, site):
        """W of the nodes that have these GPUs, beside them."""
        each = [one.node_overhead_w or 0.0 for one in self.fleet.roster.sites if one.name == site]
        return sum(each) * len(set(self.fleet.roster.gpu_node[here].tolist()))

    def check_out(self):
        """Of no model more are out at once than the policy allows."""
        leaving = [self.workers[step.worker] for step in self._of(self.begun - self.ended, "drain", "stop")]
        new = Counter(worker.model for worker in leaving if worker.state == "READY")
        gone = {step.worker for step in self._of(self.ended, "drain", "stop")}
        already = Counter(worker.model for worker in self.fleet.workers
                          if worker.state in ("DRAINING", "NOT_READY") and worker.name not in gone)
        for model, count in new.items():
            assert count + already[model] <= self.fleet.roster.policy.max_unavailable


@many
@given(some.data())
def test_no_moment_of_a_plan_breaks_a_limit(data):
    fleet = data.draw(fleets())
    under_way = data.draw(under_ways(fleet))
    plan = make_plan(fleet, data.draw(intents(fleet)), under_way)
    assert not (plan.steps and plan.refusal)
    for number, step in enumerate(plan.steps):
        assert all(before < number for before in step.after)
    if any(step.order["op"] in ("launch", "drain", "stop") for step in plan.steps):
        walk = Walk(fleet, plan.steps, under_way)
        while moves := walk.next_moves():
            walk.move(*data.draw(some.sampled_from(moves)))


@many
@given(some.data())
def test_a_plan_is_the_same_when_it_is_made_again_and_its_first_steps_may_begin(data):
    fleet = data.draw(fleets())
    intent = data.draw(intents(fleet))
    plan = make_plan(fleet, intent)
    assert make_plan(fleet, intent) == plan
    first = [step for step in plan.steps if not step.after]
    for number, step in enumerate(first):
        assert step_refusal(fleet, step, first[:number]) == ""


@many
@given(some.data())
def test_what_was_done_can_be_looked_at_for_taking_it_back(data):
    fleet = data.draw(fleets())
    plan = make_plan(fleet, data.draw(intents(fleet)))
    undo = make_undo(fleet, Undo("r1"), plan.title, plan.steps)
    assert not (undo.steps and undo.refusal)
    assert undo == make_undo(fleet, Undo("r1"), plan.title, plan.steps)
