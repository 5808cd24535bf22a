"""Starts one worker, and again when it crashes, three times at most: a process of its own that outlives the agent and its connection.

The agent sends the command on standard input and reads one line: which process it became, or why none. SIGTERM tells the keeper to
start nothing any more, which it confirms in the record: whoever ends a worker dismisses its keeper first. Only crashes count: a worker
that ends with 0, or by a signal that asks to end, is left ended, and so is one that crashes while it is drained.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time

from . import processes
from .records import Record, Records

STARTS_LIMIT = 3
STARTS_WINDOW_S = 300.0
"""Only starts within it count: a worker that has served for long gets its three starts anew."""
BACKOFF_S = 1.0
"""Before the second start; twice as long before the third."""
CLEAN = (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE)
"""Exit codes that are no failure, as systemd sees it."""
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from opsconsole.agent.keeper import main; main(*sys.argv[2:])"
TELL_LIMIT_S = 10.0
DISMISS_LIMIT_S = 2.0


def start_kept(records, record, argv, variables):
    """The record of the worker that a new keeper has started, saved. Raises OSError when it could not be.

    The keeper is on record before it is told what to start: whoever clears up finds it, even if this agent ends now.
    """
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # a folder, or the agent's zip
    log = os.open(record.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOT, root, records.work_dir, record.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, env=variables, cwd=records.work_dir, start_new_session=True,
        )
    finally:
        os.close(log)
    record.keeper = [keeper.pid, processes.start_time(keeper.pid)]
    try:
        records.save(record)
    except OSError:
        keeper.kill()
        raise
    said = _ask(keeper, {"argv": argv, "record": record.as_dict()})
    if "record" not in said:
        records.forget(record.name)
        raise OSError(said.get("error") or "the worker's keeper ended at once")
    return Record(**said["record"])


def _ask(keeper, order):
    """Its one line. A keeper that says nothing is ended."""
    try:
        keeper.stdin.write(json.dumps(order).encode())
        keeper.stdin.close()
        if select.select([keeper.stdout], [], [], TELL_LIMIT_S)[0]:
            return json.loads(keeper.stdout.readline() or b"{}")
    except (OSError, ValueError) as error:
        return {"error": "the worker's keeper: %s" % error}
    finally:
        keeper.stdout.close()
    keeper.kill()
    return {"error": "the worker's keeper did not answer within %.0f s" % TELL_LIMIT_S}


def dismiss(records, record):
    """Let it not be started again; the record as it then is, since the keeper may just have done so."""
    boot_id = processes.boot_id()
    keeper = _process(record)
    for number in (signal.SIGTERM, signal.SIGKILL) if keeper else ():
        processes.send_signal(keeper, boot_id, number)
        end_mono = time.monotonic() + DISMISS_LIMIT_S
        while processes.is_same(keeper, boot_id) and _newest(records, record).keeper and time.monotonic() < end_mono:
            time.sleep(0.02)
        if not _newest(records, record).keeper or not processes.is_same(keeper, boot_id):
            break
    return _newest(records, record)


def _newest(records, record):
    newest = records.load(record.name)
    return newest if newest is not None and newest.order == record.order else record


def _process(record):
    """The keeper as a record of its own, or None."""
    return Record(pid=record.keeper[0], start_time=record.keeper[1], boot_id=record.boot_id) if record.keeper else None


def is_kept(record, boot_id):
    """Whether a keeper watches over it, which may be about to start it again."""
    return bool(record.keeper) and processes.is_same(_process(record), boot_id)


class Keeper:
    """One worker's starts and ends. SIGTERM and SIGCHLD are blocked and waited for, so that neither comes in the middle of a start."""

    def __init__(self, records, record, argv):
        self._records, self._record, self._argv = records, record, argv
        self._starts_mono = []
        self._child = None

    def begin(self):
        """The first start: the record, saved. Raises OSError."""
        if signal.SIGTERM in signal.sigpending():
            raise OSError("ended before it was started")
        self._start()
        try:
            record = self._records.update(self._record, pid=self._record.pid, start_time=self._record.start_time)
        except OSError:
            self._child.kill()
            raise
        if record is None:
            self._child.kill()
            raise OSError("forgotten while it was started")
        return record

    def _start(self):
        self._starts_mono.append(time.monotonic())
        self._child = subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=2, stderr=2, start_new_session=True,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, []),  # noqa: PLW1509 (this process has one thread)
        )
        self._record.pid, self._record.start_time = self._child.pid, processes.start_time(self._child.pid)

    def keep(self):
        """Until the worker has ended for good."""
        while True:
            if signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM:
                self._records.update(self._record, keeper=None)
                self._records.update(self._record, exit_code=self._child.wait())
                return
            if self._child.poll() is not None and not self._start_again():
                return

    def _start_again(self):
        """Whether the worker that has just ended runs again, which its record then tells."""
        code, recent = self._child.returncode, self._recent_starts()
        record = self._records.update(self._record, exit_code=code)
        if record is None or record.stopped_wall or code in CLEAN or self._records.is_leaving(record.name):
            return False
        if len(recent) >= STARTS_LIMIT:
            failed = "crash loop: %d starts in %.0f s" % (len(recent), time.monotonic() - recent[0])
            self._records.update(record, failed=failed)
            return False
        if _is_dismissed_within(BACKOFF_S * 2 ** (len(recent) - 1)) or self._records.is_leaving(record.name):
            return False
        try:
            self._start()
        except OSError as error:
            self._records.update(record, failed="could not be started again: %s" % error)
            return False
        return self._note_start(record)

    def _note_start(self, record):
        started = {"pid": self._record.pid, "start_time": self._record.start_time, "restarts": (record.restarts or 0) + 1}
        try:
            is_known = self._records.update(record, started_wall=round(time.time(), 3), **started) is not None
        except OSError:
            is_known = False
        if not is_known:
            self._child.kill()  # a full disk, or forgotten meanwhile: nobody would know of it
        return is_known

    def _recent_starts(self):
        oldest_mono = time.monotonic() - STARTS_WINDOW_S
        return [start_mono for start_mono in self._starts_mono if start_mono >= oldest_mono]


def _is_dismissed_within(limit_s):
    end_mono = time.monotonic() + limit_s
    while signal.SIGTERM not in signal.sigpending():
        if time.monotonic() >= end_mono:
            return False
        time.sleep(0.05)
    return True


def main(work_dir, name):
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    order = json.load(sys.stdin)
    keeper = Keeper(Records(work_dir), Record(**dict(order["record"], name=name)), order["argv"])
    try:
        said = {"record": keeper.begin().as_dict()}
    except OSError as error:
        said = {"error": str(error)}
    try:
        os.write(1, json.dumps(said).encode() + b"\n")
    except OSError:
        pass  # the agent has ended: the record tells the next one
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    if "record" in said:
        keeper.keep()
