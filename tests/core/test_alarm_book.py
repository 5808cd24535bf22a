"""What people say of alarms: checked, kept, and gone when it is over."""

import pytest

from opsconsole.core.alarm import Alarm, id_of
from opsconsole.core.alarm_book import NOTES_OF_ONE, Book, BookError, Said, aged, check, marked, written
from opsconsole.core.events import Booked, Remembered
from opsconsole.core.fleet import Model
from tests.core.alarm_world import World

NODES = {f"n{row}": {"rack": "r1", "site": "ams1"} for row in range(4)}


@pytest.fixture
def world():
    world = World(NODES, (Model("demo", min_ready=1),), said={"n0": {"workers": [{"name": "w1"}]}})
    world.seconds(2)
    world.said["n0"] = {"workers": [{"name": "w1"}], "gpu": {"1": {"ecc_uncorrected": 1}}}
    world.seconds(2)
    return world


def say(world, word, what, text="", until=None, actor="anna"):
    fleet = world.fleet
    said = check(Said(word, what, actor, world.wall, text, until), fleet.alarms, fleet.roster, fleet.alarm_book)
    return world.seconds(1, (Booked(said),))


def test_who_takes_an_alarm_is_seen_until_it_is_cleared(world):
    (alarm,) = say(world, "ack", world.fleet.alarms[0].id[:3], "looking").alarms
    assert (alarm.acked_by, alarm.is_open) == ("anna", False) and [note.text for note in alarm.notes] == ["looking"]
    world.said["n0"] = {"workers": [{"name": "w1"}]}
    assert world.seconds(2).alarms == () and world.fleet.alarm_book.acks == {}


@pytest.mark.parametrize("worse", [{str(gpu): {"ecc_uncorrected": 1} for gpu in range(2)}, None])
def test_what_was_taken_counts_again_once_it_is_worse(world, worse):
    say(world, "ack", "ecc:n0")
    if worse is None:
        world.fleet = world.seconds(1)
        alarm = Alarm(2, "ecc", "n0", "", id=id_of("ecc", "n0"))
        assert marked(alarm, world.fleet.alarm_book, world.fleet.roster).is_open
    else:
        world.said["n0"] = {"workers": [{"name": "w1"}], "gpu": worse}
        assert world.seconds(2).alarms[0].is_open


@pytest.mark.parametrize("what", ["ecc", "n0", "r1", "ams1", id_of("ecc", "n0")])
def test_a_silence_hides_by_rule_node_rack_site_or_id_and_ends_by_itself(world, what):
    (alarm,) = say(world, "silence", what, "known", world.wall + 10).alarms
    assert (alarm.silenced_by, alarm.silence_reason) == ("anna", "known")
    assert world.seconds(12).alarms[0].is_open and world.fleet.alarm_book.silences == ()


def test_a_silenced_node_does_not_silence_its_rack(world):
    say(world, "silence", "n1", "known", world.wall + 100)
    lost = tuple(world.lose(name) for name in NODES)
    (alarm,) = world.seconds(3, lost).alarms
    assert alarm.members and not alarm.silenced_by


def test_unsilence(world):
    say(world, "silence", "ecc", "known", world.wall + 100)
    assert say(world, "unsilence", "ecc").alarms[0].is_open


@pytest.mark.parametrize("word, what, text, ends_in_s, words", [
    ("ack", "zzzzz", "", None, "no alarm 'zzzzz' stands now"),
    ("unack", "ecc:n0", "", None, "nobody has taken"),
    ("silence", "ecc", "", 10, "needs a reason"),
    ("silence", "ecc", "x", None, "a silence ends"),
    ("silence", "ecc", "x", -1, "a silence ends"),
    ("silence", "ecc", "x", 40 * 86400, "up to 30 days"),
    ("silence", "mars", "x", 10, "is no rule, alarm, node"),
    ("unsilence", "ecc", "", None, "is not silenced; silenced is nothing"),
    ("note", "ecc:n0", " \x1b ", None, None),
    ("note", "ecc:n0", "  ", None, "a note needs words"),
    ("shout", "ecc:n0", "", None, "cannot be told 'shout'"),
])
def test_what_makes_no_sense_is_refused_in_a_sentence(world, word, what, text, ends_in_s, words):
    until = None if ends_in_s is None else world.wall + ends_in_s
    if words is None:
        assert say(world, word, what, text, until).alarms[0].notes[0].text.isprintable()
        return
    with pytest.raises(BookError, match=words):
        say(world, word, what, text, until)


def test_notes_are_bounded_and_old_ones_go():
    book = Book()
    for number in range(NOTES_OF_ONE + 5):
        book = written(book, Said("note", "shift", "anna", float(number), f"note {number}"))
    assert [note.text for note in book.notes_of("shift")][0] == "note 5" and len(book.notes) == NOTES_OF_ONE
    assert aged(book, (), 8 * 86400.0).notes == ()


def test_what_the_collector_before_knew_is_known_again(world):
    book = say(world, "ack", "ecc:n0").alarm_book
    later = World(NODES, (Model("demo", min_ready=1),), said=world.said)
    later.seconds(1, (Remembered(book, {id_of("ecc", "n0"): 5.0, "other": 4.0}),))
    later.tick_s = 4.0
    (alarm,) = later.seconds(60).alarms
    assert (alarm.acked_by, alarm.since) == ("anna", 5.0)
