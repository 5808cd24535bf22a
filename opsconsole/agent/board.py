"""Which workers this node has, whoever launched them, and what of the node they hold."""

import threading
import time

from .cordon import read_cordon
from .workers import Watched

SCAN_INTERVAL_S = 2.0


class Board:
    """All workers of this node, whoever launched them: the records are read again every SCAN_INTERVAL_S."""

    def __init__(self, records, boot_id, fences, wake):
        """wake: called when a worker has been looked at for the first time."""
        self._records = records
        self._fences = fences
        self._wake = wake
        self.boot_id = boot_id
        self.cordon = None
        """{"reason", "actor", "at"} while the node is cordoned."""
        self._lock = threading.Lock()
        self._watched = {}
        self._has_scanned = False
        threading.Thread(target=self._scan_for_ever, daemon=True).start()

    def _scan_for_ever(self):
        while True:
            try:
                self.scan()
            except OSError:
                pass  # the disk is ill: what is known stays on the board
            if not self._has_scanned:
                self._has_scanned = True
                self._wake()
            time.sleep(SCAN_INTERVAL_S)

    def scan(self):
        self.cordon = read_cordon(self._records)
        names = self._records.names()
        for name in names:
            self._fences.generation(name)
            record = self._records.load(name)
            if record is not None:
                self._notice(record)
        for name, watched in list(self._watched.items()):
            if name not in names:
                self._drop(name)
            elif watched.is_over():
                self._records.forget(name)
                self._drop(name)

    def _notice(self, record):
        with self._lock:
            known = self._watched.get(record.name)
            if known and known.record.order == record.order:
                known.follow(record)
            elif record.pid is not None:
                self._put(self._watch(record))

    def _watch(self, record):
        return Watched(record, self._records, self.boot_id, self._fences, self._wake)

    def put(self, record):
        """A worker that this agent has just started."""
        with self._lock:
            self._put(self._watch(record))

    def _put(self, watched):
        old = self._watched.get(watched.record.name)
        if old:
            old.retired = True
        self._watched[watched.record.name] = watched

    def _drop(self, name):
        with self._lock:
            watched = self._watched.pop(name, None)
        if watched:
            watched.retired = True

    def forget(self, name):
        self._records.forget(name)
        self._drop(name)

    def find(self, name):
        """The Watched of that name, or None; a worker launched by another agent a moment ago is found too."""
        if name not in self._watched:
            self.scan()
        return self._watched.get(name)

    def is_settled(self):
        """Whether every worker that was here before this agent has been looked at: till then it would seem to have just begun."""
        with self._lock:
            return self._has_scanned and all(each.has_looked or each.is_gone for each in self._watched.values())

    def rows(self):
        with self._lock:
            watched = [self._watched[name] for name in sorted(self._watched)]
        return [each.row() for each in watched]

    def loads(self):
        """[(gpus, busy share 0..1, tokens/s or None, pid, name, share)] of the living, for simulated GPUs."""
        with self._lock:
            living = [each for each in self._watched.values() if not each.is_gone]
        return [
            (each.record.gpus, _busy_share(each), each.row()["tokens_per_s"], each.record.pid, "python", each.record.share or 1.0)
            for each in living
        ]

    def tenants(self):
        """The records of workers that hold GPUs: those that live, are about to be started again, or have left an orphan."""
        self.scan()
        with self._lock:
            watched = list(self._watched.values())
        return [each.record for each in watched if each.check_process() or each.state()[2] and each.record.orphans]


def _busy_share(watched):
    seen, slots = watched.last_look, watched.record.slots
    if watched.is_silent() or not seen.running or not slots:
        return 0.0
    return min(1.0, seen.running / slots)
