"""What should be done: an intent and the fleet give a plan, or a refusal with the numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from opsconsole.core.drain import plan_drain, plan_stop, plan_undrain
from opsconsole.core.fleet import Fleet
from opsconsole.core.launch import plan_launch
from opsconsole.core.nodes import plan_cap, plan_cordon, plan_uncordon
from opsconsole.core.rebalance import plan_rebalance
from opsconsole.core.rollout import plan_rollout
from opsconsole.core.steps import Cap, Cordon, Drain, Intent, Launch, Plan, Rebalance, Rollout, Step, Stop, Uncordon, Undo, Undrain


def _plan_undo(fleet: Fleet, intent: Undo, under_way: Collection[Step]) -> Plan:
    """What a run has done is in its journal, not in the fleet."""
    refusal = f"run {intent.run} can only be taken back with its journal: see opsconsole runs {intent.run}"
    return Plan(intent, f"undo run {intent.run}", refusal=refusal)


_PLANNERS: dict[type, Callable[..., Plan]] = {
    Launch: plan_launch, Drain: plan_drain, Undrain: plan_undrain, Stop: plan_stop, Cordon: plan_cordon, Uncordon: plan_uncordon,
    Rebalance: plan_rebalance, Rollout: plan_rollout, Cap: plan_cap, Undo: _plan_undo,
}


def make_plan(fleet: Fleet, intent: Intent, under_way: Collection[Step] = ()) -> Plan:
    """The plan for an intent. under_way: steps of runs that have not ended; their workers and GPUs are not free for others.

    A plan without steps and without a refusal says in its checks why nothing needs to be done. An Undo is planned by core.undo.make_undo,
    which is given what the run has done.
    """
    return _PLANNERS[type(intent)](fleet, intent, under_way)


def confirmed_plan(fleet: Fleet, intent: Intent, shown: Collection[str], under_way: Collection[Step] = ()) -> Plan:
    """The plan against the newest fleet, refused when its steps are not those that the operator was shown and said yes to."""
    return confirmed(make_plan(fleet, intent, under_way), shown)


def confirmed(plan: Plan, shown: Collection[str]) -> Plan:
    """A plan just made, refused when its steps are not those that were shown."""
    if plan.refusal or [step.text for step in plan.steps] == list(shown):
        return plan
    return replace(plan, steps=(), refusal="the fleet has changed since this plan was shown; make it again", conflict=True)
