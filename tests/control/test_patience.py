"""The patient loop does all that a loop does, in fewer polls."""

import asyncio
import socket

from opsconsole.control.patience import PATIENT_FROM_LINKS, PatientSelector, loop_for


class Counting(PatientSelector):
    polls = 0

    def select(self, timeout=None):
        self.polls += 1
        return super().select(timeout)


async def hear(pairs, words):
    loop = asyncio.get_running_loop()
    heard = []
    for ours, theirs in pairs:
        ours.setblocking(False)
        theirs.setblocking(False)
        loop.add_reader(ours, lambda ours=ours: heard.append(ours.recv(1)))
    for word in range(words):
        for delay, (_, theirs) in enumerate(pairs):
            loop.call_later(0.0005 * delay + 0.05 * word, theirs.send, b"x")
    while len(heard) < words * len(pairs):
        await asyncio.sleep(0.01)
    return len(heard)


def polls_for(selector):
    pairs = [socket.socketpair() for _ in range(30)]
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        assert runner.run(hear(pairs, 4)) == 120
    for pair in pairs:
        for end in pair:
            end.close()
    return selector.polls


def test_nothing_is_missed():
    assert polls_for(Counting()) > 0


def test_only_large_fleets_wait():
    for links, patient in ((1, False), (PATIENT_FROM_LINKS, True)):
        loop = loop_for(links)
        assert isinstance(loop._selector, PatientSelector) == patient
        loop.close()
