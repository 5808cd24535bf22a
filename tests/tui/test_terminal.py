"""A real terminal (a pty) and the bytes that reach it: nothing foreign, no colour where none is wanted, and whole again at the end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from opsconsole.tui.start import unsuitable
from tests.tui.fleets import HOSTILE

ROOT = Path(__file__).parents[2]
OURS = re.compile(rb"\x1b(?:\[[0-9;?]*\$p|\[[0-9;?<>=]*[A-Za-z]|[=>78]|P[^\x1b]*\x1b\\|\]22;[a-z-]*\x07)")
"""What Textual and our strips write: CSI sequences, a few modes, and the shape of the mouse pointer (OSC 22)."""
COLOUR = re.compile(rb"\x1b\[[0-9;]*?(?:3[0-9]|4[0-9]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


class Terminal:
    def __init__(self, fleet: str, size: tuple[int, int], **environ: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(*size)
        variables = {
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            **environ,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.tui.program", fleet],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=variables,
            cwd=ROOT,
            start_new_session=True,
        )
        os.close(slave)
        self.written = b""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def read(self, until: bytes = b"", seconds: float = 20.0) -> bytes:
        """What it writes until some bytes are there, or it ends, or the time is over."""
        end = time.monotonic() + seconds
        start = len(self.written)
        while time.monotonic() < end and not (until and until in self.written[start:]):
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.written += os.read(self.master, 65536)
                except OSError:
                    break
        return self.written[start:]


@contextmanager
def terminal(fleet: str, size: tuple[int, int] = (120, 40), **environ: str) -> Iterator[Terminal]:
    opened = Terminal(fleet, size, **environ)
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()
        os.close(opened.master)


def test_no_foreign_byte_reaches_the_terminal() -> None:
    with terminal("hostile") as screen:
        screen.read(until=b"quit")
        for keys in ("2", "m", "3", "\r", "j", "1", "?", "\x1b", ":", "drain", "\x1b", "/", "site", "\r", "n", "D"):
            screen.press(keys)
            screen.read(seconds=0.35)
        screen.read(seconds=0.5)
        assert screen.process.poll() is None  # neither crashed nor quit by a name that is an action
    rest = OURS.sub(b"", screen.written)
    assert b"\x1b" not in rest and b"\x07" not in rest and b"\x1b]52" not in screen.written
    said = rest.decode(errors="replace")
    assert "[@click=app.quit]" in said and "日本語" in said and "n[/]x" in said
    assert not set("\u202e\u2066\u200d\x9b\x00") & set(said)
    assert HOSTILE[0] not in said


def test_no_color_writes_no_colour() -> None:
    with terminal("alarm", NO_COLOR="1") as screen:
        screen.read(until=b"quit")
        for keys in ("D", "\x1b", "?", "\x1b", "2", ":", "\x1b"):
            screen.press(keys)
            screen.read(seconds=0.35)
    assert not COLOUR.findall(screen.written)
    assert "✖".encode() in screen.written and b"\x1b[" in screen.written


def test_what_is_drawn_piece_by_piece_is_what_a_terminal_shows() -> None:
    with terminal("alarm", (100, 40)) as screen:
        screen.read(until=b"quit")
        for keys in ("j", "j", "m", "?", "\x1b", "n"):
            screen.press(keys)
            screen.read(seconds=0.4)
    shown = pyte.Screen(100, 40)
    stream = pyte.ByteStream(shown)
    stream.feed(re.sub(rb"\x1b\[[?<>=][0-9;]*[a-zA-Z$]+|\x1b\[>[^a-z]*[a-z]", b"", screen.written))
    lines = shown.display
    assert "opsconsole" in lines[0] and "quit" not in lines[0]
    assert sum("FLEET MAP" in line for line in lines) == 1 and sum("h200-008" in line for line in lines) >= 1
    assert not any("KEYS" in line for line in lines)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_signals_put_the_terminal_back(number: signal.Signals, code: int) -> None:
    with terminal("calm") as screen:
        screen.read(until=b"quit")
        screen.process.send_signal(number)
        after = screen.read(until=b"\x1b[?1049l", seconds=5)
        assert screen.process.wait(timeout=5) == code
    assert b"\x1b[?1049l" in after and b"\x1b[?25h" in screen.written


def test_a_terminal_that_is_gone_leaves_no_orphan() -> None:
    opened = Terminal("calm", (80, 24))
    opened.read(until=b"help")
    os.close(opened.master)
    opened.process.send_signal(signal.SIGHUP)
    assert opened.process.wait(timeout=8) == 129


@pytest.mark.parametrize(
    ("tty", "term", "words"), [(False, "xterm", "needs a terminal"), (True, "dumb", "TERM=dumb"), (True, "", "TERM is not set")]
)
def test_unsuitable_terminals_are_refused_in_words(tty: bool, term: str, words: str) -> None:
    said = unsuitable(tty, term)
    assert words in said and "opsconsole status" in said
    assert unsuitable(True, "xterm-256color") == ""


def test_no_tty_is_exit_2() -> None:
    code = "from opsconsole.tui.start import run_tui; import sys; sys.exit(run_tui(None, None))"
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 2 and "opsconsole status" in done.stderr and not done.stdout


def test_textual_is_not_imported_for_a_refusal() -> None:
    code = "import opsconsole.tui.start, sys; sys.exit(any(name.split('.')[0] == 'textual' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
