"""The file that is written, whatever becomes of it: leased, checked, salvaged when it is damaged, given room on a full disk."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from opsconsole.history.lease import Lease
from opsconsole.history.reserve import Reserve
from opsconsole.history.salvage import Salvage
from opsconsole.history.schema import set_aside
from opsconsole.history.store import Store
from opsconsole.history.tiers import Tier

DAMAGED = ("malformed", "not a database")
"""In SQLite's words."""


class Check(threading.Thread):
    """Looks through a whole file beside the recording: 0.7 s a GB. `damage`: what is wrong with it, "" while nothing is known to be."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="history-check", daemon=True)
        self.damage = ""
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        self.start()

    def run(self) -> None:
        try:
            found = self._connection.execute("pragma quick_check(1)").fetchone()[0]
            self.damage = "" if found == "ok" else found
        except sqlite3.Error as error:
            self.damage = str(error) if any(word in str(error) for word in DAMAGED) else ""
        finally:
            self._connection.close()

    def end(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # it may have ended by itself
            self._connection.interrupt()
        self.join()


class Upkeep:
    """`store` is open or None. May raise sqlite3.Error, OSError, and HistoryError where another process writes or a newer one did."""

    def __init__(self, path: Path, keep_s: Mapping[Tier, float]) -> None:
        self.path, self._keep_s = path, keep_s
        self.store: Store | None = None
        self.salvage: Salvage | None = None
        self._lease: Lease | None = None
        self._check: Check | None = None
        self._reserve = Reserve(path)
        self._is_tight = False

    @property
    def is_doubtful(self) -> bool:
        """The file is still being checked, or damage was found."""
        return self._check is not None and (self._check.is_alive() or bool(self._check.damage))

    @property
    def vanished(self) -> bool:
        """Somebody removed the file, or its lease: what is written to its remains would be lost."""
        return self.store is not None and not (self.path.exists() and self._lease is not None and self._lease.holds)

    def open(self, scales: Mapping[str, float] | None) -> Store:
        if self._lease is None:
            self._lease = Lease(self.path)
        self.store = Store(self.path, scales, self._keep_s)
        self._check = Check(self.path)
        return self.store

    def look_for_damage(self) -> None:
        """Raises sqlite3.DatabaseError once the check has found some."""
        if self._check is not None and self._check.damage:
            raise sqlite3.DatabaseError(f"database disk image is malformed: {self._check.damage}")

    def set_aside(self) -> Path:
        """The damaged file out of the way; what can be read of it will be taken over by `go_on`. Raises OSError."""
        self._close_store()
        away = set_aside(self.path, time.time())
        if self.salvage is not None:
            self.salvage.close()
        try:
            self.salvage = Salvage(away)
        except sqlite3.Error:
            self.salvage = None
        return away

    def go_on(self, newest: int | None, with_numbers: bool) -> str:
        """A little of what waits: sealing, removing, salvaging. Returns a sentence once the salvage is done, "" otherwise."""
        if newest is not None:
            self.store.tidy(newest)
            if self._is_tight:
                self.store.checkpoint()
            self._reserve.keep()
        if self.salvage is None or self.salvage.step(self.store.connection, with_numbers):
            return ""
        salvage, self.salvage = self.salvage, None
        salvage.close()
        return f"{salvage.ticks} seconds of {salvage.path.name} were salvaged"

    def make_room(self, newest: int | None) -> None:
        """On a disk that was full: what is too old goes first. Raises sqlite3.OperationalError while there is still no room."""
        if not self._is_tight:
            return
        if self._reserve.has_room:
            self._is_tight = False
        elif newest is None or not self.store.has_room(newest):
            raise sqlite3.OperationalError("database or disk is full")

    def is_full(self) -> None:
        """The disk is: gives up the reserve."""
        self._is_tight = True
        self._reserve.give_up()

    def _close_store(self) -> None:
        if self._check is not None:
            self._check.end()
            self._check = None
        store, self.store = self.store, None
        if store is not None:
            with contextlib.suppress(sqlite3.Error):  # a file that cannot be closed well is checked when it is opened again
                store.close()

    def shut(self) -> None:
        """Close everything; another process may write then."""
        self._close_store()
        if self._lease is not None:
            self._lease.end()
            self._lease = None

    def close(self) -> None:
        self.shut()
        if self.salvage is not None:
            self.salvage.close()
