"""The plugin that tells people of alarms, against a real HTTP server: what arrives, what is tried again, and that no secret leaks."""

import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from opsconsole.cli import root
from opsconsole.control.tellers import Tellers, Told
from opsconsole.core.fleet import Fleet
from opsconsole.core.telling import Message, Outbox, news
from opsconsole.hooks import Misfit, NotifyError
from opsconsole_notify.sending import open_notifier
from tests.tui import fleets

SECRET = "s3cr3t-t0k3n"


class Hook:
    """A webhook on a port of its own that keeps what it gets. refusals: so many requests are answered with 500 first."""

    def __init__(self, refusals=0):
        hook = self
        self.got, self.refusals = [], refusals

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.refusals -= 1
                if hook.refusals < 0:
                    hook.got.append(body)
                self.send_response(200 if hook.refusals < 0 else 500)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.address = f"json://ops:{SECRET}@127.0.0.1:{self.server.server_port}/hook"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook():
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def pagers(tmp_path):
    def write(*lines, mode=0o600):
        path = tmp_path / "pagers"
        path.write_text("\n".join(lines))
        path.chmod(mode)
        return {"urls_file": str(path)}

    return write


def test_a_message_arrives_with_what_an_operator_needs(hook, pagers):
    fresh = news(Fleet(), fleets.alarm())
    outbox, message = Outbox(wait_s=0.0).taken(fresh, 0.0).due("prod-eu-1", 0.0)
    open_notifier(pagers("# who is on call", "", hook.address)).send(message)
    (got,) = hook.got
    assert got["title"] == "prod-eu-1: 2 CRITICAL, 4 WARNING" and got["type"] == "failure"
    assert "h200-008  GPU3 fell off the bus" in got["message"] and "mend: opsconsole drain" in got["message"]


def test_who_has_taken_a_message_does_not_get_it_twice(hook, pagers):
    broken = Hook(refusals=1)
    try:
        sender, message = open_notifier(pagers(hook.address, broken.address)), Message("t", "b", 1)
        with pytest.raises(NotifyError, match="1 of 2 addresses") as refused:
            sender.send(message)
        sender.send(message)
        assert len(hook.got) == len(broken.got) == 1 and SECRET not in str(refused.value)
    finally:
        broken.close()


@pytest.mark.parametrize("lines, mode, words", [
    ((), 0o600, "has 0 addresses"),
    ((f"nothing://{SECRET}",), 0o600, "line 1 of"),
    ((f"json://x:{SECRET}@h",), 0o644, "chmod 600"),
    ((f"json://x:{SECRET}@h",) * 21, 0o600, "has 21 addresses"),
])
def test_what_is_wrong_with_the_file_is_said_without_its_secrets(pagers, lines, mode, words):
    with pytest.raises(Misfit, match=words) as refused:
        open_notifier(pagers(*lines, mode=mode))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("options, key", [
    ({}, "options.urls_file"), ({"urls": "x"}, "options.urls"), ({"urls_file": "/"}, "options.urls_file"),
])
def test_bad_options_are_named(options, key):
    with pytest.raises(Misfit) as refused:
        open_notifier(options)
    assert refused.value.key == key


def test_nothing_of_an_address_is_logged(pagers, caplog):
    caplog.set_level(logging.DEBUG)
    sender = open_notifier(pagers(f"json://ops:{SECRET}@127.0.0.1:1/hook-{SECRET}"))
    with pytest.raises(NotifyError):
        sender.send(Message("t", "b", 2))
    assert SECRET not in caplog.text


def test_from_the_collector_to_the_webhook_and_a_dead_one_delays_nobody(hook, pagers, tmp_path):
    dead = tmp_path / "dead"
    dead.write_text("json://127.0.0.1:1/")
    dead.chmod(0o600)
    causes = []
    told = [Told("well", open_notifier(pagers(hook.address)), Outbox(wait_s=0.0)),
            Told("dead", open_notifier({"urls_file": str(dead)}), Outbox(wait_s=0.0))]
    tellers = Tellers("prod-eu-1", told, causes.append)
    tellers.saw(news(Fleet(), fleets.alarm()), 100.0)
    for _ in range(500):
        tellers.saw([], 101.0)
        if hook.got and causes:
            break
        time.sleep(0.01)
    tellers.close()
    assert len(hook.got) == 1 and "dead: not taken by JSON" in causes[0]


def test_config_check_reads_the_file_and_names_the_line(install, tmp_path, pagers, monkeypatch, capsys):
    install("notify")
    monkeypatch.setenv("OPSCONSOLE_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "fleet.toml"
    head = '[[nodes]]\nhosts = "n1"\n[[notify]]\nkind = "notify"\n'
    good = pagers("json://127.0.0.1:9/x")
    path.write_text(head + f'options = {{ urls_file = "{good["urls_file"]}" }}\n')
    assert root.run(["--config", str(path), "config", "check"]) == 0
    path.write_text(head + 'options = { urls_file = "/nowhere" }\n')
    assert root.run(["--config", str(path), "config", "check"]) == 2
    assert f"{path}:5: key `options`: options.urls_file: /nowhere cannot be read" in capsys.readouterr().err
