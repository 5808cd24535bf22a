"""One run of the agent on a node: sends it there, speaks its first words, and hands on whole lines until the channel ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

import asyncssh

from opsconsole.core.fleet import NO_PYTHON, UNREACHABLE
from opsconsole.core.text import clean
from opsconsole.protocol import MAGIC, encode
from opsconsole.ssh.bootstrap import StageWord, opening, stage_word
from opsconsole.ssh.bundle import Bundle
from opsconsole.ssh.failures import LinkFailure
from opsconsole.ssh.lines import NOISE_LIMIT_BYTES, Flood, Framer, Tail

MAGIC_LINE = MAGIC.encode()
NOT_FOUND = (126, 127)
"""What a shell exits with when the command does not exist or cannot be run."""


class Phase(Enum):
    SHELL = "login shell"
    AGENT = "agent's start"
    LINES = "agent"


class AgentSession(asyncssh.SSHClientSession):
    """take: called with each line of the agent. ended: called once, with why, when nothing more will come."""

    def __init__(
        self, hello: dict[str, Any], python: str, bundle: Bundle, take: Callable[[bytes], None], ended: Callable[[BaseException], None]
    ) -> None:
        self._hello, self._python, self._bundle = hello, python, bundle
        self._take, self._ended = take, ended
        self._framer, self._errors = Framer(time.monotonic), Tail(time.monotonic)
        self._channel: Any = None
        self._failure: BaseException | None = None
        self._exit: str = ""
        self._status: int | None = None
        self._noise_bytes = 0
        self.noise_lines = 0
        self.phase = Phase.SHELL

    def connection_made(self, chan: Any) -> None:
        self._channel = chan

    def session_started(self) -> None:
        self._channel.write(opening())

    def say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the channel may end at any moment; `connection_lost` tells
            if not self._channel.is_closing():
                self._channel.write(encode(message))

    def end(self) -> None:
        """The end of its input is what the agent goes by; a signal would be refused by sshd for root."""
        with contextlib.suppress(OSError):
            if not self._channel.is_closing():
                self._channel.write_eof()

    def data_received(self, data: bytes, datatype: Any) -> None:
        if self._failure is not None:
            return
        try:
            if datatype == asyncssh.EXTENDED_DATA_STDERR:
                self._errors.feed(data)
                return
            for line in self._framer.feed(data):
                self._route(line)
        except (Flood, LinkFailure) as error:
            self._failure = error
            self._channel.abort()
            self._end_with(error)

    def _route(self, line: bytes) -> None:
        if self.phase is Phase.LINES:
            self._take(line)
        elif line.rstrip() == MAGIC_LINE:
            self.phase = Phase.LINES
        elif word := stage_word(line):
            self._obey(word)
        else:
            self._skip(line)

    def _obey(self, word: StageWord) -> None:
        if word.word == "PYTHON":
            raise LinkFailure(NO_PYTHON, f"{self._python} is Python {clean(word.rest, 20)}: set `python` to one that is 3.9 or newer")
        if word.word == "BROKEN":
            raise LinkFailure(UNREACHABLE, clean(word.rest), True)
        if self.phase is not Phase.SHELL or word.word not in ("HAVE", "NEED"):
            return
        self.phase = Phase.AGENT
        if word.word == "NEED":
            self._channel.write(self._bundle.content)
        self.say(self._hello)

    def _skip(self, line: bytes) -> None:
        self.noise_lines += 1
        self._noise_bytes += len(line)
        if self._noise_bytes > NOISE_LIMIT_BYTES:
            raise Flood(f"is drowned by its login shell, which prints more than {NOISE_LIMIT_BYTES // 1024} KiB")

    def exit_status_received(self, status: int) -> None:
        self._status, self._exit = status, f"exit status {status}"

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._exit = f"signal {clean(signal, 20)}"

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_with(self._failure or exc or self._agent_ended())

    def _end_with(self, error: BaseException) -> None:
        ended, self._ended = self._ended, lambda _: None
        ended(error)

    def _agent_ended(self) -> LinkFailure:
        last = clean(self._errors.last_line)
        if self.phase is Phase.SHELL and self._status in NOT_FOUND:
            mend = "install Python 3.9 or newer, or set `python`"
            return LinkFailure(NO_PYTHON, f"{self._python} cannot be run there ({last or self._exit}): {mend}")
        why = ": ".join(part for part in (self._exit, last) if part)
        return LinkFailure(UNREACHABLE, f"its {self.phase.value} ended{f' ({why})' if why else ''}; starting it again")
