"""The routes file: what it may say, and what happens when it says nothing useful."""

import json

import pytest

from opsconsole.gateway.balancer import Worker
from opsconsole.gateway.routes import BrokenRoutes, RoutesFile, parse_routes


def routes_text(**entry: object) -> str:
    return json.dumps({"models": {"demo": [{"worker": "w-1", "url": "http://127.0.0.1:4001", "slots": 4} | entry]}})


def test_routes_name_workers_by_model():
    assert parse_routes(routes_text(extra="ignored")) == {"demo": (Worker("w-1", "http://127.0.0.1:4001", 4),)}


@pytest.mark.parametrize("text, place", [
    ("", "not JSON"),
    ("[]", '"models"'),
    ('{"models": []}', '"models"'),
    ('{"models": {"demo": {}}}', "models.demo"),
    ('{"models": {"demo": [7]}}', "models.demo[0]"),
    (routes_text(worker=""), "models.demo[0].worker"),
    (routes_text(url="127.0.0.1:4001"), "models.demo[0].url"),
    (routes_text(url="http://h:999999"), "models.demo[0].url"),
    (routes_text(slots=0), "models.demo[0].slots"),
    (routes_text(slots=True), "models.demo[0].slots"),
    (json.dumps({"models": {"demo": [{"worker": "w", "url": "http://a:1", "slots": 1}] * 2}}), "twice"),
])
def test_a_broken_file_is_refused_by_place(text, place):
    with pytest.raises(BrokenRoutes) as error:
        parse_routes(text)
    assert place in str(error.value)


def test_the_last_good_routes_stay_and_each_fault_is_told_once(tmp_path):
    path, taken, complaints = tmp_path / "routes.json", [], []
    file = RoutesFile(path, taken.append, complaints.append)
    file.look()
    file.look()
    assert (len(taken), len(complaints)) == (0, 1)
    path.write_text(routes_text())
    file.look()
    file.look()
    assert (len(taken), len(complaints)) == (1, 1)
    path.write_text("{")
    file.look()
    path.write_bytes(b"\xff\xfe")
    file.look()
    path.unlink()
    file.look()
    file.look()
    assert (len(taken), len(complaints)) == (1, 4)
