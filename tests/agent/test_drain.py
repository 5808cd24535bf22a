"""How a drain waits: as long again while it helps, only for what is fresh, and with a receipt that adds up."""

import shutil
import subprocess

import pytest

from opsconsole.agent import drain as rooms
from opsconsole.agent.records import Record
from opsconsole.agent.scrape import NoAnswer
from tests.agent.ordering import drain, launch


@pytest.fixture
def agent(start, gpu_file):
    return start(f"sim:{gpu_file.path}")


def test_extend_goes_on_while_the_number_in_flight_falls(agent):
    launch(agent, checkpoint="waning:3:0.8")
    answer = drain(agent, deadline_s=1, on_deadline="extend")
    assert answer["ok"], answer
    receipt = answer["detail"]
    assert (receipt["in_flight_at_start"], receipt["finished"], receipt["moved"], receipt["aborted"]) == (3, 3, 0, 0)
    assert receipt["seconds"] > 2 and "GPU memory" in receipt["proof"] and "is closed" in receipt["proof"]


def test_extend_holds_when_it_does_not_fall(agent):
    launch(agent, checkpoint="stubborn:2")
    answer = drain(agent, deadline_s=0.6, on_deadline="extend")
    assert not answer["ok"] and answer["detail"]["held"] and answer["detail"]["in_flight"] == 2


def test_migrated_requests_are_no_finished_ones(agent):
    launch(agent, checkpoint="movable:2")
    receipt = drain(agent, deadline_s=0.5, on_deadline="migrate")["detail"]
    assert (receipt["in_flight_at_start"], receipt["finished"], receipt["moved"], receipt["aborted"]) == (2, 0, 2, 0)


class Seen:
    def __init__(self, in_flight, requests_total):
        self.in_flight, self.requests_total = in_flight, requests_total


@pytest.mark.parametrize(
    ("seen", "quiet"),
    [
        ([(0, 5), (0, 5)], 2), ([(0, 5), (0, 6)], 1), ([(0, 5), (0, 6), (0, 6)], 2), ([(0, 5), None, (0, 5)], 1), ([(0, 5), (1, 6)], 0),
        ([(0, None), (0, None)], 2), ([None, None], 0), ([(0, 5), (None, 5), (0, 5)], 1),
    ],
)
def test_quiet_is_nothing_in_flight_and_nothing_admitted_in_two_fresh_looks(monkeypatch, seen, quiet):
    """in_flight None: the worker did not say. None: it did not answer."""
    looks = iter(seen)

    def look(record):
        told = next(looks)
        if told is None:
            raise NoAnswer("timed out")
        return Seen(*told)

    monkeypatch.setattr(rooms, "look", look)
    tally = rooms.Tally(Record(host="127.0.0.1"))
    for _ in seen:
        tally.look()
    assert tally.quiet_looks == quiet


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own for the agent's files."""
    folder = tmp_path / "work"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user cannot mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount here")
def test_a_full_disk_keeps_no_worker_from_being_drained_and_no_late_order_from_being_refused(small_disk, agent):
    assert launch(agent)["ok"]
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    answer = drain(agent, generation=1, anchor={"audit": "a", "seq": 1, "hash": "ab" * 32})
    assert answer["ok"], answer
    assert drain(agent, generation=1)["detail"]["conflict"]
    refused = launch(agent, worker="w-2")
    assert not refused["ok"]
