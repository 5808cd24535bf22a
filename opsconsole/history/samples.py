"""The recorder: takes every Fleet without making its giver wait, and keeps it whatever becomes of the disk meanwhile."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

from opsconsole.core.fleet import Alarm, Fleet
from opsconsole.history.charts import Series
from opsconsole.history.happenings import Happenings, Note
from opsconsole.history.locks import holder_text
from opsconsole.history.reader import Reader
from opsconsole.history.schema import HistoryError
from opsconsole.history.ticks import Pen, Slots, Tick
from opsconsole.history.tiers import MINUTES, SECONDS, TENS
from opsconsole.history.upkeep import DAMAGED, Upkeep

__all__ = ["HistoryError", "Reader", "Recorder", "Series"]

FLEETS_WAITING = 30
"""Fleets that wait for the writer, at most; 1 MB each at 8,000 GPUs. A newer one drives out the oldest."""
BACKLOG_TICKS = 300
BACKLOG_BYTES = 64 * 1024 * 1024
NOTES_WAITING = 10_000
WRITTEN_AT_ONCE = 20
"""Ticks in one transaction when a backlog is worked off, so that the lock is never held for long."""
RETRY_S = 1.0
SALVAGE_PAUSE_S = 0.05
CLOSE_LIMIT_S = 10.0


class Recorder:
    """Records fleets in a thread of its own. `trouble` says why it pauses ("" while it records); it resumes by itself."""

    def __init__(self, path: Path, hours: float = 48.0, days_1m: float = 30.0, days_10m: float = 365.0):
        """hours: for how long seconds are kept; days_1m, days_10m: minutes and ten minutes."""
        self.path = Path(path)
        self._keep_s = {SECONDS: hours * 3600.0, MINUTES: days_1m * 86400.0, TENS: days_10m * 86400.0}
        self.acknowledged: int | None = None
        """The last tick that is safely in the file; None: none yet."""
        self.trouble = ""
        self.notice = ""
        """What happened to the file and is over (a damaged one was set aside); "" when nothing did."""
        self.lost_ticks = 0
        """Ticks that no room was left for while recording paused."""
        self._fleets: deque[Fleet] = deque(maxlen=FLEETS_WAITING)
        self._notes: deque[Note] = deque(maxlen=NOTES_WAITING)
        self._backlog: deque[Tick] = deque()
        self._backlog_bytes = 0
        self._pen: Pen | None = None
        self._happenings = Happenings()
        self._keeps_places = False
        """Whether the numbers of a file that is salvaged stand in places that are known."""
        self._file = Upkeep(self.path, self._keep_s)
        self._unproven: deque[Tick] = deque(maxlen=BACKLOG_TICKS)
        """Written while the file is still being checked: once more if it turns out to be damaged."""
        self._last_t: int | None = None
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)

    @property
    def is_salvaging(self) -> bool:
        """What can be read of a damaged file is being taken over."""
        return self._file.salvage is not None

    def start(self) -> None:
        self._thread.start()

    def record(self, fleet: Fleet) -> None:
        """Remember this moment. Returns at once."""
        if len(self._fleets) == FLEETS_WAITING:
            self.lost_ticks += 1
        self._fleets.append(fleet)
        self._wake.set()

    def note(self, kind: str, subject: str, text: str, actor: str = "", at: float | None = None, severity: int = 0) -> None:
        """Remember an action or an event. Returns at once."""
        self._notes.append((time.time() if at is None else at, kind, severity, subject, text, actor))
        self._wake.set()

    def close(self) -> None:
        """Write what waits, if the file can be written, and end the thread."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_LIMIT_S)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._patience_s())
            self._wake.clear()
            self._work()
        self._work()
        self._file.close()

    def _patience_s(self) -> float | None:
        """How long to wait for something new; None: for ever."""
        if self._file.store is not None and self._file.salvage is not None and not self.trouble:
            return SALVAGE_PAUSE_S
        is_idle = self._file.store is not None and not (self._fleets or self._notes or self._backlog or self._file.is_doubtful)
        return None if is_idle and not self._unproven else RETRY_S

    def _work(self) -> None:
        """Everything that waits into the file. Whatever goes wrong becomes `trouble` and is tried again."""
        try:
            self._open()
            self._write_down_fleets()
            self._file.make_room(self._last_t)
            self._drain()
            self.trouble = ""
        except HistoryError as error:
            self._file.shut()  # the file is another's, or needs a newer release: it must not wait for us
            self.trouble = f"history pauses: {error}"
        except sqlite3.Error as error:
            if any(word in str(error) for word in DAMAGED):
                self._replace_file(error)
            else:
                self._pause(error)
        except OSError as error:
            self._file.shut()
            self.trouble = f"history pauses: {self.path} cannot be opened ({error.strerror or error})"
        except Exception as error:  # the collector must live on, whatever is wrong with one fleet
            self.trouble = f"history pauses: {type(error).__name__}: {error}"

    def _open(self) -> None:
        if self._file.vanished:
            self._file.shut()
            self._begin_anew()
        if self._file.store is None:
            store = self._file.open(self._pen.slots.scales if self._pen else None)
            if self._pen is None:
                self._pen = Pen(store.slots())
                self._happenings = Happenings(self._standing_alarms())
                self.acknowledged = self._last_t = store.newest_tick()
        self._file.look_for_damage()
        if not self._file.is_doubtful:
            self._unproven.clear()

    def _standing_alarms(self) -> tuple[Alarm, ...]:
        """Those of the last moment in the file."""
        with contextlib.suppress(HistoryError), Reader(self.path) as reader:
            ends = reader.span()
            return reader.at(ends[1]).alarms if ends else ()
        return ()

    def _write_down_fleets(self) -> None:
        while self._fleets:
            fleet = self._fleets.popleft()
            if int(fleet.at) == self._last_t and self._pen.has_written:
                continue  # the first one is written down even so: trends reach back to it, whoever kept its second
            self._last_t = int(fleet.at)
            self._keep(self._pen.write(fleet))
            self._notes.extend(self._happenings.follow(fleet))

    def _keep(self, tick: Tick) -> None:
        self._backlog.append(tick)
        self._backlog_bytes += tick.size_bytes
        while len(self._backlog) > BACKLOG_TICKS or (self._backlog_bytes > BACKLOG_BYTES and len(self._backlog) > 1):
            oldest = self._backlog.popleft()
            self._backlog_bytes -= oldest.size_bytes
            self.lost_ticks += 1
            # who stands where must not be lost with the tick that first said so
            after = self._backlog[0]
            self._backlog[0] = replace(after, entities=oldest.entities + after.entities, workers=oldest.workers + after.workers)

    def _drain(self) -> None:
        while self._backlog or self._notes:
            ticks = [self._backlog[index] for index in range(min(WRITTEN_AT_ONCE, len(self._backlog)))]
            notes = [self._notes[index] for index in range(min(1000, len(self._notes)))]
            self._file.store.write(ticks, notes)
            for tick in ticks:
                self._backlog.popleft()
                self._backlog_bytes -= tick.size_bytes
                self.acknowledged = tick.t
                if self._file.is_doubtful:
                    self._unproven.append(tick)
            for _ in notes:
                self._notes.popleft()
            self._go_on(ticks[-1].t if ticks else None)
        if self._file.salvage is not None:
            self._go_on(None)

    def _go_on(self, newest: int | None) -> None:
        if salvaged := self._file.go_on(newest, self._keeps_places):
            self.notice = f"{self.notice}; {salvaged}" if self.notice else salvaged
            self.note("history", self.path.name, salvaged)

    def _pause(self, error: sqlite3.Error) -> None:
        text = str(error)
        if "locked" in text or "busy" in text:
            text = f"the file is locked by {holder_text(self.path)}"
        elif "full" in text:
            self._file.is_full()
            text = "the disk is full; free some space"
        self.trouble = f"history pauses: {self.path}: {text}"

    def _replace_file(self, error: sqlite3.Error) -> None:
        """Set a damaged file aside, go on with a fresh one, and salvage what can be read."""
        try:
            away = self._file.set_aside()
        except OSError as refusal:
            self.trouble = f"history pauses: {self.path} is damaged ({error}) and cannot be set aside: {refusal.strerror or refusal}"
            return
        self._backlog.extendleft(reversed(self._unproven))
        self._backlog_bytes += sum(tick.size_bytes for tick in self._unproven)
        self._unproven.clear()
        self._keeps_places = self._pen is not None or self._learn_places()
        kept = "history begins anew, and what can be read of it follows" if self._file.salvage else "history begins anew"
        damage = " ".join(str(error).split())
        self.notice = f"{self.path} was damaged ({damage}) and was set aside as {away.name}; {kept}"
        self.note("history", self.path.name, self.notice)
        self._begin_anew()
        self._wake.set()

    def _learn_places(self) -> bool:
        """Who stood where in the damaged file, so that its numbers are worth keeping."""
        known = self._file.salvage.names() if self._file.salvage else None
        if known is not None:
            self._pen = Pen(Slots(*known))
        return known is not None

    def _begin_anew(self) -> None:
        """A fresh file must be told who stands where, as the ticks that wait already use those places."""
        if self._pen is None:
            return
        if self._backlog:
            self._backlog[0] = replace(self._backlog[0], entities=self._pen.slots.everything(), workers=self._pen.known_workers())
        else:
            self._pen.tell_again()
