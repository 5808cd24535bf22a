"""How fast one worker answers, learnt from its own answers: what decides which of the free workers will answer first."""

from dataclasses import dataclass

SHARE_OF_NEWEST = 0.2
"""Weight of the newest answer in the moving averages."""
VALID_S = 30.0
"""A measure that is older says nothing any more: a worker that was slow once (it compiled) must get another chance."""
TYPICAL_TOKENS = 64


@dataclass(slots=True)
class Pace:
    """Moving averages, in seconds; None before the first answer."""

    ttft_s: float | None = None
    """From sending a request to the first bytes of its stream."""
    token_s: float | None = None
    """Between two events of one stream."""
    service_s: float | None = None
    """From sending a request to the end of its answer: how long it keeps its slot."""
    learnt_s: float = 0.0
    """When the latest answer ended."""

    def learn(self, sent_s: float, first_s: float | None, events: int, ended_s: float) -> None:
        """A whole answer. first_s: None when it was not streamed."""
        self.service_s = _mixed(self.service_s, ended_s - sent_s)
        if first_s is not None:
            self.ttft_s = _mixed(self.ttft_s, first_s - sent_s)
            if events > 1:
                self.token_s = _mixed(self.token_s, (ended_s - first_s) / (events - 1))
            self.learnt_s = ended_s

    def answer_s(self, now_s: float) -> float | None:
        """What a typical answer takes there; None when nobody can say."""
        if self.ttft_s is None or now_s - self.learnt_s > VALID_S:
            return None
        return self.ttft_s + TYPICAL_TOKENS * (self.token_s or 0.0)


def _mixed(old: float | None, new: float) -> float:
    return new if old is None else old + SHARE_OF_NEWEST * (new - old)
