"""HAProxy's tables as values: lines from a stranger, so that whatever is no name or no number in them is left out."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import NamedTuple

from opsconsole_haproxy.options import NAME

ROWS_LIMIT = 50_000
COUNT_LIMIT = 10**9
MAINT_FLAGS = 0x01 | 0x02 | 0x04 | 0x20 | 0x40
DRAIN_FLAGS = 0x08 | 0x10
"""Bits of srv_admin_state (management guide, `show servers state`)."""
STOPPED = 0
"""A value of srv_op_state."""


class Server(NamedTuple):
    """One server; is_out: an operator's word keeps requests from it, whatever its health checks say."""

    backend: str
    name: str
    address: str
    port: int
    is_out: bool
    is_down: bool


class Load(NamedTuple):
    in_flight: int
    queued: int


def read_servers(text: str) -> dict[tuple[str, str], Server]:
    """`show servers state` by (backend, server)."""
    servers = {}
    for row in _rows(text.splitlines(), " "):
        backend, name = row.get("be_name", ""), row.get("srv_name", "")
        admin, operation = _count(row.get("srv_admin_state")), _count(row.get("srv_op_state"))
        if NAME.fullmatch(backend) and NAME.fullmatch(name) and admin is not None:
            servers[backend, name] = Server(
                backend, name, row.get("srv_addr", ""), _count(row.get("srv_port")) or 0,
                bool(admin & (MAINT_FLAGS | DRAIN_FLAGS)), operation == STOPPED)
    return servers


def read_loads(text: str) -> dict[tuple[str, str], Load]:
    """`show stat` by (backend, server); the server BACKEND is what waits for any of them."""
    loads = {}
    for row in _rows(text.splitlines(), ","):
        backend, name = row.get("pxname", ""), row.get("svname", "")
        in_flight, queued = _count(row.get("scur")), _count(row.get("qcur"))
        if NAME.fullmatch(backend) and NAME.fullmatch(name) and in_flight is not None:
            loads[backend, name] = Load(in_flight, queued or 0)
    return loads


def _rows(lines: list[str], delimiter: str) -> Iterator[dict[str, str]]:
    """Rows below the line of titles, which begins with "# "."""
    begin = next((number for number, line in enumerate(lines) if line.startswith("# ")), None)
    if begin is None:
        return
    titles = lines[begin][2:].strip(delimiter).split(delimiter)
    try:
        for cells in csv.reader(lines[begin + 1 : begin + 1 + ROWS_LIMIT], delimiter=delimiter):
            yield dict(zip(titles, cells, strict=False))
    except csv.Error:
        return


def _count(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return min(int(text), COUNT_LIMIT)
