"""The journey of one second on a node, and of one order.

The console starts `python3 agent.zip` over SSH and writes lines to its standard input; this module's loop (`Agent.run`) is the only
reader of that pipe and the only writer of standard output. At each tick it asks every source to begin a reading: a thread for each
GPU (`nvml`), one for the node (`host`); each worker is looked at by a thread of its own (`workers`). When all have answered, or
COLLECT_LIMIT_S later, what is known becomes one sample; what hung is null and named in gpu_errors. An order (`orders`) runs in a
thread of its own and its answers go through the same outbox (`lines`), which never blocks and never drops them.

Nothing here outlives the console but the workers: the end of standard input, SILENCE_LIMIT_S without a word, SIGTERM or SIGHUP end
the agent at once, even while an NVML call hangs.
"""

import os
import select
import signal
import sys
import time

from opsconsole.protocol import MAGIC, NODE_COLUMNS, PROBE_LIMIT_S, PROTOCOL_VERSION, SILENCE_LIMIT_S

from . import AGENT_VERSION, processes
from .board import Board
from .fences import Fences
from .gpus import by_column, choose, facts_by_column
from .host import HostUsage, host_facts
from .hostile import finite, plain
from .launch import spawning
from .lines import Inbox, Outbox
from .orders import VERBS, Desk, Node
from .records import Records
from .units import find_manager
from .watchdog import Probe

HELLO_LIMIT_S = 5.0
COLLECT_LIMIT_S = 0.2
"""How long a tick waits for its slowest GPU; those that are later show in the next sample."""
FIRST_COLLECT_LIMIT_S = 1.0
"""The first tick waits longer: the driver is being initialised."""
HOST_FACTS_AGE_LIMIT_S = 30.0
INTERVAL_LIMITS_S = (0.1, 60.0)
SPAWN_LIMIT_S = 0.15
"""How long the end waits for a worker's start to be recorded."""
DEFAULT_WORK_DIR = "~/.local/state/opsconsole"


class Settings:
    """What the hello asked for, each with a default, within limits."""

    def __init__(self, hello):
        self.interval_s = _within(hello.get("interval_s"), *INTERVAL_LIMITS_S, default=1.0)
        self.silence_limit_s = _within(hello.get("silence_limit_s"), 0.5, 3600.0, default=SILENCE_LIMIT_S)
        self.gpus = _text(hello.get("gpus")) or "nvml"
        self.work_dir = _text(hello.get("work_dir")) or DEFAULT_WORK_DIR
        self.worker_python = _text(hello.get("worker_python")) or sys.executable


def _text(value):
    return value if isinstance(value, str) and "\0" not in value else None


def _within(value, lowest, highest, default):
    value = finite(value)
    return default if value is None else min(max(value, lowest), highest)


class Agent:
    """Built in two parts: the pipes first, so that MAGIC is out at once; the sources when the hello has come."""

    def __init__(self):
        self._wake_in, wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(wake_out, False)
        self._wake_out = wake_out
        self._is_ending = False
        self._inbox = Inbox(0)
        self._outbox = Outbox(1, self._wake)
        self._heard_mono = time.monotonic()
        self._sequence = 0
        self._collect_due_mono = None
        """Until when the tick under way waits for answers; None between ticks."""
        self._early_orders = []
        self._host_facts_due_mono = 0.0
        self._facts = None
        self._settings = None

    def run(self):
        self._catch_signals()
        self._outbox.say_text(MAGIC)
        self._hello_due_mono = time.monotonic() + HELLO_LIMIT_S
        while not self._is_ending:
            self._wait(self._advance())

    def _catch_signals(self):
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def _end(self, *_signal):
        self._is_ending = True

    def _wake(self):
        try:
            os.write(self._wake_out, b".")
        except OSError:
            pass  # the pipe is full, so the loop will wake

    def _wait(self, until_mono):
        """Write what the pipe takes; sleep until something arrives, can be written, or is due; read."""
        if not self._outbox.flush():
            self._end()
            return
        writable = [1] if self._outbox.is_waiting else []
        try:
            readable, _, _ = select.select([0, self._wake_in], writable, [], max(0.0, until_mono - time.monotonic()))
        except OSError:
            self._end()
            return
        if self._wake_in in readable:
            os.read(self._wake_in, 4096)
        if 0 in readable:
            self._listen()

    def _listen(self):
        messages, complaints = self._inbox.receive()
        if self._inbox.closed:
            self._end()
        self._heard_mono = time.monotonic()
        for text in complaints:
            self._outbox.say({"t": "trouble", "text": text})
        for message in messages:
            self._obey(message)

    def _obey(self, message):
        op = message.get("op")
        if op == "hello" and self._settings is None:
            self._open(message)
        elif op in VERBS or (op not in ("hello", "ping") and "id" in message):
            if self._settings is None:
                self._open({})
            self._early_orders.append(message)
            self._take_orders()

    def _take_orders(self):
        """Orders wait for the first sample: before it nobody knows which GPUs there are."""
        while self._sequence and self._early_orders:
            self._desk.take(self._early_orders.pop(0))

    def _open(self, hello):
        """Every source, as the hello (or its absence) says."""
        self._settings = settings = Settings(hello)
        self._boot_id = processes.boot_id()
        records = Records(settings.work_dir)
        try:
            records.open()
        except OSError as error:
            self._outbox.say({"t": "trouble", "text": plain("work_dir cannot be used: %s" % error)})
        fences = Fences(records)
        self._board = Board(records, self._boot_id, fences, self._wake)
        self._host = Probe(HostUsage(records.work_dir).read, self._wake)
        self._source = choose(settings.gpus, self._wake, self._board.loads)
        systemd = find_manager() if self._source.name == "nvml" else (None, "several simulated nodes share this machine")
        self._desk = Desk(Node(records, self._board, self._source, settings.worker_python, fences, *systemd), self._outbox.say)
        self._first_tick_mono = self._tick_due_mono = time.monotonic()

    def _advance(self):
        """Do what is due; give the moment when the next thing is."""
        now_mono = time.monotonic()
        silence_limit_s = self._settings.silence_limit_s if self._settings else SILENCE_LIMIT_S
        silent_mono = self._heard_mono + silence_limit_s
        if now_mono >= silent_mono:
            self._end()
        if self._settings is None:
            if now_mono < self._hello_due_mono:
                return self._hello_due_mono
            self._open({})
        return min(silent_mono, self._tick(now_mono))

    def _tick(self, now_mono):
        """Ask at the tick, tell when all have answered; give the moment of the next of the two."""
        if self._collect_due_mono is None:
            if now_mono < self._tick_due_mono:
                return self._tick_due_mono
            self._begin(now_mono)
        if now_mono < self._collect_due_mono and not self._is_settled():
            return self._collect_due_mono
        self._collect_due_mono = None
        self._tell_facts()
        self._tell_sample()
        self._take_orders()
        interval_s = self._settings.interval_s
        ticks = int((time.monotonic() - self._first_tick_mono) / interval_s) + 1  # a tick that was missed is skipped
        self._tick_due_mono = self._first_tick_mono + ticks * interval_s
        return self._tick_due_mono

    def _is_settled(self):
        return self._source.is_ready() and self._host.is_settled() and (self._sequence or self._board.is_settled())

    def _begin(self, now_mono):
        self._tick_wall, self._tick_mono = time.time(), now_mono
        self._source.begin()
        self._host.begin()
        limit_s = COLLECT_LIMIT_S if self._sequence else FIRST_COLLECT_LIMIT_S
        self._collect_due_mono = now_mono + min(limit_s, self._settings.interval_s * (0.5 if self._sequence else 1.0))

    def _tell_facts(self):
        gpu_facts = self._source.facts()
        if self._tick_mono >= self._host_facts_due_mono:
            self._host_facts = host_facts(self._boot_id)
            self._host_facts_due_mono = self._tick_mono + HOST_FACTS_AGE_LIMIT_S
        facts = dict(self._host_facts, t="facts", protocol=PROTOCOL_VERSION, agent=AGENT_VERSION, gpu_source=self._source.name)
        facts.update(driver=gpu_facts.driver, gpu_error=gpu_facts.error, gpus=facts_by_column(gpu_facts.gpus))
        if facts != self._facts:
            self._facts = facts
            self._outbox.say(facts)

    def _tell_sample(self):
        self._sequence += 1
        reading = self._source.reading()
        host_hangs = self._host.answer is None or self._host.hang(PROBE_LIMIT_S)
        self._outbox.say({
            "t": "sample", "seq": self._sequence, "wall": round(self._tick_wall, 3), "mono": round(self._tick_mono, 3),
            "gpu": by_column(reading.rows), "node": [None] * len(NODE_COLUMNS) if host_hangs else self._host.answer,
            "gpu_errors": {str(row): text for row, text in reading.errors.items()}, "procs": reading.procs, "workers": self._board.rows(),
            "cordon": self._board.cordon,
        })


def main():
    """Run until the console is gone. Ends by os._exit: a thread that hangs in the driver must not keep the process."""
    status = 1
    try:
        Agent().run()
        status = 0
    except Exception as error:
        os.write(2, plain("opsconsole agent: %s: %s" % (type(error).__name__, error)).encode() + b"\n")
    finally:
        spawning.acquire(timeout=SPAWN_LIMIT_S)
        os._exit(status)


if __name__ == "__main__":
    main()
