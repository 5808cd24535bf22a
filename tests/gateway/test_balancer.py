"""The rules of the queue, as plain values."""

import pytest

from opsconsole.gateway.balancer import REST_S, Balancer, QueueFull, UnknownModel, Worker

W1 = Worker("w-1", "http://a:1", 2)
W2 = Worker("w-2", "http://b:1", 2)


def balancer_of(*workers: Worker, queue_limit: int = 10) -> Balancer:
    balancer = Balancer(queue_limit, 1_000_000)
    balancer.replace({"demo": workers}, 0.0)
    return balancer


def arrive(balancer: Balancer, count: int = 1, now_s: float = 0.0, model: str = "demo"):
    tickets = [balancer.admit(model, now_s) for _ in range(count)]
    for ticket in tickets:
        balancer.wait(ticket)
    return tickets


def names(assignments) -> list[str]:
    return [seat.worker.name for _, seat in assignments]


def test_tickets_go_in_the_order_they_came():
    balancer = balancer_of(W1)
    tickets = arrive(balancer, 5)
    first = balancer.assign(0)
    assert [ticket for ticket, _ in first] == tickets[:2]
    balancer.release(first[0][1])
    assert [ticket for ticket, _ in balancer.assign(0)] == tickets[2:3]
    assert balancer.queued("demo") == 2


def test_a_worker_never_has_more_than_its_slots():
    balancer = balancer_of(W1, W2)
    arrive(balancer, 9)
    balancer.assign(0)
    assert [seat.in_flight for seat in balancer.seats("demo")] == [2, 2]


def test_the_least_loaded_share_goes_first():
    balancer = balancer_of(Worker("small", "http://s:1", 2), Worker("large", "http://l:1", 4))
    arrive(balancer, 6)
    assert names(balancer.assign(0)) == ["small", "large", "large", "small", "large", "large"]


def test_equally_loaded_workers_take_turns():
    balancer = balancer_of(W1, W2)
    order = []
    for _ in range(4):
        arrive(balancer)
        [(_, seat)] = balancer.assign(0)
        order.append(seat.worker.name)
        balancer.release(seat)
    assert order == ["w-1", "w-2", "w-1", "w-2"]


def test_a_worker_that_refused_rests_and_its_request_keeps_its_place():
    balancer = balancer_of(Worker("w-1", "http://a:1", 1))
    first, second = arrive(balancer, 2)
    [(ticket, seat)] = balancer.assign(0)
    balancer.rest(seat, 0)
    balancer.release(seat)
    balancer.wait(ticket)
    assert balancer.assign(REST_S / 2) == []
    assert balancer.next_wake_s(REST_S / 2) == REST_S
    assert balancer.assign(REST_S) == [(first, seat)]


def test_a_worker_replaced_under_its_name_does_not_rest():
    balancer = balancer_of(W1)
    arrive(balancer)
    [(ticket, seat)] = balancer.assign(0)
    balancer.rest(seat, 0)
    balancer.release(seat)
    balancer.wait(ticket)
    fresh = Worker("w-1", "http://a:2", 2)
    balancer.replace({"demo": (fresh,)}, 0.0)
    assert [seat.worker for _, seat in balancer.assign(0)] == [fresh]


def test_a_resting_worker_still_rests_after_the_routes_are_written_again():
    balancer = balancer_of(W1)
    arrive(balancer)
    [(_, seat)] = balancer.assign(0)
    balancer.rest(seat, 0)
    balancer.replace({"demo": (W1, )}, 0.0)
    arrive(balancer)
    assert balancer.assign(0) == []


def test_nothing_wakes_for_a_rest_that_nobody_waits_for():
    balancer = balancer_of(W1)
    arrive(balancer)
    [(_, seat)] = balancer.assign(0)
    balancer.rest(seat, 0)
    balancer.release(seat)
    assert balancer.next_wake_s(0) is None


def test_a_removed_worker_keeps_what_it_has_and_gets_no_more():
    balancer = balancer_of(W1, W2)
    arrive(balancer, 2)
    (_, seat), _ = balancer.assign(0)
    balancer.replace({"demo": (W2,)}, 0.0)
    arrive(balancer, 3)
    assert set(names(balancer.assign(0))) == {"w-2"}
    assert seat in balancer.seats("demo") and not seat.routed
    balancer.release(seat)
    assert seat not in balancer.seats("demo")


def test_a_worker_that_comes_back_still_counts_what_it_holds():
    balancer = balancer_of(W1)
    arrive(balancer, 2)
    balancer.assign(0)
    balancer.replace({"demo": ()}, 0.0)
    balancer.replace({"demo": (W1,)}, 0.0)
    arrive(balancer)
    assert balancer.assign(0) == []


def test_fewer_slots_hold_for_new_requests():
    balancer = balancer_of(W1)
    arrive(balancer, 3)
    balancer.assign(0)
    balancer.replace({"demo": (Worker("w-1", "http://a:1", 1),)}, 0.0)
    [seat] = balancer.seats("demo")
    balancer.release(seat)
    assert balancer.assign(0) == []
    balancer.release(seat)
    assert names(balancer.assign(0)) == ["w-1"]


def test_unknown_model():
    with pytest.raises(UnknownModel):
        arrive(balancer_of(W1), model="other")


def test_a_model_without_workers_is_known_and_queues():
    balancer = balancer_of()
    arrive(balancer)
    assert balancer.assign(0) == [] and balancer.queued("demo") == 1
    balancer.replace({"demo": (W1,)}, 0.0)
    assert names(balancer.assign(0)) == ["w-1"]


def test_those_who_wait_for_a_model_that_is_gone_go_on_waiting():
    balancer = balancer_of()
    arrive(balancer)
    balancer.replace({}, 0.0)
    assert balancer.queued("demo") == 1 and balancer.routed_models() == []
    balancer.replace({"demo": (W1,)}, 0.0)
    assert names(balancer.assign(0)) == ["w-1"]


def test_a_model_that_is_gone_is_forgotten_once_nothing_is_left_of_it():
    balancer = balancer_of(W1)
    balancer.replace({}, 0.0)
    balancer.replace({}, 0.0)
    assert balancer.models() == []


@pytest.mark.parametrize("queue_limit", [0, 1, 3])
def test_the_queue_holds_as_many_as_it_may(queue_limit):
    balancer = balancer_of(W1, queue_limit=queue_limit)
    for _ in range(W1.slots + queue_limit):
        arrive(balancer)
        balancer.assign(0)
    with pytest.raises(QueueFull):
        arrive(balancer)


def test_one_models_queue_does_not_hold_up_another():
    balancer = Balancer(10, 1_000_000)
    balancer.replace({"a": (), "b": (W1,)}, 0.0)
    arrive(balancer, 3, model="a")
    arrive(balancer, 1, model="b")
    assert names(balancer.assign(0)) == ["w-1"]


def test_who_leaves_is_passed_over():
    balancer = balancer_of(W1)
    first, second = arrive(balancer, 2)
    balancer.leave(first)
    balancer.leave(first)
    assert [ticket for ticket, _ in balancer.assign(0)] == [second]
