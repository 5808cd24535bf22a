"""A draining worker lets go of what it has in flight, with an error that a gateway can mend; nobody else can make it."""

import json
import threading

import pytest

pytest.importorskip("jax")
pytest.importorskip("aiohttp")

BODY = {"prompt": [300] * 8, "max_tokens": 240, "temperature": 0, "ignore_eos": True}


def test_what_is_in_flight_ends_with_an_error_and_the_worker_is_drained(start_worker):
    worker = start_worker()
    worker.wait_for("ready")
    assert worker.ask("/cut", method="POST")[0] == 409
    answers = []

    def ask(body):
        answers.append(worker.ask("/v1/completions", body))

    asking = [threading.Thread(target=ask, args=(BODY | {"stream": number % 2 == 0},)) for number in range(6)]
    for thread in asking:
        thread.start()
    while worker.state()["in_flight"] < len(asking) or not worker.state()["running"]:
        pass
    assert worker.ask("/drain", method="POST")[0] == 200
    cut = json.loads(worker.ask("/cut", method="POST")[2])
    for thread in asking:
        thread.join()
    assert 0 < cut["cut"] <= len(asking)
    lost = [body for status, _, body in answers if b"handed_over" in body]
    assert len(lost) == cut["cut"]
    assert all(status == 503 or b'"text"' in body for status, _, body in answers)
    assert worker.state()["state"] == "DRAINED"
    worker.terminate()
    assert worker.wait() == 0
