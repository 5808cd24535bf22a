"""What a worker tells the service manager: that it serves, that its engine lives, what it is at, and that it ends."""

import asyncio
import os
import socket
import threading
import time

import pytest

from opsconsole.worker.lifecycle import Lifecycle
from opsconsole.worker.notify import Supervisor, supervisor_of


@pytest.fixture(params=("path", "abstract"))
def manager(request, tmp_path):
    """A service manager's ear, and its address."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@opsconsole-test-{os.getpid()}"
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        ear.bind(address.replace("@", "\0", 1))
    except OSError:
        pytest.skip("no abstract sockets here")
    ear.settimeout(120)
    yield ear, address
    ear.close()


def heard(ear):
    """All words that are there now."""
    words = []
    ear.setblocking(False)
    try:
        while True:
            words += ear.recv(4096).decode().split("\n")
    except BlockingIOError:
        return words


def test_the_variables_are_taken_so_that_no_child_speaks_in_our_name(manager):
    ear, address = manager
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    supervisor = supervisor_of(environ)
    assert environ == {"HOME": "/"} and supervisor.beat_s == 0.5
    supervisor.ready()
    assert heard(ear) == ["READY=1", "STATUS=serving", "WATCHDOG=1"]


@pytest.mark.parametrize("environ", [
    {}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "/" + "x" * 200}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": ""},
    {"WATCHDOG_USEC": "2000000"},
])
def test_where_nobody_listens_nothing_is_said_and_nothing_fails(environ):
    supervisor = supervisor_of(environ)
    supervisor.ready(), supervisor.beat(), supervisor.leaving(3, 5.0)
    assert supervisor.beat_s is None


@pytest.mark.parametrize("variables", [
    {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"},
])
def test_a_watchdog_that_is_another_s_or_none_is_not_fed(manager, variables):
    ear, address = manager
    supervisor = supervisor_of({"NOTIFY_SOCKET": address, **variables})
    assert supervisor.beat_s is None
    supervisor.beat()
    assert heard(ear) == []


def test_beats_are_as_often_as_needed_and_end_with_the_event_loop(manager):
    ear, address = manager
    supervisor = Supervisor(address, watchdog_s=0.4)
    for _ in range(1000):
        supervisor.beat()
    assert heard(ear) == ["WATCHDOG=1"]
    time.sleep(0.5)
    supervisor.beat()
    assert heard(ear) == []  # nobody has gone round with the loop since

    async def listened():
        listening = asyncio.create_task(supervisor.listen())
        await asyncio.sleep(0.01)
        listening.cancel()

    asyncio.run(listened())
    supervisor.beat()
    assert heard(ear) == ["WATCHDOG=1"]


def test_a_start_has_time_and_says_what_it_is_at(manager):
    ear, address = manager
    lifecycle = Lifecycle(supervisor=Supervisor(address))
    lifecycle.enter("load\nREADY=1")
    lifecycle.ready()
    lifecycle.drain()
    lifecycle.undrain()
    lifecycle.fail("no\tmemory")
    told = heard(ear)
    assert told[:2] == ["STATUS=load READY=1", "EXTEND_TIMEOUT_USEC=1800000000"]
    assert told[2:] == ["READY=1", "STATUS=serving", "WATCHDOG=1", "STATUS=draining", "STATUS=serving", "STATUS=failed: no memory"]


def test_an_end_has_time_for_what_is_in_flight_unless_the_engine_hangs(manager):
    ear, address = manager
    supervisor = Supervisor(address, watchdog_s=0.2)
    supervisor.leaving(2, 30.0)
    assert heard(ear) == ["STOPPING=1", "STATUS=ending, 2 in flight", "EXTEND_TIMEOUT_USEC=30000000"]
    time.sleep(0.3)
    supervisor.leaving(2, 30.0)
    assert heard(ear) == ["STOPPING=1", "STATUS=ending, 2 in flight"]
    supervisor.leaving(0, 30.0)
    assert heard(ear) == ["STOPPING=1", "STATUS=ending, 0 in flight"]


def test_an_engine_beats_at_work_and_idle_and_not_while_its_device_hangs():
    pytest.importorskip("jax")
    from opsconsole.worker.admission import Admission
    from opsconsole.worker.engine import Engine
    from opsconsole.worker.request import Request, Sampling
    from tests.worker.test_engine import NotingRunner

    beats, device = threading.Semaphore(0), threading.Event()

    class Hanging(NotingRunner):
        def decode(self, width, reach):
            device.wait(20)
            return super().decode(width, reach)

    engine = Engine(Hanging(), (), Admission(2, 1000), lambda deliveries: None, beats.release, 0.01)
    thread = threading.Thread(target=engine.run)
    thread.start()
    assert all(beats.acquire(timeout=20) for _ in range(3))
    engine.submit(Request([1] * 4, 3, Sampling()))
    while beats.acquire(timeout=0.3):
        pass
    device.set()
    assert all(beats.acquire(timeout=20) for _ in range(3))
    engine.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_real_worker_says_all_of_it(manager, start_worker, monkeypatch):
    pytest.importorskip("jax")
    ear, address = manager
    if address.startswith("@"):
        pytest.skip("once is enough")
    for name, value in (("NOTIFY_SOCKET", address), ("WATCHDOG_USEC", "400000")):
        monkeypatch.setenv(name, value)
    worker = start_worker("--queue-limit", 1)
    words = []
    while "READY=1" not in words:
        words += ear.recv(4096).decode().split("\n")
    assert [word for word in words if word in ("STATUS=import", "STATUS=load", "STATUS=compile", "STATUS=warm", "READY=1")] == [
        "STATUS=import", "STATUS=load", "STATUS=compile", "STATUS=warm", "READY=1"]
    words = []
    while words.count("WATCHDOG=1") < 4:
        words += ear.recv(4096).decode().split("\n")
    worker.wait_for("ready")
    worker.terminate()
    while "STOPPING=1" not in words:
        words += ear.recv(4096).decode().split("\n")
    assert worker.wait() == 0
