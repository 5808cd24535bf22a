"""The front doors that are tortured in turn: our gateway, and HAProxy as Debian has it."""

import contextlib
import shutil
import subprocess
import time
import urllib.error
import urllib.request

from tests.plugins.installed import paths_of
from tests.torture.rig import MODEL, Gateway, free_port

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
CONFIG = """
global
    stats socket {socket} mode 600 level admin
    maxconn 1000
defaults
    mode http
    timeout connect 3s
    timeout client 120s
    timeout server 120s
    timeout queue 60s
    retries 3
    option redispatch 1
    retry-on conn-failure
frontend front
    bind 127.0.0.1:{port}
    default_backend {backend}
backend {backend}
    balance leastconn
    option httpchk GET /readyz
"""
ROUTER = """
[router]
kind = "haproxy"

[router.options]
socket = "{socket}"
backends = {{ "{model}" = "{backend}" }}
check_interval_ms = 500
"""


class HAProxy:
    """A HAProxy with an empty backend: the console adds, drains and removes its servers. Use as a context manager."""

    def __init__(self, here, state_dir):
        self._here, self.port = here, free_port()
        self.paths = paths_of("haproxy", here / "installed")
        self._socket = here / "ha.sock"

    def __enter__(self):
        config = self._here / "haproxy.cfg"
        config.write_text(CONFIG.format(socket=self._socket, port=self.port, backend="workers"))
        self._log = open(self._here / "haproxy.log", "wb")
        self._process = subprocess.Popen([HAPROXY, "-db", "-f", str(config)], stdout=self._log, stderr=self._log)
        self.url = f"http://127.0.0.1:{self.port}"
        self._wait()
        self.router = ROUTER.format(socket=self._socket, model=MODEL, backend="workers")
        return self

    def _wait(self):
        for _ in range(100):
            with contextlib.suppress(OSError):
                try:
                    urllib.request.urlopen(self.url, timeout=1).close()
                except urllib.error.HTTPError:
                    return  # it answers, if only that nobody serves yet
            time.sleep(0.05)
        raise AssertionError("HAProxy did not start")

    def __exit__(self, *error):
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


FRONTS = {"gateway": (Gateway, ()), "haproxy": (HAProxy, ("migrate",))}
"""Name: (front door, rounds that make no sense with it: HAProxy cannot go on with a stream elsewhere)."""


def why_not(name):
    """Why a front door cannot be tortured here, "" when it can."""
    return "needs haproxy" if name == "haproxy" and HAPROXY is None else ""
