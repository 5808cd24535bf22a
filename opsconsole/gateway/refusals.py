"""What a client reads when the gateway has to say no: the error shape of the OpenAI API, which client libraries know how to raise."""

import json
import math

from aiohttp import web


class Refusal(Exception):
    """An answer of the gateway's own; `outcome` is the word its metrics count it under."""

    def __init__(self, status: int, outcome: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.outcome = outcome
        self.retry_after_s = retry_after_s

    def response(self) -> web.Response:
        response = web.json_response(error_object(self.status, self.outcome, str(self)), status=self.status)
        if self.retry_after_s is not None:
            response.headers["Retry-After"] = str(self.retry_after_s)
        return response


def error_object(status: int, code: str, message: str) -> dict:
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_event(code: str, message: str) -> bytes:
    """The last event of a stream that could not go on. The blank line first ends an event that was cut between two lines."""
    return b"\ndata: " + json.dumps(error_object(502, code, message)).encode() + b"\n\n"


def bad_request(message: str) -> Refusal:
    return Refusal(400, "bad_request", message)


def too_large(limit_mib: int) -> Refusal:
    return Refusal(413, "bad_request", f"the request is larger than {limit_mib} MiB")


def unknown_model(model: str) -> Refusal:
    return Refusal(404, "unknown_model", f"the model {model!r} is not served here")


def queue_full(model: str) -> Refusal:
    return Refusal(429, "queue_full", f"too many requests wait for {model!r}", retry_after_s=1)


def queue_timeout(model: str, waited_s: float) -> Refusal:
    return Refusal(504, "queue_timeout", f"no worker of {model!r} took the request within {waited_s:g} s; none has begun it")


def not_taken_over(model: str, waited_s: float) -> Refusal:
    return Refusal(502, "broken", f"the answer was cut, and no worker of {model!r} took it over within {waited_s:g} s")


def nobody_to_go_on(model: str) -> Refusal:
    return Refusal(502, "broken", f"the answer was cut, and no other worker of {model!r} serves the weights that began it")


def too_late(model: str, late_s: float) -> Refusal:
    message = f"no worker of {model!r} would answer by X-Deadline-Ms, by about {late_s:.1f} s; none has begun it"
    return Refusal(503, "too_late", message, retry_after_s=max(1, math.ceil(late_s)))


def expired(model: str) -> Refusal:
    return Refusal(503, "expired", f"X-Deadline-Ms passed before a worker of {model!r} was free; none has begun it", retry_after_s=1)


def stopping() -> Refusal:
    return Refusal(503, "stopping", "the gateway is stopping", retry_after_s=1)


def broken_off(message: str) -> Refusal:
    return Refusal(502, "broken", message)


def broken(worker: str, reason: str) -> Refusal:
    return Refusal(502, "broken", f"worker {worker} failed after it may have begun the request: {reason}")
