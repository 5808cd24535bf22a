"""A front's session: it lets go at once, whatever it waits for."""

import socket
import threading
import time

from opsconsole import __version__
from opsconsole.control import wire
from opsconsole.control.session import Session, SessionError


def test_a_session_that_another_thread_waits_on_closes_at_once(tmp_path):
    ours, theirs = socket.socketpair()
    theirs.sendall(wire.pack({"k": "welcome", "version": __version__, "pid": 1, "config": str(tmp_path)}))
    session = Session(ours, tmp_path)
    ended = []

    def wait():
        try:
            session.first_fleet()
        except (SessionError, ValueError) as error:
            ended.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    time.sleep(0.2)
    closing = threading.Thread(target=session.close, daemon=True)
    closing.start()
    closing.join(5)
    waiting.join(5)
    theirs.close()
    assert not closing.is_alive() and ended
