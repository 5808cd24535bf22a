"""A console without the data plane's packages says what to install, before it starts anything."""

import pytest

from opsconsole.cli import demo, extras


@pytest.fixture
def without_worker(monkeypatch):
    monkeypatch.setattr(extras, "WORKER_PACKAGES", ("json", "no_such_package"))


@pytest.mark.parametrize("arguments", [("worker", "--help"), ("gateway", "--routes", "x"), ("demo", "--headless")])
def test_what_is_missing_and_the_mend(opsconsole, without_worker, arguments):
    code, out, err = opsconsole(*arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "(no_such_package)" in err and "pip install 'opsconsole[worker]'" in err


@pytest.mark.parametrize("arguments, words", [
    ((), "--headless"), (("--json", "--headless", "--scenario", "none"), "there is no scenario"), (("--duration", "3"), "add it"),
    (("--json",), "add it"),
])
def test_a_demo_that_nobody_could_see_is_not_built(opsconsole, monkeypatch, arguments, words):
    monkeypatch.setattr(demo, "can_draw", lambda: False)
    monkeypatch.setattr("opsconsole.sim.stage.Stage.open", lambda stage: pytest.fail("it was built"))
    code, out, err = opsconsole("demo", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and words in err
