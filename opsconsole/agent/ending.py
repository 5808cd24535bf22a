"""The end of a worker and its proof: its processes are gone, its port is closed, its GPU memory is back; what is left is an orphan."""

import signal
import socket
import time

from opsconsole.protocol import GPU_COLUMNS

from . import processes, units
from .answers import finish, refuse
from .keeper import dismiss
from .scrape import local_address

EXIT_LIMIT_S = 30.0
"""How long an idle worker may take to end after SIGTERM, where its engine does not say."""
TERM_TO_KILL_S = 5.0
KILL_LIMIT_S = 5.0
SETTLE_S = 0.3
GPU_LIMIT_S = 6.0
"""How long the driver may take to show that memory is free again."""
FREED_MIB = 256
"""A GPU's memory must fall by so much at least to prove that a worker's is back."""
USED = GPU_COLUMNS.index("mem_used_mib")


def exit_limit_s(record):
    return record.spec["term_limit_s"] if record.spec else EXIT_LIMIT_S


class Ending:
    """The end of one worker. Its making keeps it from being started again, and remembers what must be gone afterwards."""

    def __init__(self, watched, node):
        self._watched, self._node = watched, node
        try:
            node.records.set_leaving(watched.record.name, True)
        except OSError:
            pass  # a full disk: its keeper, which would start it again, is dismissed anyway
        watched.follow(dismiss(node.records, watched.record))
        record = watched.record
        self._group = units.show(record).get("ControlGroup", "") if record.unit else ""
        members = self._members()
        self._family = members + [mark for mark in processes.descendants(record.pid) if mark not in members]
        self._held_before, self._used_before = self._gpu_memory()

    def gently(self, told):
        """SIGTERM to an idle worker, as the last Answer. told: () -> what else the answer's detail says."""
        limit_s = exit_limit_s(self._watched.record)
        self._terminate()
        if not self._has_ended_within(limit_s):
            return refuse("did not end within %.0f s of SIGTERM; held" % limit_s, **dict(told(), held=True, in_flight=None))
        return self.proven("stopped", told())

    def by_force(self, meanwhile=lambda: None):
        """SIGTERM, then SIGKILL to its whole session. Whether it has ended."""
        self._terminate()
        if not self._has_ended_within(TERM_TO_KILL_S, meanwhile):
            processes.kill_group(self._watched.record, self._node.board.boot_id)
            self._has_ended_within(KILL_LIMIT_S)
        return not self._watched.check_process()

    def _terminate(self):
        record, boot_id = self._watched.record, self._node.board.boot_id
        if record.unit and processes.is_same(record, boot_id) and units.stop_unit(record):
            return
        processes.send_signal(record, boot_id, signal.SIGTERM)

    def _has_ended_within(self, limit_s, meanwhile=lambda: None):
        end_mono = time.monotonic() + limit_s
        while self._watched.check_process() and time.monotonic() < end_mono:
            meanwhile()
            time.sleep(0.1)
        return not self._watched.check_process()

    def proven(self, text, detail):
        """The last Answer about a worker whose process has ended: what is left of its session is killed, what then is left is an orphan."""
        record = self._watched.record
        if self._family_left():
            processes.kill_group(record, self._node.board.boot_id)
            time.sleep(SETTLE_S)
            end_mono = time.monotonic() + (KILL_LIMIT_S if record.unit else 0.0)  # systemd kills what is left of a unit
            while self._family_left() and time.monotonic() < end_mono:
                time.sleep(SETTLE_S)
        left, memory = self._family_left(), self._memory_proof()
        if record.unit:
            units.forget_unit(record)
        self._note_end(left)
        port = "port %d still answers" % record.port if _is_open(record.host, record.port) else None
        if left or port or memory is False:
            pids = [pid for pid, _start_time in left]
            what = "processes %s live" % ", ".join(map(str, pids[:8])) if left else port or "its GPU memory is still held"
            return refuse("ORPHAN: %s" % what, **dict(detail, orphans=pids))
        empty = "its session and its control group are empty" if self._group else "its session is empty"
        proof = "pid %d started at %s is gone, %s, port %d is closed, %s" % (record.pid, record.start_time, empty, record.port, memory)
        return finish(text, **dict(detail, proof=proof))

    def _family_left(self):
        """[[pid, start_time], ...] of those that were its own and still live."""
        members = self._members()
        return members + [mark for mark in processes.living(self._family) if mark not in members]

    def _members(self):
        """[[pid, start_time], ...] of what lives in its session and in the control group of its unit."""
        pids = {*processes.group_members(self._watched.record.pid), *units.members(self._group)}
        return [[pid, start_time] for pid in sorted(pids) for start_time in [processes.start_time(pid)] if start_time]

    def _gpu_memory(self):
        """({pid of this worker's that holds memory of a GPU}, MiB used on each of its GPUs)."""
        reading, family = self._node.source.reading(), {pid for pid, _start_time in self._family}
        rows = [row for row in self._watched.record.gpus if row < len(reading.rows)]
        held = {pid for row, pid, _name, _mib in reading.procs if row in rows and pid in family}
        return held, {row: reading.rows[row][USED] for row in rows}

    def _memory_proof(self):
        """How it is known that the GPUs' memory is free again, in words; False when it is known not to be."""
        if not self._watched.record.gpus:
            return "it had no GPU"
        end_mono = time.monotonic() + GPU_LIMIT_S
        while time.monotonic() < end_mono:
            held, used = self._gpu_memory()
            before = {row: mib for row, mib in self._used_before.items() if None not in (mib, used.get(row))}
            fell = [row for row, mib in before.items() if used[row] <= mib - FREED_MIB]
            if len(fell) == len(self._used_before) and fell and not held:
                return "GPU memory is back (%s)" % ", ".join("GPU %d: %d to %d MiB" % (row, before[row], used[row]) for row in fell)
            if self._held_before and not held:
                return "its processes hold no GPU memory"
            if not self._held_before and not fell and time.monotonic() > end_mono - GPU_LIMIT_S / 2:
                break
            time.sleep(SETTLE_S)
        return False if self._held_before else "GPU memory unknown"

    def _note_end(self, left):
        """The record says that it was ended on purpose, and what outlived it."""
        stopped_wall = round(time.time(), 3)
        try:
            newest = self._node.records.update(self._watched.record, stopped_wall=stopped_wall, orphans=left or None)
        except OSError:
            newest = None  # a full disk must not keep a drain from ending; this agent's board knows
        if newest is None:
            self._watched.record.stopped_wall, self._watched.record.orphans = stopped_wall, left or None
        else:
            self._watched.follow(newest)


def _is_open(host, port):
    try:
        socket.create_connection((local_address(host), port), timeout=1.0).close()
    except OSError:
        return False
    return True
