"""A worker without a model, started as `worker_python` would be: it serves what the agent asks for and misbehaves as its checkpoint says.

Checkpoints: quick | crash | slow:SECONDS | busy:COUNT:SECONDS (in flight for so long after the drain begins) | stubborn:COUNT
(for ever in flight, deaf to SIGTERM) | movable:COUNT (for ever in flight until /cut) | sticky:COUNT (even then) |
mute (answers nothing once it was ready) | deadlock (as stubborn, but idle) | wordless (gives no token) |
fragile (crashes when told to with /crash) | daemon (leaves a child that is in a session of its own) |
waning:COUNT:SECONDS (in flight, one fewer each so many seconds after the drain begins).
It speaks sd_notify where somebody listens; after a POST to /hang it is as one whose engine hangs while its HTTP answers.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

METRICS = """\
# TYPE opsconsole:num_requests_running gauge
opsconsole:num_requests_running {running}
opsconsole:num_requests_waiting 0
opsconsole:kv_cache_usage_perc 0.25
opsconsole:prompt_tokens_total {tokens}
opsconsole:generation_tokens_total {tokens}
opsconsole:request_success_total{{finished_reason="stop"}} {finished}
opsconsole:request_success_total{{finished_reason="length"}} 1
opsconsole:time_to_first_token_seconds_bucket{{le="0.1"}} {tokens}
opsconsole:time_to_first_token_seconds_bucket{{le="0.2"}} {tokens}
opsconsole:time_to_first_token_seconds_bucket{{le="+Inf"}} {tokens}
opsconsole:nonsense NaN
"""


class Stand:
    def __init__(self, model, checkpoint):
        self.model = model
        self.kind, *numbers = checkpoint.split(":")
        self.numbers = [float(number) for number in numbers if not number.isalpha()]
        self.begun = time.monotonic()
        self.drained_at = None
        self.finished = 0
        self.hangs = False
        self.in_flight = int(self.numbers[0]) if self.kind in ("busy", "stubborn", "movable", "sticky", "waning") else 0

    def is_ready(self):
        return self.kind != "slow" or time.monotonic() - self.begun > self.numbers[0]

    def running(self):
        if self.kind == "busy" and self.drained_at and time.monotonic() - self.drained_at > self.numbers[1]:
            return 0
        if self.kind == "waning" and self.drained_at:
            return max(0, self.in_flight - int((time.monotonic() - self.drained_at) / self.numbers[1]))
        return self.in_flight

    def state(self):
        if not self.is_ready():
            return {"state": "STARTING", "phase": "load", "reason": "\x1b]52;c;evil\x07" * 50}
        state = "READY" if not self.drained_at else "DRAINING" if self.running() else "DRAINED"
        return {"state": state, "phase": None, "reason": None, "model": self.model, "running": self.running(), "waiting": 0, "slots": 4,
                "artifacts": "hit"}


def handler(stand):
    class Handler(BaseHTTPRequestHandler):
        def reply(self, status, body):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self):
            if stand.kind == "mute" and time.monotonic() - stand.begun > 2:
                time.sleep(60)
            if self.path == "/state":
                self.reply(200, json.dumps(stand.state()))
            elif self.path == "/readyz":
                self.reply(200 if stand.is_ready() else 503, "")
            else:
                tokens = int(100 * (time.monotonic() - stand.begun))
                self.reply(200, METRICS.format(running=stand.running(), tokens=tokens, finished=stand.finished))

        def do_POST(self):
            if self.path == "/v1/completions":
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand.finished += 1
                broken = stand.kind == "wordless" or asked["max_tokens"] != 1
                self.reply(500 if broken else 200, "{}")
                return
            if self.path == "/crash":
                os._exit(7)
            if self.path == "/hang":
                stand.hangs = True
            if self.path == "/cut":
                cut, stand.in_flight = stand.in_flight, 0 if stand.kind == "movable" else stand.in_flight
                self.reply(200 if stand.kind in ("movable", "sticky") else 404, json.dumps({"cut": cut}))
                return
            if self.path == "/drain":
                stand.drained_at = stand.drained_at or time.monotonic()
            if self.path == "/undrain":
                stand.drained_at = None
            self.reply(200, "{}")

        def log_message(self, *arguments):
            pass

    return Handler


def notify(stand, address):
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.connect(address.replace("@", "\0", 1))
    while not stand.is_ready():
        time.sleep(0.05)
    line.send(b"READY=1\nSTATUS=serving")
    while not stand.hangs:
        line.send(b"WATCHDOG=1")
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", dest="module")
    for name in ("--model", "--name", "--host", "--port", "--slots", "--max-len", "--memory-fraction"):
        parser.add_argument(name)
    order = parser.parse_args()
    stand = Stand(order.name, order.model)
    if stand.kind == "crash":
        print("loading\nRESOURCE_EXHAUSTED: \x1b[31mout of memory", flush=True)
        sys.exit(3)
    if stand.kind == "daemon":
        subprocess.Popen(["sleep", "60"], start_new_session=True)
    is_deaf = stand.kind in ("stubborn", "deadlock")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if is_deaf else lambda *_: os._exit(0))
    print("visible", os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("JAX_PLATFORMS"), flush=True)
    server = ThreadingHTTPServer((order.host, int(order.port)), handler(stand))
    threading.Thread(target=server.serve_forever).start()
    if "NOTIFY_SOCKET" in os.environ:
        threading.Thread(target=notify, args=(stand, os.environ.pop("NOTIFY_SOCKET")), daemon=True).start()


if __name__ == "__main__":
    main()
