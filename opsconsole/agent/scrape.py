"""One HTTP question to a worker under a true deadline: a worker that hangs, drips or floods costs its own thread less than a second."""

import json
import socket
import time

from opsconsole.protocol import WORKER_PHASES, WORKER_STATES

from .hostile import count, plain
from .metrics import parse

DEADLINE_S = 0.8
BODY_LIMIT_BYTES = 2**20


class NoAnswer(Exception):
    """The worker did not answer in time, or not in HTTP."""


def fetch(host, port, path, method="GET", deadline_s=DEADLINE_S, body=b""):
    """(status, body bytes) of one request. Raises NoAnswer.

    HTTP/1.0 asks the server for neither chunks nor a connection that stays, so the answer ends with its length or the connection.
    """
    end_mono = time.monotonic() + deadline_s
    kind = "Content-Type: application/json\r\n" if body else ""
    request = "%s %s HTTP/1.0\r\nHost: %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n" % (method, path, host, kind, len(body))
    try:
        with socket.create_connection((host, port), timeout=deadline_s) as connection:
            connection.sendall(request.encode() + body)
            return _read_answer(connection, end_mono)
    except OSError as error:
        raise NoAnswer(plain(error)) from error


def _read_answer(connection, end_mono):
    received = b""
    while True:
        left_s = end_mono - time.monotonic()
        if left_s <= 0:
            raise NoAnswer("timed out")
        connection.settimeout(left_s)
        chunk = connection.recv(65536)
        received += chunk
        if len(received) > BODY_LIMIT_BYTES:
            raise NoAnswer("more than %d bytes" % BODY_LIMIT_BYTES)
        head, end_of_head, body = received.partition(b"\r\n\r\n")
        length = _content_length(head) if end_of_head else None
        if not chunk or (length is not None and len(body) >= length):
            return _status(head, end_of_head), body


def _status(head, end_of_head):
    fields = head.split(b"\r\n", 1)[0].split()
    if not end_of_head or len(fields) < 2 or not fields[0].startswith(b"HTTP/") or not fields[1].isdigit():
        raise NoAnswer("no HTTP answer")
    return int(fields[1])


def _content_length(head):
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None


class Look:
    """What a worker said of itself at one moment. `running` and `waiting` are None when it did not say."""

    def __init__(self, state, metrics):
        named = state.get("state")
        self.mono_s = time.monotonic()
        self.state = named if named in WORKER_STATES else None
        self.artifacts = state.get("artifacts") if state.get("artifacts") in ("hit", "compiled") else None
        """Whether its programs came from the cache of compiled ones; None before that is known."""
        self.phase = state.get("phase") if state.get("phase") in WORKER_PHASES else None
        self.reason = plain(state.get("reason"))
        self.slots = count(state.get("slots"))
        self.requests_total = _first(count(state.get("requests_total")), count(metrics.get("request_success_total")))
        self.running = _first(count(state.get("running")), count(metrics.get("num_requests_running")))
        self.waiting = _first(count(state.get("waiting")), count(metrics.get("num_requests_waiting")))
        self.metrics = metrics

    @property
    def in_flight(self):
        """Requests that would be lost if it stopped now; None when unknown, which is never 0."""
        return None if self.running is None or self.waiting is None else self.running + self.waiting


def _first(*values):
    return next((value for value in values if value is not None), None)


def look(record):
    """A Look at the recorded worker, through GET /state and /metrics or what its engine has instead. Raises NoAnswer."""
    address, spec = local_address(record.host), record.spec
    if spec is None:
        status, body = fetch(address, record.port, "/state")
        state = _object(body) if status == 200 else {}
    else:
        state = {"state": "READY"} if fetch(address, record.port, spec["ready_path"])[0] == 200 else {}
    try:
        status, body = fetch(address, record.port, spec["metrics_path"] if spec else "/metrics")
    except NoAnswer:
        status = None
    text = body.decode("utf-8", "replace") if status == 200 else ""
    return Look(state, parse(text, spec["metrics"] if spec else None))


def is_ready(record):
    """Whether it says that it takes work."""
    path = record.spec["ready_path"] if record.spec else "/readyz"
    try:
        return fetch(local_address(record.host), record.port, path)[0] == 200
    except NoAnswer:
        return False


def post_drain(record, takes_back=False):
    """Tell a worker to admit no more requests, or to admit them again. Whether it took it; one that knows no drain is drained by the
    router alone, which is as good."""
    path = record.spec["drain_path"] if record.spec else "/drain"
    if path is None:
        return True
    if takes_back:
        before, _, last = path.rpartition("/")
        path = "%s/un%s" % (before, last)
    try:
        return fetch(local_address(record.host), record.port, path, method="POST")[0] < 400
    except NoAnswer:
        return False


def _object(body):
    try:
        state = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("/state is no JSON") from error
    if not isinstance(state, dict):
        raise NoAnswer("/state is no JSON object")
    return state


def local_address(host):
    """Where to ask a worker that listens on `host`: "every address" is reached on loopback."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}.get(host, host)
