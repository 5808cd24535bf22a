"""Which news reach people, in how many messages: one for what belongs together, none for what came and went, never too many."""

from dataclasses import replace

from opsconsole.core.alarm import Alarm, id_of
from opsconsole.core.events import Remembered
from opsconsole.core.fleet import Fleet
from opsconsole.core.telling import CLEARED, RAISED, Outbox, first_news, news
from tests.core.alarm_world import World

HOT = Alarm(1, "throttle", "n1", "n1  hot", id=id_of("throttle", "n1"))
LOST = Alarm(2, "reach", "n2", "n2  UNREACHABLE", id=id_of("reach", "n2"))


def fresh(before, after):
    return news(Fleet(alarms=before), Fleet(alarms=after))


def sent(outbox, at):
    return outbox.due("prod", at)


def test_raised_graver_and_heard_again_is_news_and_silenced_is_none():
    assert [one.word for one in fresh((), (HOT, LOST))] == [RAISED, RAISED]
    assert fresh((HOT,), (replace(HOT, detail="hotter", acked_by="anna"),)) == []
    assert [one.word for one in fresh((HOT,), (replace(HOT, severity=2),))] == [RAISED]
    silenced = replace(HOT, silenced_by="anna", silenced_until=9.0)
    assert fresh((), (silenced,)) == [] and [one.word for one in fresh((silenced,), (HOT,))] == [RAISED]
    assert [one.word for one in fresh((HOT,), ())] == [CLEARED]


def test_what_a_rack_takes_in_is_neither_cleared_nor_raised_again():
    rack = Alarm(2, "reach", "rack r1", "rack r1  3 of 3 nodes", id="rrrrr", members=("n1", "n2", "n3"))
    assert [(one.word, one.alarm.id) for one in fresh((LOST,), (rack,))] == [(RAISED, "rrrrr")]
    assert [(one.word, one.alarm.id) for one in fresh((rack,), (LOST,))] == [(CLEARED, "rrrrr")]


def test_news_of_some_seconds_are_one_message_and_a_blip_is_none():
    outbox = Outbox(wait_s=10.0).taken(fresh((), (HOT,)), 100.0).taken(fresh((HOT,), (HOT, LOST)), 105.0)
    outbox = outbox.taken(fresh((HOT, LOST), (LOST,)), 107.0)
    outbox, message = sent(outbox, 109.0)
    assert message is None
    outbox, message = sent(outbox, 110.0)
    assert message.title == "prod: 1 CRITICAL" and message.severity == 2 and "n1" not in message.body
    outbox, message = sent(outbox.taken(fresh((LOST,), ()), 200.0), 210.0)
    assert message.title == "prod: 1 cleared" and message.severity == 0


def test_the_end_of_what_was_never_told_is_not_told():
    outbox = Outbox(severity=2, wait_s=0.0).taken(fresh((), (HOT,)), 1.0).taken(fresh((HOT,), ()), 2.0)
    assert sent(outbox, 3.0)[1] is None


def test_no_more_than_so_many_an_hour_and_nothing_is_lost():
    outbox, messages = Outbox(wait_s=0.0, per_hour=2), []
    for number in range(10):
        alarm = Alarm(1, "disk", f"n{number}", f"n{number}  full", id=f"id{number}")
        outbox, message = sent(outbox.taken(fresh((), (alarm,)), number * 60.0), number * 60.0)
        messages += [message] if message else []
    assert len(messages) == 2 and "message 2 of 2 this hour" in messages[1].body
    outbox, message = sent(outbox, 3700.0)
    assert message.title == "prod: 8 WARNING"


def test_a_storm_is_one_message_that_says_how_many_more():
    alarms = tuple(Alarm(1, "disk", f"n{number}", f"n{number}  full", id=f"id{number}") for number in range(5000))
    message = sent(Outbox(wait_s=0.0).taken(fresh((), alarms), 1.0), 1.0)[1]
    assert len(message.body) < 2000 and "and 4988 more: opsconsole alarms" in message.body


def test_a_restart_pages_nobody_again():
    world = World({"n1": {}, "n2": {}}, said={"n1": {"gpu": {"0": {"xid": 79}}}})
    before = world.fleet
    known = {alarm.id: 5.0 for alarm in before.alarms}
    assert known and [one.word for one in first_news(Fleet(), before)] == [RAISED]
    again = World({"n1": {}, "n2": {}}, said=world.said)
    fleet = again.seconds(1, (Remembered(before.alarm_book, known),))
    assert first_news(Fleet(), fleet) == []


def test_what_a_lost_node_had_is_not_news_when_it_is_found_again():
    world = World({"n1": {}, "n2": {}}, said={"n1": {"gpu": {"0": {"xid": 79}}}})
    words, before = [], world.fleet
    for more in ((world.lose("n1"),), (), ()):
        words += [(one.word, one.alarm.kind) for one in news(before, world.seconds(1, more))]
        before = world.fleet
    world.find("n1")
    words += [(one.word, one.alarm.kind) for one in news(before, world.seconds(1))]
    assert words == [(RAISED, "reach"), (CLEARED, "reach")]
