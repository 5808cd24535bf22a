"""One way to run a command in this process: its exit code, stdout and stderr."""

import pytest

from opsconsole.cli import acting, alarm_list, alarms, audit, doctor, history, root, runs, show


@pytest.fixture
def opsconsole(monkeypatch, capsys):
    """opsconsole(*arguments, session=...) -> (exit code, stdout, stderr)."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("OPSCONSOLE_DEBUG", "0")

    def run(*arguments, session=None):
        for module in (acting, alarm_list, alarms, audit, doctor, history, runs, show):
            if session is not None:
                monkeypatch.setattr(module, "open_session", session.opened)
        code = root.run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
