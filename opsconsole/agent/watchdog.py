"""A question that may never be answered is asked in a thread of its own, so that only its own value goes missing."""

import threading
import time

from .hostile import plain

LATE_S = 0.9


class Probe:
    """Asks `question(probe)` once for each `begin`, in a daemon thread, and shows whether it hangs.

    `question` is a generator: each value it yields replaces `answer`, so a quick part is there before a slow one.
    It names what it is about to ask in `probe.call`. `finished` is called (in the probe's thread) at the first value of each round.
    """

    def __init__(self, question, finished):
        self.answer = None
        """The last value, or None before the first."""
        self.call = None
        self.trouble = None
        """What the question raised in the last round, or None."""
        self.is_fresh = False
        """Whether this round has given a value."""
        self._question = question
        self._finished = finished
        self._begun_mono = None
        self._retired = False
        self._wanted = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def begin(self):
        """Ask again, unless the last round is still under way."""
        if self._begun_mono is None:
            self.is_fresh = False
            self._begun_mono = time.monotonic()
            self._wanted.set()

    def retire(self):
        self._retired = True
        self._wanted.set()

    def waited_s(self):
        """How long the round under way has lasted; 0 when none is."""
        begun_mono = self._begun_mono
        return 0.0 if begun_mono is None else time.monotonic() - begun_mono

    def is_settled(self):
        """Whether a tick need not wait for it: it has answered, or is so late that waiting would only delay the others."""
        return self.is_fresh or self.waited_s() > LATE_S

    def hang(self, limit_s):
        """The text of a hang longer than `limit_s`, or None."""
        if self.waited_s() < limit_s:
            return None
        return "PROBE_HANG: %s did not answer in %.0f s" % (self.call or "the question", limit_s)

    def _serve(self):
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._retired:
                return
            self._ask()

    def _ask(self):
        try:
            for answer in self._question(self):
                self.answer, self.trouble = answer, None
                self._publish()
        except Exception as error:
            self.trouble = plain("%s: %s" % (type(error).__name__, error))
        self._begun_mono = None
        self._publish()

    def _publish(self):
        if not self.is_fresh:
            self.is_fresh = True
            self._finished()
