"""The queue as plain values: fair between tenants in tokens, bounded, and forgetful of whoever left."""

import random

import pytest

from opsconsole.gateway.fairness import FairQueue, Ticket


class Line:
    """A queue and the tickets made for it."""

    def __init__(self, limit=100, token_limit=10_000):
        self.queue, self.count = FairQueue(limit, token_limit), 0

    def put(self, tenant="", tokens=1, times=1):
        tickets = []
        for _ in range(times):
            self.count += 1
            tickets.append(Ticket("m", self.count, 0.0, tenant, tokens))
            self.queue.put(tickets[-1])
        return tickets

    def served(self, count=None):
        return [self.queue.pop() for _ in range(len(self.queue) if count is None else count)]


def tenants(tickets):
    return "".join(ticket.tenant for ticket in tickets)


def test_one_tenant_is_served_in_its_order():
    line = Line()
    tickets = line.put("a", 5) + line.put("a", 1) + line.put("a", 9)
    assert line.served() == tickets


def test_a_newcomer_does_not_wait_for_a_crowd_of_another_tenant():
    line = Line()
    line.put("a", 10, times=50)
    line.served(3)
    line.put("b", 10)
    assert tenants(line.served(3)).index("b") <= 1


def test_busy_tenants_get_the_same_number_of_tokens():
    line = Line()
    line.put("a", 30, times=40)
    line.put("b", 10, times=120)
    tokens = {"a": 0, "b": 0}
    for ticket in line.served(80):
        tokens[ticket.tenant] += ticket.tokens
    assert abs(tokens["a"] - tokens["b"]) <= 30


def test_an_idle_time_earns_no_credit():
    line = Line()
    line.put("a", 10, times=20)
    line.served(20)
    line.put("b", 10, times=6), line.put("a", 10, times=6)
    assert tenants(line.served(6)).count("a") == 3


def test_who_comes_back_stands_where_it_stood():
    line = Line()
    line.put("a", 10, times=3), line.put("b", 10, times=3)
    first, second = line.served(2)
    line.queue.put(first)
    assert line.queue.pop() is first
    line.queue.put(second), line.queue.put(first)
    assert line.served(2) == [first, second]


def test_who_leaves_is_passed_over_and_its_tokens_with_it():
    line = Line()
    first, second = line.put("a", 10), line.put("a", 20)
    assert line.queue.remove(first[0]) and not line.queue.remove(first[0])
    assert (len(line.queue), line.queue.tokens) == (1, 20) and line.served() == second
    assert line.queue.tokens == 0 and line.queue._lines == {} and line.queue._order == []


def test_bounds_in_requests_and_tokens():
    line = Line(limit=2, token_limit=50)
    assert line.queue.has_room(1000)  # an empty queue takes any one request
    line.put("a", 40)
    assert line.queue.has_room(10) and not line.queue.has_room(11)
    line.put("a", 1)
    assert not line.queue.has_room(1)


def test_the_greediest_makes_room_but_not_for_its_like():
    line = Line()
    crowd = line.put("a", times=3)
    line.put("b")
    assert line.queue.greediest_but("c") is crowd[-1] and line.queue.greediest_but("b") is crowd[-1]
    assert line.queue.greediest_but("a") is None
    line.put("b")
    assert line.queue.greediest_but("b") is None


def test_who_has_been_with_a_worker_is_never_pushed_out():
    line = Line()
    tickets = line.put("a", times=4)
    line.served(4)
    for ticket in tickets:
        line.queue.put(ticket)
    assert line.queue.greediest_but("b") is None


def test_how_many_go_before_a_newcomer():
    line = Line()
    line.put("a", times=50), line.put("b", times=2)
    assert [line.queue.ahead_of(tenant) for tenant in "abc"] == [52, 5, 2]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_or_served_twice_whatever_happens(seed):
    chance, line = random.Random(seed), Line()
    waiting, out = set(), []
    for _ in range(400):
        act = chance.random()
        if act < 0.5:
            waiting.update(line.put(chance.choice("abcdef"), chance.randint(1, 50)))
        elif waiting and act < 0.75:
            ticket = line.queue.pop()
            waiting.remove(ticket)
            out.append(ticket)
        elif waiting and act < 0.85:
            ticket = chance.choice(sorted(waiting, key=lambda ticket: ticket.number))
            assert line.queue.remove(ticket)
            waiting.remove(ticket)
        elif out:
            ticket = out.pop(chance.randrange(len(out)))
            line.queue.put(ticket)
            waiting.add(ticket)
        assert len(line.queue) == len(waiting) and line.queue.tokens == sum(ticket.tokens for ticket in waiting)
    assert set(line.served()) == waiting
