"""One model on two hosts, which here are two processes: the same tokens, one end for both, and no stranger hears a step."""

import json
import os
import socket
import threading

import pytest

pytest.importorskip("jax")
pytest.importorskip("safetensors")

import numpy as np  # noqa: E402

from opsconsole.worker import hosts  # noqa: E402
from opsconsole.worker.options import Options, parse_options  # noqa: E402
from tests.worker.conftest import stop_by_id  # noqa: E402

BODY = {"prompt": [300, 5, 9, 77] * 5, "max_tokens": 40, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
KEY = b"sesame"


def free_ports():
    """A port that is free together with the one after it, below those that the kernel hands out: JAX takes some of these meanwhile."""
    for port in range(20000 + os.getpid() % 4000 * 3, 32700, 2):
        try:
            for each in (port, port + 1):
                socket.create_server(("127.0.0.1", each)).close()
        except OSError:
            continue
        return port
    raise AssertionError("no two neighbouring ports are free")


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(KEY)
    return path


def test_two_hosts_give_the_tokens_of_one(start_worker, shared_worker, key_file):
    together = ["--hosts", 2, "--coordinator", f"127.0.0.1:{free_ports()}", "--tensor-parallel", 2, "--api-key-file", key_file]
    first = start_worker(*together, "--host-index", 0)
    second = start_worker(*together, "--host-index", 1)
    first.wait_for("ready")
    refused = first.ask("/v1/completions", BODY)
    answered = first.ask("/v1/completions", BODY, headers={"Authorization": f"Bearer {KEY.decode()}"})
    alone = shared_worker.ask("/v1/completions", BODY)
    assert (refused[0], answered[0]) == (401, 200)
    assert json.loads(answered[2])["choices"][0]["token_ids"] == json.loads(alone[2])["choices"][0]["token_ids"]
    first.terminate()
    assert first.wait() == 0 and second.wait() == 0, second.errors
    stop_by_id(second)


def test_a_stranger_is_sent_away_and_steps_arrive_as_they_were(tmp_path):
    options = Options("none", "none", hosts=2, coordinator=f"127.0.0.1:{free_ports()}")
    arguments = (np.arange(3, dtype=np.int32), {"a": np.array([0.5], np.float32), "b": np.array([True, False])})
    heard, ended = [], []

    def lead():
        leader = hosts.Leader(options, KEY)
        leader.tell("prefill-3", arguments)
        leader.tell("decode-1x8", ())
        leader.close()

    leading = threading.Thread(target=lead)
    leading.start()
    shapes = {"prefill-3": arguments, "decode-1x8": ()}
    hosts.follow(options, b"guess", shapes.get, lambda name, told: heard.append("a stranger heard"), lambda: ended.append("stranger"))
    hosts.follow(options, KEY, shapes.get, lambda name, told: heard.append((name, told)), lambda: ended.append("host"))
    leading.join(10)
    (first, (tokens, settings)), last = heard
    assert (first, last, ended) == ("prefill-3", ("decode-1x8", ()), ["stranger", "host"])
    assert (tokens == arguments[0]).all() and settings["a"] == 0.5 and settings["b"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        (["--host-index", "2"], "--host-index"),
        (["--coordinator", "nowhere"], "--coordinator"),
        (["--coordinator", "h:1"], "--api-key-file"),
        (["--coordinator", "h:1", "--api-key-file", "k", "--tensor-parallel", "3"], "--tensor-parallel"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(said, missing, capsys):
    with pytest.raises(SystemExit):
        parse_options(["--model", "m", "--port", "0", "--hosts", "2", *said])
    assert missing in capsys.readouterr().err.splitlines()[-1]
