"""The collector's desk for alarms: what people say of them goes into the audit, the fleet and a file; news of them leave the house."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import msgspec

from opsconsole.control.ledger import Ledger
from opsconsole.core.alarm import Alarm
from opsconsole.core.alarm_book import SHIFT, Book, Said, check
from opsconsole.core.events import Booked, Event, Hampered, Remembered
from opsconsole.core.fleet import Fleet
from opsconsole.core.telling import News, first_news
from opsconsole.core.wording import at_text

KEPT_LIMIT_S = 3.0
KEPT_POLL_S = 0.02
SINCE_KEPT_EVERY_S = 10.0
PROBED_EVERY_S = 10.0
FILE_LIMIT_BYTES = 4 * 1024 * 1024
_WORDS = {"ack": "takes", "unack": "gives back", "silence": "silences", "unsilence": "hears again", "note": "notes on"}


class Receiver(Protocol):
    def saw(self, fresh: list[News], at: float) -> None: ...


class AlarmDesk:
    """emit: gives an event to the watch; note: remembers in history; receiver: takes the news out of the house."""

    def __init__(
        self, ledger: Ledger, path: Path, emit: Callable[[Event], None], note: Callable[[str, str, str, str], None], receiver: Receiver
    ) -> None:
        self._ledger, self._path, self._emit, self._note, self._receiver = ledger, path, emit, note, receiver
        self._fleet = Fleet()
        self._book_number, self._kept_number = 0, 0
        self._trouble, self._audit_cause = "", ""
        self._since_kept_at, self._probed_at = 0.0, 0.0
        self._work: asyncio.Task | None = None

    def recover(self) -> None:
        """What the collector before this one knew; nothing where there is no file, or none that can be read."""
        try:
            kept = msgspec.convert(json.loads(_read(self._path)), _Kept)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                os.replace(self._path, self._path.with_suffix(".damaged"))
            self._note("trouble", "alarms", f"{self._path} could not be read and was set aside: {error}", "")
            return
        self._emit(Remembered(kept.book, kept.since))

    async def close(self) -> None:
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)
        await self._keep(self._fleet, self._book_number)

    def saw(self, fleet: Fleet) -> None:
        """The newest fleet. Returns at once."""
        before, self._fleet = self._fleet, fleet
        if before.alarm_book is not fleet.alarm_book:
            self._book_number += 1
        self._receiver.saw(first_news(before, fleet), fleet.at)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._look_after(fleet))

    async def _look_after(self, fleet: Fleet) -> None:
        """The disk is looked at now and then; the file follows the book at once, and the ages of alarms now and then."""
        if fleet.mono - self._probed_at >= PROBED_EVERY_S or self._ledger.trouble != self._audit_cause:
            self._probed_at = fleet.mono
            self._tell_audit(self._ledger.trouble or await asyncio.to_thread(self._space_cause, fleet))
        number = -1
        while number != self._book_number:  # what is said while the file is written is written too
            number = self._book_number
            if number != self._kept_number or fleet.at - self._since_kept_at >= SINCE_KEPT_EVERY_S:
                await self._keep(self._fleet, number)

    async def _keep(self, fleet: Fleet, number: int) -> None:
        since = {alarm.id: alarm.since for alarm in fleet.alarms}
        try:
            await asyncio.to_thread(_write, self._path, {"book": asdict(fleet.alarm_book), "since": since})
            self._kept_number, self._trouble, self._since_kept_at = number, "", fleet.at
        except OSError as error:
            self._trouble = f"{self._path} cannot be written: {error.strerror or error}"

    def _space_cause(self, fleet: Fleet) -> str:
        """Why the audit will not be written much longer, "" when there is room."""
        rule = next((rule for rule in fleet.roster.alarm_rules if rule.name == "audit"), None)
        try:
            free_mib = shutil.disk_usage(self._path.parent).free / 1024**2
        except OSError as error:
            return f"{self._path.parent} cannot be looked at: {error.strerror or error}"
        if rule is None or rule.limit is None or not rule.is_beyond(free_mib, bool(self._audit_cause)):
            return ""
        return f"{free_mib:.0f} MiB are left in {self._path.parent}, {rule.limit:.0f} are wanted; free some space"

    def _tell_audit(self, cause: str) -> None:
        if cause != self._audit_cause:
            self._audit_cause = cause
            self._emit(Hampered("audit", cause))

    async def say(self, packed: Said) -> str:
        """Somebody says something of an alarm: checked, in the audit, then so. In words what was done. Raises ValueError."""
        fleet = self._fleet
        said = check(packed, fleet.alarms, fleet.roster, fleet.alarm_book)
        about = next((alarm for alarm in fleet.alarms if alarm.id == said.what), None)
        trouble = await self._ledger.said(said, about.text if about is not None else said.what)
        if trouble:
            raise ValueError(f"nothing was done: {trouble}")
        number = self._book_number
        self._emit(Booked(said))
        words = _words(said, about)
        self._note("action", about.subject if about is not None else said.what, words, said.actor)
        try:
            async with asyncio.timeout(KEPT_LIMIT_S):
                while self._kept_number <= number:
                    await asyncio.sleep(KEPT_POLL_S)
        except TimeoutError:
            why = self._trouble or "the file is not written yet"
            raise ValueError(f"it is so now, but will not outlive the collector: {why}") from None
        return words


def _words(said: Said, about: Alarm | None) -> str:
    subject = f"alarm {about.id} ({about.text.replace('  ', ' ')})" if about is not None else said.what
    until = f" until {at_text(said.until)}" if said.until is not None else ""
    if said.word == "note" and said.what == SHIFT:
        subject = "this shift"
    return f"{_WORDS[said.word]} {subject}{until}" + (f": {said.text}" if said.text else "")


class _Kept(msgspec.Struct):
    book: Book
    since: dict[str, float]


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(FILE_LIMIT_BYTES)


def _write(path: Path, content: dict[str, Any]) -> None:
    """In one go, 0600: half a file is never read."""
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def said_now(word: str, what: str, actor: str, text: str = "", for_s: float | None = None) -> Said:
    """What a front asks for, with the time that it is."""
    at = time.time()
    return Said(word, what, actor, at, text, at + for_s if for_s is not None else None)
