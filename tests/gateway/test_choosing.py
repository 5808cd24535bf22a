"""Which worker a request goes to: the one that will answer first, new ones gently; and which requests are refused before they wait."""

import pytest

from opsconsole.gateway.asked import USUAL_ANSWER_TOKENS, read_asked
from opsconsole.gateway.balancer import RAMP_S, Balancer, QueueFull, TooLate, Worker
from opsconsole.gateway.pace import VALID_S
from opsconsole.gateway.refusals import Refusal
from tests.gateway.test_balancer import arrive, balancer_of, names

FAST, SLOW = Worker("fast", "http://f:1", 4), Worker("slow", "http://s:1", 4)


def measured(**seconds):
    """A balancer whose workers have answered one stream of 11 events each, in so many seconds."""
    balancer = balancer_of(FAST, SLOW)
    for seat in balancer.seats("demo"):
        if seat.worker.name in seconds:
            seat.pace.learn(0.0, seconds[seat.worker.name] / 10, 11, seconds[seat.worker.name])
    return balancer


def test_the_faster_worker_gets_more_until_it_is_too_full():
    balancer = measured(fast=1.0, slow=1.5)
    arrive(balancer, 6)
    assert names(balancer.assign(0)) == ["fast", "fast", "fast", "slow", "fast", "slow"]


def test_a_worker_of_unknown_pace_counts_as_the_others_do():
    balancer = measured(fast=1.0)
    arrive(balancer, 4)
    assert sorted(names(balancer.assign(0))) == ["fast", "fast", "slow", "slow"]


def test_an_old_measure_is_forgotten():
    balancer = measured(fast=1.0, slow=9.0)
    arrive(balancer, 4)
    assert names(balancer.assign(0)) == ["fast"] * 4
    for _ in range(4):
        balancer.release(balancer.seats("demo")[0])
    arrive(balancer, 4)
    assert sorted(names(balancer.assign(VALID_S + 10))) == ["fast", "fast", "slow", "slow"]


def test_a_new_worker_beside_others_gets_few_requests_at_first():
    balancer = balancer_of(FAST)
    arrive(balancer, 9)
    balancer.assign(100.0)
    balancer.replace({"demo": (FAST, SLOW)}, 100.0)
    assert names(balancer.assign(100.0)) == ["slow"]
    assert balancer.next_wake_s(100.0) == 100.0 + RAMP_S / 4
    assert names(balancer.assign(100.0 + RAMP_S / 4)) == ["slow"]
    assert names(balancer.assign(100.0 + RAMP_S)) == ["slow", "slow"]
    assert balancer.next_wake_s(100.0 + RAMP_S) is None


def test_the_first_workers_of_a_model_and_one_that_comes_back_are_used_whole():
    balancer = balancer_of()
    balancer.replace({"demo": (FAST,)}, 50.0)
    arrive(balancer, 4, now_s=50.0)
    [*assigned] = balancer.assign(50.0)
    assert len(assigned) == 4
    balancer.replace({"demo": (Worker("fast", "http://f:1", 4, drain=True), SLOW)}, 60.0)
    balancer.replace({"demo": (FAST, SLOW)}, 70.0)
    assert balancer.seats("demo")[0].may_hold(70.0) == 4


def test_a_draining_worker_is_listed_and_gets_nothing():
    balancer = balancer_of(FAST)
    arrive(balancer, 1)
    [(_, seat)] = balancer.assign(0)
    balancer.replace({"demo": (Worker("fast", "http://f:1", 4, drain=True), SLOW)}, 0.0)
    arrive(balancer, 3)
    assert set(names(balancer.assign(RAMP_S))) == {"slow"} and seat.state == "draining"
    balancer.release(seat)
    assert seat in balancer.seats("demo")
    balancer.replace({"demo": (SLOW,)}, 0.0)
    assert seat not in balancer.seats("demo")


def test_what_cannot_be_answered_in_time_is_refused_with_how_late_it_would_be():
    balancer = measured(fast=2.0, slow=2.0)
    arrive(balancer, 8, now_s=10.0)
    balancer.assign(10.0)
    arrive(balancer, 4, now_s=10.0)
    # 8 slots of 2 s each: 4 a second; 4 wait before a fifth: 1.25 s, and 0.2 s to the first bytes
    with pytest.raises(TooLate) as caught:
        balancer.admit("demo", 10.0, deadline_s=11.0)
    assert caught.value.late_s == pytest.approx(0.45)
    assert balancer.admit("demo", 10.0, deadline_s=11.5)
    assert balancer.admit("demo", 10.0, tenant="another", deadline_s=11.0)  # fairness lets it go sooner


def test_nothing_is_refused_for_a_pace_that_nobody_knows():
    balancer = balancer_of(FAST)
    arrive(balancer, 9)
    balancer.assign(0)
    assert balancer.admit("demo", 0.0, deadline_s=0.001)


def test_a_full_queue_makes_room_for_a_tenant_that_has_less():
    balancer = Balancer(3, 1_000_000)
    balancer.replace({"demo": ()}, 0.0)
    for _ in range(3):
        balancer.wait(balancer.admit("demo", 0.0, tenant="greedy"))
    with pytest.raises(QueueFull):
        balancer.admit("demo", 0.0, tenant="greedy")
    balancer.wait(balancer.admit("demo", 0.0, tenant="modest"))
    assert [ticket.tenant for ticket in balancer.pushed_out] == ["greedy"] and balancer.queued("demo") == 3


def test_a_queue_is_bounded_in_tokens_too():
    balancer = Balancer(100, 50)
    balancer.replace({"demo": ()}, 0.0)
    balancer.wait(balancer.admit("demo", 0.0, tokens=80))
    with pytest.raises(QueueFull):
        balancer.admit("demo", 0.0, tokens=1)
    assert balancer.queued_tokens("demo") == 80


ASKED = [
    ({}, {}, ("", 10 + USUAL_ANSWER_TOKENS, float("inf"))),
    ({"X-Tenant": "acme"}, {"user": "joe", "max_tokens": 5}, ("acme", 15, float("inf"))),
    ({}, {"user": "joe", "max_completion_tokens": 7, "max_tokens": 5}, ("joe", 17, float("inf"))),
    ({"X-Deadline-Ms": "1500"}, {"user": 3, "max_tokens": True}, ("", 10 + USUAL_ANSWER_TOKENS, 1.5)),
    ({"X-Tenant": "x" * 500}, {"max_tokens": -1}, ("x" * 120, 10 + USUAL_ANSWER_TOKENS, float("inf"))),
]


@pytest.mark.parametrize(("headers", "fields", "asked"), ASKED)
def test_what_a_request_asks_of_the_queue(headers, fields, asked):
    assert read_asked(headers, b"x" * 40, {"model": "demo", **fields})[1:] == asked


@pytest.mark.parametrize("value", ["", "0", "-5", "1e3", "12.5", "soon", "9" * 30, "\N{SUPERSCRIPT TWO}"])
def test_a_deadline_that_is_none_is_refused(value):
    with pytest.raises(Refusal, match="X-Deadline-Ms"):
        read_asked({"X-Deadline-Ms": value}, b"", {"model": "demo"})
