"""Prometheus on the same telemetry: its blocks made by promtool, its answers asked over HTTP on loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

HAS_PROMETHEUS = bool(shutil.which("prometheus") and shutil.which("promtool"))


def version() -> str:
    said = subprocess.run(["prometheus", "--version"], capture_output=True, text=True)
    return (said.stdout + said.stderr).split()[2]


def import_blocks(text: Path, data: Path) -> float:
    """Blocks under `data` from OpenMetrics text; returns the CPU seconds that took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def size_bytes(data: Path) -> int:
    return sum(file.stat().st_size for file in data.rglob("*") if file.is_file())


@contextlib.contextmanager
def server(data: Path) -> Iterator[http.client.HTTPConnection]:
    """A connection to a Prometheus that serves `data`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = data.parent / "prometheus.yml"
    config.write_text("global: {}\n")
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=10y", "--query.max-samples=200000000", "--log.level=error",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/-/ready")
                if connection.getresponse().read() is not None:
                    break
            connection.close()
            time.sleep(0.1)
        yield connection
    finally:
        connection.close()
        process.terminate()
        process.wait(30)


def ask(connection: http.client.HTTPConnection, path: str, **query: object) -> list:
    connection.request("GET", f"/api/v1/{path}?{urlencode(query)}")
    answer = json.loads(connection.getresponse().read())
    if answer["status"] != "success":
        raise SystemExit(f"prometheus: {answer}")
    return answer["data"]["result"]
