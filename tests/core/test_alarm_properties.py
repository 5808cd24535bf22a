"""Whatever nodes say in whatever order: an alarm neither flaps nor storms, and what people said of it is kept."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsconsole.core.alarm_groups import MANY
from opsconsole.core.alarm_memory import DAMPED_CLEAR_S
from opsconsole.core.alarm_rules import BUILT_IN, RULES
from opsconsole.core.fleet import Model
from tests.core.alarm_world import World

NODES = {f"n{row}": {"rack": f"r{row // 4}", "site": "ams1" if row < 8 else "fra2"} for row in range(12)}
SAYINGS = (
    {}, {"all_gpus": {"throttle": 0x40, "temp_c": 95}}, {"gpu": {"1": {"xid": 79}}}, {"gpu_errors": {"0": "lost"}}, {"wall_off": 90.0},
    {"node": {"disk_free_mib": 100}}, {"workers": [{"name": "w1", "state": "FAILED"}]}, {"workers": [{"name": "w1", "ttft_p95_ms": 900.0}]},
    {"all_gpus": {"ecc_uncorrected": 1}},
)
DOINGS = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(sorted(NODES)), st.sampled_from(SAYINGS)),
    st.tuples(st.just("lose"), st.sets(st.sampled_from(sorted(NODES)), min_size=1), st.sampled_from(("UNREACHABLE", ""))),
    st.tuples(st.just("find"), st.just(""), st.just("")),
    st.tuples(st.just("sleep"), st.floats(6, 5000), st.just("")),
    st.tuples(st.just("wait"), st.integers(1, 20), st.just("")),
)


def do(world, doing):
    what, first, second = doing
    if what == "say":
        world.said[first] = second
    elif what == "lose":
        world.seconds(1, tuple(filter(None, (world.lose(name, second) for name in sorted(first)))))
    elif what == "find":
        world.silent.clear()
    elif what == "sleep":
        world.sleep(first)
    else:
        world.seconds(first)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(DOINGS, max_size=14))
def test_what_is_told_is_told_once(doings):
    world = World(NODES, (Model("demo", min_ready=1, ttft_p95_ms=100.0),), gpus=2)
    for doing in doings:
        do(world, doing)
        alarms = world.fleet.alarms
        assert len({alarm.id for alarm in alarms}) == len(alarms)
        by_kind = Counter(alarm.kind for alarm in alarms)
        assert all(count < MANY for count in by_kind.values()), by_kind
        members = [(alarm.kind, name) for alarm in alarms for name in alarm.members or (alarm.subject,)]
        assert len(set(members)) == len(members), "one trouble, two alarms"
        assert all(alarm.since <= world.fleet.at for alarm in alarms)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.booleans(), min_size=10, max_size=240), st.sampled_from(SAYINGS[1:7]))
def test_a_fact_that_comes_and_goes_is_not_raised_again_before_it_was_gone_for_long(pattern, trouble):
    world = World({"n1": {}, "n2": {}}, gpus=2)
    shown, cleared_at, raised = set(), {}, Counter()
    for second, is_wrong in enumerate(pattern):
        world.said["n1"] = trouble if is_wrong else {}
        now = {(alarm.kind, alarm.subject) for alarm in world.seconds(1).alarms}
        for key in now - shown:
            raised[key] += 1
        for key in shown - now:
            kept_s = BUILT_IN[key[0]].clear_s if raised[key] < 2 else max(DAMPED_CLEAR_S, BUILT_IN[key[0]].clear_s) * 2 ** (raised[key] - 1)
            assert not any(pattern[max(0, second - int(kept_s) + 1):second + 1]), "cleared while it was so"
            cleared_at[key] = second
        shown = now
    # 10 s, 20 s, 40 s ... of calm have to lie between: four minutes hold no more than these
    assert all(count <= 5 for count in raised.values()), raised


def test_every_built_in_rule_has_its_finder_and_sane_figures():
    from opsconsole.core.alarms import FINDERS

    assert set(FINDERS) == {rule.name for rule in RULES}
    for rule in RULES:
        assert rule.for_s >= 0 and rule.clear_s >= 0 and rule.says
        if rule.clear_limit is not None:
            assert (rule.clear_limit > rule.limit) == rule.is_below, rule.name
