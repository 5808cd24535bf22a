"""Which workers get requests, written whole or not at all; and the queue that the gateway holds."""

import asyncio
import http.server
import json
import threading

from opsconsole.control.routes import RouteFile, follow_router, routes_of
from opsconsole.core.events import Lost
from opsconsole.core.fleet import HUNG, UNREACHABLE
from opsconsole.core.fold import fold
from tests.telemetry import fleet_of, tick, worker_fields

FLEET = fleet_of({
    "n1": [worker_fields("w1"), worker_fields("w2", state="DRAINING", gpus=[1])],
    "n2": [worker_fields("w3", port=4003)],
    "n3": [worker_fields("w4", port=None)],
})


def names(routes):
    return [worker for _, worker, *_ in routes]


def test_only_ready_workers_with_a_port_that_are_not_on_their_way_out():
    assert names(routes_of(FLEET, ())) == ["w1", "w3"]
    assert routes_of(FLEET, {"w1"}) == [("demo", "w3", "n2", 4003, 4, True)]


def test_a_hung_node_keeps_its_routes_and_an_unreachable_one_does_not():
    hung = fold(FLEET, [Lost("n1", 105.0, HUNG, ""), Lost("n2", 105.0, UNREACHABLE, ""), tick(101.0)])
    assert names(routes_of(hung, ())) == ["w1"]


def test_the_file_is_replaced_only_when_routes_change(tmp_path):
    path = tmp_path / "routes.json"
    file = RouteFile(path, {"n2": "10.0.0.2"})
    file.write(["demo"], [])
    first = path.stat()
    file.write(["demo"], [])
    assert path.stat().st_ino == first.st_ino and first.st_mode & 0o777 == 0o600
    file.write(["demo", "big"], [("demo", "w1", "n1", 4001, 4, True), ("demo", "w3", "n2", 4003, 8, False)])
    assert json.loads(path.read_text()) == {"models": {"big": [], "demo": [
        {"worker": "w1", "url": "http://127.0.0.1:4001", "slots": 4, "resumes": True},
        {"worker": "w3", "url": "http://10.0.0.2:4003", "slots": 8, "resumes": False}]}}
    assert not path.with_suffix(".new").exists()


def test_a_place_that_takes_nothing_is_told_and_tried_again(tmp_path):
    file = RouteFile(tmp_path / "state" / "routes.json", {})
    file.write(["demo"], [])
    assert "No such file" in file.trouble
    (tmp_path / "state").mkdir()
    file.write(["demo"], [])
    assert file.trouble == "" and (tmp_path / "state" / "routes.json").exists()


class Gateway(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"models": {"demo": {"queued": 5}}}).encode() if self.path == "/state" else b"{}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Stays quiet."""


async def test_the_queue_of_the_gateway_is_read_and_its_loss_is_told():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen = asyncio.Queue()
    url = f"http://127.0.0.1:{server.server_port}"
    task = asyncio.create_task(follow_router(url, seen.put_nowait))
    assert (await seen.get()).queue == {"demo": 5.0}
    server.shutdown()
    server.server_close()
    while not (event := await asyncio.wait_for(seen.get(), 10)).cause:
        pass
    assert event.queue == {} and url in event.cause
    task.cancel()
