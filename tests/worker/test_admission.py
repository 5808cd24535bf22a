"""Who is next, and who may not even wait."""

import random
from collections import Counter

import pytest

from opsconsole.worker.admission import Admission, QueueFull, tokens_of
from opsconsole.worker.request import Request

UNBOUNDED = 10**9


def request(client="", prompt=10, answer=10):
    return Request([1] * prompt, answer, client=client)


def queue_of(*requests, limit=UNBOUNDED, token_limit=UNBOUNDED):
    queue = Admission(limit, token_limit)
    for each in requests:
        queue.put(each)
    return queue


def drained(queue):
    popped = []
    while (next_one := queue.peek()) is not None:
        assert queue.pop() is next_one
        popped.append(next_one)
    assert (len(queue), queue.tokens) == (0, 0)
    return popped


def test_one_client_is_served_in_order():
    requests = [request(prompt=length) for length in (30, 1, 20, 7)]
    assert drained(queue_of(*requests)) == requests


def test_a_short_request_does_not_wait_for_fifty_long_ones_of_another():
    long = [request("greedy", 400, 100) for _ in range(50)]
    short = request("modest", 5, 5)
    queue = queue_of(*long)
    assert queue.pop() is long[0]
    queue.put(short)
    assert queue.pop() is short
    assert drained(queue) == long[1:]


def test_long_requests_are_not_starved_by_short_ones_that_keep_coming():
    queue, long = queue_of(request("steady")), request("patient", 400, 100)
    queue.put(long)
    served = 0
    while queue.pop() is not long:
        queue.put(request("steady"))
        served += 1
    assert served <= tokens_of(long) / tokens_of(request())


def test_busy_clients_get_the_same_number_of_tokens():
    dice = random.Random(1)
    sizes = {"short": (1, 20), "middling": (50, 100), "long": (300, 500)}
    queue, served = Admission(UNBOUNDED, UNBOUNDED), Counter()
    for client, (low, high) in sizes.items():
        for _ in range(3000):
            queue.put(request(client, dice.randint(low, high), dice.randint(1, 10)))
    for _ in range(1000):
        popped = queue.pop()
        served[popped.client] += tokens_of(popped)
        assert max(served.values()) - min(served[client] for client in sizes) <= 2 * 510


def test_a_client_gains_nothing_by_leaving_and_coming_back():
    queue, served = queue_of(*[request("backlog") for _ in range(200)], request("visitor", 90, 10)), Counter()
    for _ in range(100):
        popped = queue.pop()
        served[popped.client] += tokens_of(popped)
        if popped.client == "visitor":
            queue.put(request("visitor", 90, 10))
    assert served["visitor"] <= served["backlog"] + 100


def test_clients_that_are_gone_are_forgotten():
    queue = Admission(UNBOUNDED, UNBOUNDED)
    for number in range(1000):
        queue.put(passing := request(f"client {number}"))
        assert queue.remove(passing) if number % 2 else queue.pop() is passing
    assert not queue._lines and not queue._order


def test_who_leaves_is_taken_out_wherever_it_stands():
    first, second, third, other = request("a", 50), request("a", 10), request("a"), request("b", 30)
    queue = queue_of(first, second, third, other)
    assert queue.peek() is other
    assert queue.remove(first) and not queue.remove(first) and not queue.remove(request("nobody"))
    assert queue.peek() is second
    assert queue.remove(third)
    assert (len(queue), queue.tokens) == (2, tokens_of(second) + tokens_of(other))
    assert drained(queue) == [second, other]


def test_requests_are_bounded_but_for_those_a_free_slot_takes():
    queue = Admission(1, UNBOUNDED)
    for _ in range(3):
        queue.put(request(), free_slots=2)
    with pytest.raises(QueueFull, match="1 requests wait and 1 may"):
        queue.put(request(), free_slots=2)
    with pytest.raises(QueueFull):
        Admission(0, UNBOUNDED).put(request())


def test_tokens_are_bounded_but_for_the_first():
    queue = queue_of(request(prompt=90), token_limit=50)
    with pytest.raises(QueueFull, match="100 tokens wait and 50 may; this request has 20"):
        queue.put(request())
    queue.put(request(), free_slots=2)
    assert len(queue) == 2


def test_whether_the_free_slots_have_been_taken_yet_changes_no_bound():
    for taken in range(3):
        queue = Admission(UNBOUNDED, 100)
        for number in range(7):
            if number == taken:
                for _ in range(taken):
                    queue.pop()
            queue.put(request(), free_slots=2 if number < taken else 2 - taken)
        with pytest.raises(QueueFull, match="100 tokens wait"):
            queue.put(request(), free_slots=2 - taken)


def test_any_order_of_calls_keeps_the_counts_and_is_the_same_again():
    def played(seed):
        dice, queue, waiting, popped = random.Random(seed), Admission(20, 900), {}, []
        for number in range(2000):
            act = dice.random()
            if act < 0.5:
                new = request(dice.choice("abcde"), dice.randint(1, 60), dice.randint(1, 60))
                try:
                    queue.put(new)
                    waiting[new] = number
                except QueueFull:
                    assert len(queue) == 20 or queue.tokens + tokens_of(new) > 900
            elif act < 0.8 and waiting:
                popped.append(waiting.pop(queue.pop()))
            elif waiting:
                gone = dice.choice(list(waiting))
                assert queue.remove(gone)
                del waiting[gone]
            assert len(queue) == len(waiting) and queue.tokens == sum(map(tokens_of, waiting))
        return popped

    for seed in range(10):
        assert played(seed) == played(seed)
