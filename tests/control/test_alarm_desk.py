"""The collector's desk for alarms: no audit, no action; what is said outlives the collector; a file that is damaged stops nobody."""

import asyncio
import json
import stat

import pytest

from opsconsole.control.alarm_desk import AlarmDesk, said_now
from opsconsole.control.ledger import Ledger
from opsconsole.core.events import Booked, Remembered
from opsconsole.core.fold import fold
from opsconsole.history.audit import Audit, AuditError, read_rows
from tests.telemetry import fleet_of, sampled, tick, worker_fields

ILL = fold(fleet_of({"n1": [worker_fields("w1")]}), [sampled("n2", gpu={1: {"xid": 79}}), tick(101.0)])


class Receiver:
    def __init__(self):
        self.heard = []

    def saw(self, fresh, at):
        self.heard += fresh


class House:
    """A desk whose events are folded as the watch does it."""

    def __init__(self, home, audit=None):
        self.fleet, self.events, self.notes, self.receiver = ILL, [], [], Receiver()
        self.audit = audit or Audit(home / "audit.db")
        self.ledger = Ledger(self.audit, None)
        self.desk = AlarmDesk(self.ledger, home / "alarms.json", self.emit, lambda *note: self.notes.append(note), self.receiver)

    def emit(self, event):
        self.events.append(event)
        if isinstance(event, (Booked, Remembered)):
            asyncio.get_running_loop().call_soon(self.step)

    async def settled(self, true):
        for _ in range(500):
            self.step()
            if true():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("did not come true")

    def step(self):
        events, self.events = self.events, []
        self.fleet = fold(self.fleet, events)
        self.desk.saw(self.fleet)


class FullDisk:
    id = ""

    def append(self, *_):
        raise AuditError("the audit cannot be written: database or disk is full")


async def opened(home, **given):
    house = House(home, **given)
    house.desk.recover()
    house.step()
    await asyncio.sleep(0.05)
    return house


async def test_what_is_said_is_in_the_audit_the_fleet_and_the_file_when_it_returns(tmp_path):
    house = await opened(tmp_path)
    done = await house.desk.say(said_now("ack", "xid:n2", "anna", "on it"))
    assert done.startswith("takes alarm ") and "on it" in done
    assert house.fleet.alarms[0].acked_by == "anna"
    (row,) = read_rows(tmp_path / "audit.db")
    assert (row.kind, row.actor, row.content()["word"]) == ("alarm", "anna", "ack")
    kept = json.loads((tmp_path / "alarms.json").read_text())
    assert house.fleet.alarms[0].id in kept["book"]["acks"] and kept["since"]
    assert stat.S_IMODE((tmp_path / "alarms.json").stat().st_mode) == 0o600
    assert house.notes[-1][0] == "action" and house.notes[-1][3] == "anna"
    await house.desk.close()


async def test_without_an_audit_nothing_is_done(tmp_path):
    house = await opened(tmp_path, audit=FullDisk())
    with pytest.raises(ValueError, match="nothing was done: the audit cannot be written"):
        await house.desk.say(said_now("silence", "xid", "anna", "known", 60.0))
    assert house.fleet.alarm_book.silences == () and not house.notes
    house.step()
    await house.settled(lambda: "disk is full" in house.fleet.own_causes.get("audit", ""))
    await house.desk.close()


async def test_a_refusal_leaves_no_trace(tmp_path):
    house = await opened(tmp_path)
    with pytest.raises(ValueError, match="no alarm 'nope'"):
        await house.desk.say(said_now("ack", "nope", "anna"))
    assert list(read_rows(tmp_path / "audit.db")) == []
    await house.desk.close()


async def test_the_next_collector_knows_it_and_tells_nobody_anew(tmp_path):
    first = await opened(tmp_path)
    await first.desk.say(said_now("silence", "xid", "anna", "known", 3600.0))
    assert len(first.receiver.heard) == 1
    await first.desk.close()
    second = House(tmp_path, audit=first.audit)
    second.desk.recover()
    second.step()
    assert second.fleet.alarm_book.silences[0].reason == "known" and second.receiver.heard == []
    await second.desk.close()


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b'{"book": {"acks": 5}, "since": {}}', b"\xff\xfe", b'{"book": {}, "since": {"x": "y"}}',
])
async def test_a_damaged_file_is_set_aside_and_said(tmp_path, content):
    (tmp_path / "alarms.json").write_bytes(content)
    house = await opened(tmp_path)
    assert "set aside" in house.notes[0][2] and (tmp_path / "alarms.damaged").exists()
    assert await house.desk.say(said_now("note", "shift", "anna", "all quiet"))
    await house.desk.close()


async def test_a_disk_that_is_nearly_full_is_told_before_the_audit_fails(tmp_path, monkeypatch):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50 * 1024**2))
    house = await opened(tmp_path)
    await house.settled(lambda: "50 MiB are left" in house.fleet.own_causes.get("audit", ""))
    await house.desk.close()
