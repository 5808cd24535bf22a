"""What is cut out of a state directory for a post-mortem: its history, and what audit and journal say of the same span."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from opsconsole import __version__
from opsconsole.control.places import audit_path, runs_path
from opsconsole.history import incident
from opsconsole.history.audit import AuditError, read_rows
from opsconsole.history.export import whole_or_not_at_all
from opsconsole.history.incident import Counts, Cut
from opsconsole.history.journal import Journal, JournalError
from opsconsole.history.reader import Reader
from opsconsole.history.schema import HistoryError

__all__ = ["Counts", "Cut", "save_incident"]


def save_incident(reader: Reader, target: Path, cut: Cut, force: bool, tell: Callable[[int], None]) -> Counts:
    """Writes `target`, mode 0600, whole or not at all; audit and journal lie beside the history. Raises HistoryError.

    tell: is told how many seconds are written, now and then.
    """
    state_dir = reader.path.parent
    try:
        rows = list(read_rows(audit_path(state_dir), cut.since))
        journal = Journal(runs_path(state_dir))
        runs = journal.runs()
        journal.close()
        with whole_or_not_at_all(target, force) as draft:
            return incident.save(reader, draft, cut, rows, runs, __version__, tell)
    except (AuditError, JournalError) as error:
        raise HistoryError(str(error)) from None
    except sqlite3.Error as error:
        raise HistoryError(f"{target} cannot be written: {error}") from None
