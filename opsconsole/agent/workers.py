"""Which workers run on this node and how each fares, looked at once a second in a thread of its own."""

import subprocess
import threading
import time

from opsconsole.protocol import WORKER_FIELDS

from . import processes
from .hostile import plain, rounded
from .metrics import MetricsWindow
from .scrape import NoAnswer, local_address, look

LOOK_INTERVAL_S = 1.0
SILENT_AFTER_S = 2.5
"""A worker whose last answer is older does not answer."""
STOPPED_KEPT_S = 10.0
FAILED_KEPT_S = 600.0
SCAN_INTERVAL_S = 2.0
REAP_LIMIT_S = 1.0
LOG_TAIL_BYTES = 4096
LOG_LINES = 5
REASON_LIMIT = 150
"""Characters of the log's end: the last words of a worker tell most."""


class Watched:
    """One worker: its record, its last look, its process."""

    def __init__(self, record, boot_id, child=None):
        self.record = record
        self.last_look = None
        self.is_gone = False
        self.exit_code = None
        self.retired = False
        self._boot_id = boot_id
        self._child = child
        self._gone_mono = None
        self._window = MetricsWindow()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        due_mono = time.monotonic()
        while not self.retired and not self.is_gone:
            self.check_process()
            if not self.is_gone:
                self._look()
            due_mono = max(due_mono + LOOK_INTERVAL_S, time.monotonic())
            time.sleep(due_mono - time.monotonic() if due_mono > time.monotonic() else 0.2)

    def check_process(self):
        """Whether the process lives; reaps it when it was this agent's child."""
        if not processes.is_same(self.record, self._boot_id):
            self._reap()
            self._gone_mono = self._gone_mono or time.monotonic()
            self.is_gone = True
        return not self.is_gone

    def _reap(self):
        """Take the exit code of a child that has ended, so that no zombie keeps its number."""
        try:
            self.exit_code = None if self._child is None else self._child.wait(timeout=REAP_LIMIT_S)
        except subprocess.TimeoutExpired:
            pass  # not a zombie yet: the next check takes it

    def _look(self):
        try:
            seen = look(local_address(self.record.host), self.record.port)
        except NoAnswer:
            return
        self._window.add(seen.mono_s, seen.metrics)
        self.last_look = seen

    def is_silent(self):
        return self.last_look is None or time.monotonic() - self.last_look.mono_s > SILENT_AFTER_S

    def state(self):
        """(state, phase, reason)."""
        seen = self.last_look
        if self.record.stopped_wall:
            return "STOPPED", None, None
        if self.is_gone:
            return self._state_when_gone()
        if seen is None:
            return "STARTING", "spawn", None
        if self.is_silent():
            return "NOT_READY", None, "does not answer"
        return seen.state or "NOT_READY", seen.phase if seen.state == "STARTING" else None, seen.reason

    def _state_when_gone(self):
        was_leaving = self.last_look is not None and self.last_look.state in ("DRAINED", "STOPPING", "DRAINING")
        if was_leaving and self.exit_code in (0, None):
            return "STOPPED", None, None
        return "FAILED", None, self.why_gone()

    def why_gone(self):
        if self.record.boot_id != self._boot_id:
            return "the node was restarted"
        if self.exit_code is not None and self.exit_code < 0:
            how = "killed by signal %d" % -self.exit_code
        else:
            how = "exited" if self.exit_code is None else "exit code %d" % self.exit_code
        return plain("%s: %s" % (how, (log_tail(self.record.log) or "no output")[-REASON_LIMIT:]))

    def is_over(self):
        """Whether it has been shown for long enough since it ended."""
        if not self.is_gone:
            return False
        kept_s = STOPPED_KEPT_S if self.state()[0] == "STOPPED" else FAILED_KEPT_S
        return time.monotonic() - self._gone_mono > kept_s

    def row(self):
        """{field: value} for each of WORKER_FIELDS; what its last answer does not tell is None."""
        record, window = self.record, self._window
        state, phase, reason = self.state()
        row = dict.fromkeys(WORKER_FIELDS)
        row.update(state=state, phase=phase, reason=reason)
        for field in ("name", "model", "engine", "gpus", "port", "pid", "slots", "started_wall"):
            row[field] = getattr(record, field)
        if self.is_gone or self.is_silent():
            return row
        seen, metrics = self.last_look, self.last_look.metrics
        usage = metrics.get("kv_cache_usage_perc")
        row.update(
            queue_depth=seen.waiting, running=seen.running, requests_total=seen.requests_total,
            tokens_total=_whole(metrics.get("generation_tokens_total")), prompt_tokens_total=_whole(metrics.get("prompt_tokens_total")),
            tokens_per_s=rounded(window.rate("generation_tokens_total")), requests_per_s=rounded(window.rate("request_success_total"), 2),
            kv_used_pct=None if usage is None else rounded(100.0 * usage),
        )
        for prefix, histogram in (("ttft", "time_to_first_token_seconds"), ("itl", "inter_token_latency_seconds")):
            row[prefix + "_p50_ms"] = rounded(window.quantile_ms(histogram, 0.5), 2)
            row[prefix + "_p95_ms"] = rounded(window.quantile_ms(histogram, 0.95), 2)
        return row


class Board:
    """All workers of this node, whoever launched them: the records are read again every SCAN_INTERVAL_S."""

    def __init__(self, records, boot_id):
        self._records = records
        self.boot_id = boot_id
        self._lock = threading.Lock()
        self._watched = {}
        threading.Thread(target=self._scan_for_ever, daemon=True).start()

    def _scan_for_ever(self):
        while True:
            try:
                self.scan()
            except OSError:
                pass  # the disk is ill: what is known stays on the board
            time.sleep(SCAN_INTERVAL_S)

    def scan(self):
        names = self._records.names()
        for name in names:
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
            if known and (known.record.pid, known.record.start_time) == (record.pid, record.start_time):
                known.record = record
            elif record.pid is not None:
                self._put(Watched(record, self.boot_id))

    def put(self, record, child):
        """A worker that this agent has just started."""
        with self._lock:
            self._put(Watched(record, self.boot_id, child))

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

    def rows(self):
        with self._lock:
            watched = [self._watched[name] for name in sorted(self._watched)]
        return [each.row() for each in watched]

    def loads(self):
        """[(gpus, busy share 0..1, tokens/s or None, pid, name)] of the living, for simulated GPUs."""
        with self._lock:
            living = [each for each in self._watched.values() if not each.is_gone]
        return [(each.record.gpus, _busy_share(each), each.row()["tokens_per_s"], each.record.pid, "python") for each in living]


def _busy_share(watched):
    seen, slots = watched.last_look, watched.record.slots
    if watched.is_silent() or not seen.running or not slots:
        return 0.0
    return min(1.0, seen.running / slots)


def _whole(value):
    return None if value is None else int(value)


def log_tail(path):
    """The last lines a worker wrote, plain and bounded; None when there is nothing."""
    try:
        with open(path, "rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - LOG_TAIL_BYTES))
            lines = [plain(line) for line in log.read(LOG_TAIL_BYTES).splitlines()[-LOG_LINES:]]
    except (OSError, TypeError):
        return None
    text = " | ".join(line for line in lines if line)
    return text or None
