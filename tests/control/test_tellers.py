"""News leave the house in threads of their own: what hangs, breaks or raises there delays nobody and is told."""

import threading
import time

from opsconsole.control.tellers import MESSAGES_WAITING, STUCK_AFTER_S, Tellers, Told
from opsconsole.core.alarm import Alarm, id_of
from opsconsole.core.fleet import Fleet
from opsconsole.core.telling import Outbox, news
from opsconsole.hooks import NotifyError


def alarm(number):
    return news(Fleet(), Fleet(alarms=(Alarm(2, "reach", f"n{number}", f"n{number}  UNREACHABLE", id=id_of("reach", f"n{number}")),)))


class Pager:
    def __init__(self, *answers):
        self.answers, self.got, self.free, self.begun = list(answers), [], threading.Event(), threading.Event()

    def send(self, message):
        self.begun.set()
        answer = self.answers.pop(0) if self.answers else None
        if answer == "hang":
            self.free.wait(20)
        elif answer is not None:
            raise answer
        self.got.append(message)


def tellers_of(*told):
    causes = []
    lines = [Told(name, pager, Outbox(wait_s=0.0, per_hour=1000), cause) for name, pager, cause in told]
    return Tellers("prod", lines, causes.append), causes


def until(true, tellers, at=1.0):
    for _ in range(1000):
        tellers.saw([], at)
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("did not come true")


def test_a_hanging_one_delays_neither_the_others_nor_the_collector_and_is_told():
    hung, well = Pager("hang"), Pager()
    tellers, causes = tellers_of(("hung", hung, ""), ("well", well, ""))
    begun = time.monotonic()
    for number in range(MESSAGES_WAITING + 5):
        tellers.saw(alarm(number), 1.0)
        until(lambda count=number + 1: len(well.got) >= count, tellers)
    assert time.monotonic() - begun < 10 and "messages wait already" in causes[-1]
    hung.free.set()
    tellers.close()


def test_one_that_does_not_answer_for_long_is_told():
    hung = Pager("hang")
    tellers, causes = tellers_of(("hung", hung, ""))
    tellers.saw(alarm(1), 1.0)
    assert hung.begun.wait(20)
    until(lambda: causes, tellers, at=2.0 + STUCK_AFTER_S)
    assert causes == ["hung: has not answered for more than 60 s"]
    hung.free.set()
    tellers.close()


def test_a_broken_plugin_survives_as_a_trouble_without_its_words():
    broken = Pager(KeyError("token s3cr3t"), SystemExit("s3cr3t"))
    tellers, causes = tellers_of(("pager", broken, ""))
    tellers.saw(alarm(1), 1.0)
    until(lambda: causes, tellers)
    assert causes[0] == "pager: its plugin is broken: KeyError"
    tellers.close()


def test_what_comes_through_at_last_ends_the_trouble(monkeypatch):
    monkeypatch.setattr("opsconsole.control.tellers.TRIES_AFTER_S", (0.0, 0.0, 0.0))
    late = Pager(NotifyError("no route"), NotifyError("no route"))
    tellers, causes = tellers_of(("pager", late, ""))
    tellers.saw(alarm(1), 1.0)
    until(lambda: late.got, tellers)
    until(lambda: not causes or causes[-1] == "", tellers)
    tellers.close()
    assert len(late.got) == 1


def test_one_that_cannot_be_used_at_all_is_told_at_once():
    tellers, causes = tellers_of(("pager", None, "pager: options.urls_file: is missing"))
    tellers.saw(alarm(1), 1.0)
    assert causes == ["pager: options.urls_file: is missing"]
    tellers.close()
