"""What the agent remembers of its workers and finished orders between two connections: small private files, never half written."""

import fcntl
import hashlib
import json
import os
import re
import tempfile
import time

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
FIELDS = ("name", "model", "engine", "gpus", "slots", "host", "port", "pid", "start_time", "boot_id", "started_wall", "log", "order",
          "stopped_wall", "checkpoint", "share", "ready_wall", "spec", "restarts", "exit_code", "failed", "orphans", "keeper", "unit",
          "result")
"""order: id of the launch order. stopped_wall: when it was stopped on purpose, or None. share: of each of its GPUs, at most 1.
ready_wall: when it first was READY, or None. spec: how to ask and stop an engine other than ours, or None. restarts: how often it was
started again; exit_code: of its last end; failed: why it is not started again, or None. orphans: [[pid, start_time], ...] of what
outlived it. keeper: [pid, start_time] of the process that starts it again when it crashes; unit: [manager, name] where systemd
does; result: what systemd calls its last end."""
ANSWERS_KEPT = 200
BACK = "~back"
"""Marks beside a worker's lock that it is asked back; no worker's name holds such a character."""
NODE = "~node"
"""The lock of what concerns all workers of the node."""
NODE_LOCK_LIMIT_S = 10.0
POLL_S = 0.02
OWNER_BYTES, FENCE_BYTES = 240, 600


class Record:
    """One worker as its file has it."""

    def __init__(self, **values):
        for field in FIELDS:
            setattr(self, field, values.get(field))

    def as_dict(self):
        return {field: getattr(self, field) for field in FIELDS}


class Records:
    """The files in `work_dir`: workers/NAME.json, fences/NAME.json, leaving/NAME, locks/NAME, logs/NAME.log, answers/HASH.json.

    Directories 0700, files 0600.
    """

    def __init__(self, work_dir):
        self.work_dir = os.path.abspath(os.path.expanduser(work_dir))

    def open(self):
        """Make the directories. Raises OSError, and PermissionError when they are another user's."""
        for name in ("", "workers", "fences", "leaving", "locks", "logs", "answers"):
            path = os.path.join(self.work_dir, name)
            os.makedirs(path, mode=0o700, exist_ok=True)
            status = os.lstat(path.rstrip("/"))
            if name and status.st_uid != os.geteuid():
                raise PermissionError("%s belongs to another user" % path)

    def _path(self, folder, name):
        return os.path.join(self.work_dir, folder, name)

    def log_path(self, name):
        return self._path("logs", name + ".log")

    def save(self, record):
        _write(self._path("workers", record.name + ".json"), record.as_dict())

    def update(self, record, **values):
        """The record as it is now with these values, saved; None when it was forgotten or is another launch's. Raises OSError."""
        with self.node_lock(record.name + "~record"):
            newest = self.load(record.name)
            if newest is None or newest.order != record.order:
                return None
            for field, value in values.items():
                setattr(newest, field, value)
            self.save(newest)
            return newest

    def load(self, name):
        """The Record, or None when there is none that can be read."""
        values = _read(self._path("workers", name + ".json"))
        if values is None or values.get("name") != name or not isinstance(values.get("gpus"), list):
            return None
        return Record(**{field: values.get(field) for field in FIELDS})

    def names(self):
        try:
            entries = os.listdir(self._path("workers", ""))
        except OSError:
            return []
        return sorted(entry[:-5] for entry in entries if entry.endswith(".json") and NAME_PATTERN.match(entry[:-5]))

    def forget(self, name):
        for path in (self._path("workers", name + ".json"), self._path("workers", name + ".env"), self.leaving_path(name)):
            _remove(path)

    def lock(self, name, owner):
        """An open file that holds the worker for one order, until closed (or until this agent ends); or None: another agent's order has it.

        Two consoles mean two agents on one node: this is what keeps them from acting on one worker at once.
        """
        file = open(os.open(self._path("locks", name), os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        _write_owner(file.fileno(), owner)
        return file

    def ask_back(self, name):
        """Ask the drain that has this worker, of whichever agent, to let go of it."""
        os.close(os.open(self._path("locks", name) + BACK, os.O_CREAT | os.O_WRONLY, 0o600))

    def is_asked_back(self, name):
        return os.path.exists(self._path("locks", name) + BACK)

    def forget_back(self, name):
        _remove(self._path("locks", name) + BACK)

    def leaving_path(self, name):
        """A file that is there while a worker is drained or ended: one that crashes meanwhile is not started again."""
        return self._path("leaving", name)

    def set_leaving(self, name, is_leaving):
        if is_leaving:
            os.close(os.open(self.leaving_path(name), os.O_CREAT | os.O_WRONLY, 0o600))
        else:
            _remove(self.leaving_path(name))

    def is_leaving(self, name):
        return os.path.exists(self.leaving_path(name))

    def lock_owner(self, name):
        with open(self._path("locks", name), "rb") as file:
            return file.read(OWNER_BYTES).decode("utf-8", "replace").rstrip()

    def node_lock(self, name=NODE):
        """An open file that holds what concerns the whole node until closed. Raises OSError when another has it for NODE_LOCK_LIMIT_S."""
        end_mono = time.monotonic() + NODE_LOCK_LIMIT_S
        while True:
            lock = self.lock(name, "")
            if lock is not None:
                return lock
            if time.monotonic() > end_mono:
                raise TimeoutError("another order has held this node for %.0f s" % NODE_LOCK_LIMIT_S)
            time.sleep(POLL_S)

    def save_fence(self, name, fence):
        """Raises OSError; on a full disk a fence that is there already is written over in its place."""
        path = self._path("fences", name + ".json")
        text = json.dumps(fence).ljust(FENCE_BYTES)
        try:
            write_private(path, text)
        except OSError:
            with open(path, "r+", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())

    def load_fence(self, name):
        return _read(self._path("fences", name + ".json"))

    def save_note(self, name, note):
        """Something of the node itself. Raises OSError."""
        _write(self._path("", name + ".json"), note)

    def load_note(self, name):
        return _read(self._path("", name + ".json"))

    def forget_note(self, name):
        _remove(self._path("", name + ".json"))

    def save_answer(self, order_id, answer):
        """Keep the last answer to an order for a console that comes back and asks again."""
        folder = self._path("answers", "")
        _write(self._path("answers", _hash(order_id)), answer)
        entries = os.listdir(folder)
        if len(entries) > 2 * ANSWERS_KEPT:
            for entry in sorted(entries, key=lambda entry: _age_key(folder + entry))[:ANSWERS_KEPT]:
                _remove(folder + entry)

    def load_answer(self, order_id):
        return _read(self._path("answers", _hash(order_id)))


def _write_owner(handle, owner):
    """Over what was there, in as many bytes, so that it needs no room on a full disk."""
    try:
        os.pwrite(handle, owner.encode("utf-8", "replace")[:OWNER_BYTES].ljust(OWNER_BYTES), 0)
    except OSError:
        pass  # the lock holds anyway: only who has it cannot be told


def _hash(order_id):
    return hashlib.sha256(order_id.encode("utf-8", "replace")).hexdigest()[:40] + ".json"


def _age_key(path):
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _write(path, value):
    write_private(path, json.dumps(value))


def write_private(path, text):
    """Write beside, then rename: whoever reads sees the old file or the new one. Raises OSError and leaves nothing behind."""
    handle, beside = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync(os.path.dirname(path))
    except BaseException:
        _remove(beside)
        raise


def _sync(folder):
    """The rename itself on disk, so that it outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            value = json.loads(file.read(65536))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass
