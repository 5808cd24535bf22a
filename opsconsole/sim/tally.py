"""Counts what became of the demo's requests, so that "no request lost" is a figure on the screen and not a claim."""

from collections import deque
from dataclasses import dataclass, field

TTFT_WINDOW_S = 10.0
TTFT_WINDOW_LEN = 2000


@dataclass
class Tally:
    """Since the start. A request that was sent is, in the end, exactly one of ok, failed, refused or abandoned."""

    sent: int = 0
    ok: int = 0
    """Answered whole: a finish_reason and [DONE]."""
    failed: int = 0
    """Cut, malformed, or an error after it may have begun."""
    refused: int = 0
    """Told before anybody began it: 429, 503 or 504."""
    skipped: int = 0
    """Never sent: too many were in flight already."""
    abandoned: int = 0
    """Still open when the traffic was told to end."""
    in_flight: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """How often each reason was met."""
    _ttfts: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=TTFT_WINDOW_LEN))

    def begin(self) -> None:
        self.sent += 1
        self.in_flight += 1

    def end(self, ending: str, reason: str = "") -> None:
        """Count an ending that has a field of its own name."""
        self.in_flight -= 1
        setattr(self, ending, getattr(self, ending) + 1)
        if reason:
            self.failures[reason] = self.failures.get(reason, 0) + 1

    def note_ttft(self, now_s: float, ttft_s: float) -> None:
        self._ttfts.append((now_s, ttft_s))

    def ttft_p95_ms(self, now_s: float) -> float | None:
        """Over the last ten seconds; None: no answer began in them."""
        recent = sorted(ttft_s for at_s, ttft_s in self._ttfts if at_s > now_s - TTFT_WINDOW_S)
        return round(recent[int(0.95 * (len(recent) - 1))] * 1000, 1) if recent else None

    def report(self, now_s: float) -> dict:
        counts = {name: getattr(self, name) for name in ("sent", "ok", "failed", "refused", "skipped", "abandoned", "in_flight")}
        return {"event": "traffic", **counts, "ttft_p95_ms": self.ttft_p95_ms(now_s)}
