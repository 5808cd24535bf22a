"""How one worker of this node fares: its process and its own word, looked at once a second in a thread of its own."""

import threading
import time

from opsconsole.protocol import WORKER_FIELDS

from . import processes, units
from .hostile import plain, rounded
from .keeper import is_kept
from .metrics import MetricsWindow
from .scrape import NoAnswer, look

LOOK_INTERVAL_S = 1.0
SILENT_AFTER_S = 2.5
"""A worker whose last answer is older does not answer."""
STOPPED_KEPT_S = 10.0
FAILED_KEPT_S = 600.0
LOG_TAIL_BYTES = 4096
LOG_LINES = 5
REASON_LIMIT = 150
"""Characters of the log's end: the last words of a worker tell most."""


class Watched:
    """One launch of a worker: its record, its last look, its process, which may be started again."""

    def __init__(self, record, records, boot_id, fences, looked):
        """looked: called after the first look."""
        self.record = record
        self.last_look = None
        self.is_gone = False
        self.retired = False
        self._looked = looked
        self.has_looked = False
        """Whether it has been asked once, with an answer or without."""
        self._is_between = False
        """Whether it has crashed and is about to be started again."""
        self._records = records
        self._boot_id = boot_id
        self._fences = fences
        self._gone_mono = None
        self._window = MetricsWindow()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        due_mono = time.monotonic()
        while not self.retired and not self.is_gone:
            if self.check_process() and not self._is_between:
                self._look()
            if not self.has_looked:
                self.has_looked = True
                self._looked()
            due_mono = max(due_mono + LOOK_INTERVAL_S, time.monotonic())
            time.sleep(due_mono - time.monotonic() if due_mono > time.monotonic() else 0.2)

    def check_process(self):
        """Whether the process lives, or is about to be started again."""
        if not processes.is_same(self.record, self._boot_id):
            self._reread()
        self._is_between = not processes.is_same(self.record, self._boot_id) and self._will_start_again()
        if not self._is_between and not processes.is_same(self.record, self._boot_id):
            self._reread()
            self._gone_mono = self._gone_mono or time.monotonic()
            self.is_gone = True
        return not self.is_gone

    def _reread(self):
        newest = self._records.load(self.record.name)
        if newest is not None and newest.order == self.record.order:
            self.follow(newest)

    def follow(self, record):
        """Take its newest record, which may tell of another process."""
        if record.start_time != self.record.start_time or record.pid != self.record.pid:
            self.last_look = None
        self.record = record

    def _will_start_again(self):
        record = self.record
        if record.stopped_wall or record.failed or record.boot_id != self._boot_id:
            return False
        # systemd is asked about a unit that leaves, too: it alone knows how that ended
        starts_again = self._unit_starts_again(record) if record.unit else is_kept(record, self._boot_id)
        return starts_again and not self._records.is_leaving(record.name)

    def _unit_starts_again(self, record):
        """Ask systemd what became of the unit, and keep what it says."""
        shown = units.show(record)
        pid, restarts = int(shown.get("MainPID") or 0), units.restarts(shown)
        is_over = shown.get("ActiveState") in ("failed", "inactive")
        if pid and pid != record.pid:
            self._keep(pid=pid, start_time=processes.start_time(pid), restarts=restarts)
        elif shown and not pid:
            has_failed = shown.get("ActiveState") == "failed" and restarts
            failed = "crash loop: %d starts" % min(restarts + 1, units.STARTS_LIMIT) if has_failed else None
            ended = {"exit_code": units.exit_code(shown), "result": shown.get("Result"), "restarts": restarts, "failed": failed}
            if any(getattr(record, field) != value for field, value in ended.items()):
                self._keep(**ended)
        return bool(shown) and not is_over

    def _keep(self, **values):
        try:
            newest = self._records.update(self.record, **values)
        except OSError:
            return  # a full disk: asked again at the next look
        if newest is not None:
            self.follow(newest)

    def _look(self):
        try:
            seen = look(self.record)
        except NoAnswer:
            return
        self._window.add(seen.mono_s, seen.metrics)
        self.last_look = seen
        if seen.state == "READY" and not self.record.ready_wall:
            self._keep(ready_wall=round(time.time(), 3))

    def is_silent(self):
        return self.last_look is None or time.monotonic() - self.last_look.mono_s > SILENT_AFTER_S

    def state(self):
        """(state, phase, reason)."""
        record, seen = self.record, self.last_look
        if record.orphans:
            return self._state_of_orphans()
        if record.stopped_wall:
            return "STOPPED", None, None
        if self.is_gone:
            return self._state_when_gone()
        if self._is_between:
            return "STARTING", "spawn", plain("start %d after: %s" % ((record.restarts or 0) + 2, self.why_gone()))
        if seen is None:
            return ("NOT_READY", None, "does not answer") if record.ready_wall else ("STARTING", "spawn", None)
        if self.is_silent():
            return "NOT_READY", None, "does not answer"
        if record.spec is not None:
            return self._state_by_metrics(seen)
        return seen.state or "NOT_READY", seen.phase if seen.state == "STARTING" else None, seen.reason

    def _state_by_metrics(self, seen):
        """Of an engine that tells no state: whether it is drained is what its router and this node do with it."""
        if self._records.is_leaving(self.record.name):
            return "DRAINED" if seen.in_flight == 0 else "DRAINING", None, None
        if seen.state == "READY":
            return "READY", None, None
        return ("NOT_READY", None, "says that it is not ready") if self.record.ready_wall else ("STARTING", "load", None)

    def _state_of_orphans(self):
        left = processes.living(self.record.orphans)
        if not left or self.record.boot_id != self._boot_id:
            return "STOPPED", None, None
        return "FAILED", None, "ORPHAN: processes %s live" % ", ".join(str(pid) for pid, _start_time in left[:8])

    def _state_when_gone(self):
        was_leaving = self.last_look is not None and self.last_look.state in ("DRAINED", "STOPPING", "DRAINING")
        if was_leaving and self.record.exit_code in (0, None):
            return "STOPPED", None, None
        return "FAILED", None, self.why_gone()

    def why_gone(self):
        record = self.record
        if record.boot_id != self._boot_id:
            return "the node was restarted"
        code = record.exit_code
        how = "exited" if code is None else "killed by signal %d" % -code if code < 0 else "exit code %d" % code
        how = units.WHY_ENDED.get(record.result, how) if record.unit else how
        how = "%s: %s" % (record.failed, how) if record.failed else how
        return plain("%s: %s" % (how, (log_tail(record.log) or "no output")[-REASON_LIMIT:]))

    def is_over(self):
        """Whether it has been shown for long enough since it ended; an orphan is shown until it is gone."""
        if not self.is_gone or self.state()[2] and self.record.orphans:
            return False
        kept_s = STOPPED_KEPT_S if self.state()[0] == "STOPPED" else FAILED_KEPT_S
        return time.monotonic() - self._gone_mono > kept_s

    def row(self):
        """{field: value} for each of WORKER_FIELDS; what its last answer does not tell is None."""
        record, window = self.record, self._window
        state, phase, reason = self.state()
        row = dict.fromkeys(WORKER_FIELDS)
        row.update(state=state, phase=phase, reason=reason)
        for field in ("name", "model", "engine", "gpus", "port", "pid", "slots", "started_wall", "checkpoint"):
            row[field] = getattr(record, field)
        row.update(generation=self._fences.last_seen(record.name), restarts=record.restarts or 0)
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
