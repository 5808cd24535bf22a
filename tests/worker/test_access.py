"""Who may ask a worker: anybody, or whoever knows the key; and a key file that others can read is refused."""

import json
import os

import pytest

from opsconsole.worker.access import Access, UnusableKeyFile, read_access
from opsconsole.worker.options import parse_options

KEY = "s3cret-key"


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{KEY}\nsecond line\n")
    path.chmod(0o600)
    return path


def test_without_a_file_everybody_may_ask():
    access = read_access(None)
    assert access.allows("/v1/models", {}) and not access.is_guarded


@pytest.mark.parametrize("path", ["/v1/completions", "/state", "/drain", "/undrain", "/nowhere", "/healthz/../state"])
def test_the_first_line_is_the_key(key_file, path):
    access = read_access(key_file)
    assert access.is_guarded
    for header in (f"Bearer {KEY}", f"bearer  {KEY} "):
        assert access.allows(path, {"Authorization": header})
    for header in ("", KEY, f"Basic {KEY}", "Bearer", "Bearer ", f"Bearer {KEY}x", "Bearer \udcff", f"Bearer {KEY[:-1]}"):
        assert not access.allows(path, {"Authorization": header})
    assert not access.allows(path, {})


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/health", "/metrics"])
def test_probes_need_no_key(path):
    assert Access(b"key").allows(path, {})


def test_a_file_that_is_no_secret_is_refused(key_file, tmp_path):
    def refusal(path):
        with pytest.raises(UnusableKeyFile) as refused:
            read_access(path)
        assert KEY not in str(refused.value)
        return str(refused.value)

    key_file.chmod(0o640)
    assert "open to others (mode 0640)" in refusal(key_file)
    key_file.chmod(0o600)
    key_file.write_text("\nkey\n")
    assert "empty first line" in refusal(key_file)
    assert "cannot be read" in refusal(tmp_path / "nothing")
    assert "no regular file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "no regular file" in refusal(tmp_path / "pipe")


def test_a_file_of_another_user_is_refused(key_file, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: key_file.stat().st_uid + 1)
    with pytest.raises(UnusableKeyFile, match="belongs to another user"):
        read_access(key_file)


def test_a_guarded_worker_refuses_in_the_shape_of_openai(start_worker, key_file):
    worker = start_worker("--api-key-file", key_file, model="random:tiny")
    worker.wait_for("listening")
    for path, method in (("/v1/models", "GET"), ("/v1/completions", "POST"), ("/state", "GET"), ("/drain", "POST"), ("/undrain", "POST")):
        status, headers, body = worker.ask(path, method=method)
        assert (status, headers["WWW-Authenticate"], json.loads(body)["error"]["code"]) == (401, "Bearer", "invalid_api_key")
    assert [worker.ask(path)[0] for path in ("/healthz", "/readyz", "/health", "/metrics")] == [200, 503, 503, 200]
    assert worker.ask("/state", headers={"Authorization": f"Bearer {KEY}"})[0] == 200
    worker.terminate()
    assert worker.wait() == 0
    assert KEY not in worker.errors and KEY not in json.dumps(worker.events)


def test_an_unusable_key_file_is_said_and_nothing_listens(start_worker, key_file):
    key_file.chmod(0o644)
    worker = start_worker("--api-key-file", key_file)
    assert worker.wait() == 1
    assert "open to others" in json.loads(worker.errors)["reason"]


def test_a_port_and_a_socket_exclude_each_other(capsys):
    for wrong in (["--port", "0", "--uds", "s"], []):
        with pytest.raises(SystemExit) as refused:
            parse_options(["--model", "random:tiny", *wrong])
        assert refused.value.code == 2
    assert parse_options(["--model", "random:tiny", "--port", "0"]).port == 0
