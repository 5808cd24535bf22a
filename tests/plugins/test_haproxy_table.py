"""HAProxy's tables are lines from a stranger: what is no name or no number is left out, and nothing in them raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsconsole_haproxy.table import COUNT_LIMIT, ROWS_LIMIT, read_loads, read_servers

STATE_TITLES = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_port\n"
STAT_TITLES = "# pxname,svname,qcur,qmax,scur,\n"


def servers(*rows):
    return read_servers(STATE_TITLES + "".join(row + "\n" for row in rows))


def loads(*rows):
    return read_loads(STAT_TITLES + "".join(row + "\n" for row in rows))


@pytest.mark.parametrize(("operation", "admin", "is_out", "is_down"), [
    (2, 0, False, False), (0, 0, False, True), (2, 8, True, False), (0, 8, True, True), (0, 1, True, True), (2, 16, True, False),
    (2, 4, True, False),
])
def test_what_keeps_requests_from_a_server(operation, admin, is_out, is_down):
    [server] = servers(f"3 llm 1 w-1 127.0.0.1 {operation} {admin} 8000").values()
    assert (server.is_out, server.is_down, server.address, server.port) == (is_out, is_down, "127.0.0.1", 8000)


def test_counts_are_read_and_bounded():
    assert loads("llm,w-1,2,5,3,", "llm,BACKEND,7,9,3,") == {("llm", "w-1"): (3, 2), ("llm", "BACKEND"): (3, 7)}
    assert loads("llm,w-1,9999999999,,9999999999,")["llm", "w-1"] == (COUNT_LIMIT, COUNT_LIMIT)


@pytest.mark.parametrize("row", [
    "llm,w;1,0,0,0,", "llm,w-1,0,0,,", "llm,w-1,0,0,-3,", "llm,w-1,0,0,1e9,", "llm", "", ",,,,", "llm,\x1b[31mw,0,0,1,",
    "llm," + "x" * 200 + ",0,0,1,", "llm,w-1,0,0," + "9" * 5000,
])
def test_a_row_that_is_none_is_left_out(row):
    assert loads(row, "llm,w-2,0,0,1,") == {("llm", "w-2"): (1, 0)}


def test_a_server_of_unknown_state_is_left_out():
    assert servers("3 llm 1 w-1 127.0.0.1 2 ready 8000", "3 llm") == {}


def test_rows_without_end_are_cut():
    assert len(loads(*(f"llm,w-{number},0,0,1," for number in range(ROWS_LIMIT + 5)))) == ROWS_LIMIT


@given(st.text())
def test_whatever_comes_nothing_raises(text):
    for titles in ("", STATE_TITLES, STAT_TITLES):
        read_servers(titles + text)
        read_loads(titles + text)
