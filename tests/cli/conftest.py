"""One way to run a command in this process: its exit code, stdout and stderr; and a past to ask about."""

import os

import pytest

from opsconsole.cli import acting, alarm_list, alarms, audit, capacity, doctor, root, runs, show
from tests.history.recorded import record


@pytest.fixture
def opsconsole(monkeypatch, capsys, tmp_path):
    """opsconsole(*arguments, session=...) -> (exit code, stdout, stderr)."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("OPSCONSOLE_DEBUG", "0")
    monkeypatch.setenv("OPSCONSOLE_STATE_DIR", os.environ.get("OPSCONSOLE_STATE_DIR") or str(tmp_path / "no-history-here"))

    def run(*arguments, session=None):
        for module in (acting, alarm_list, alarms, audit, capacity, doctor, runs, show):
            if session is not None:
                monkeypatch.setattr(module, "open_session", session.opened)
        code = root.run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The past of a simulated fleet, which no test may change."""
    return record(tmp_path_factory.mktemp("recorded"))
