"""The command that opens the screen in the past: which history, from when on, and every refusal before a screen is drawn."""

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from opsconsole.cli import root
from opsconsole.core.as_json import at_text


def opened(recorded, *arguments, options=()):
    """What the screen was asked to show."""
    asked = []
    code = root.run([*options, "replay", *arguments], lambda settings, replay: asked.append(replay) or 0)
    return code, asked


def test_the_history_of_the_state_directory_from_its_end_on(recorded):
    code, (replay,) = opened(recorded, options=recorded.options)
    assert code == 0 and replay.path == recorded.file and replay.stand_at == max(recorded.fleets)


def test_a_file_needs_no_fleet_file(recorded, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OPSCONSOLE_CONFIG", raising=False)
    _, (replay,) = opened(recorded, str(recorded.file), "--at", "-2m")
    assert replay.path == recorded.file and replay.stand_at == max(recorded.fleets) - 120  # back from its end, not from now
    _, (replay,) = opened(recorded, str(recorded.file), "--at", at_text(recorded.start + 7))
    assert replay.stand_at == recorded.start + 7


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("{file}", "--at", "2001-01-01"), 2, "was recorded from"), (("{file}", "--at", "soon"), 2, "is no time"),
    (("{home}/none.db",), 1, "cannot be read"), (("{home}/fleet.toml",), 1, "is no history"),
])
def test_refusals_are_one_sentence(recorded, capsys, arguments, code, words):
    named = [part.format(file=recorded.file, home=recorded.place) for part in arguments]
    found, asked = opened(recorded, *named)
    said = capsys.readouterr().err
    assert found == code and not asked and words in said and said.count("\n") == 1


def test_an_empty_state_directory_has_nothing_to_replay(recorded, tmp_path, capsys):
    options = ["--config", str(recorded.place / "fleet.toml"), "--state-dir", str(tmp_path)]
    code, asked = opened(recorded, options=options)
    assert code == 1 and not asked and str(tmp_path) in capsys.readouterr().err


def test_without_a_screen_the_lines_are_named(opsconsole):
    code, _, err = opsconsole("replay")
    assert code == 2 and "status --at TIME" in err


def test_on_a_terminal_it_draws_the_past_of_a_file_and_leaves(recorded, tmp_path):
    ours, theirs = pty.openpty()
    environ = {key: value for key, value in os.environ.items() if key not in ("OPSCONSOLE_CONFIG", "OPSCONSOLE_STATE_DIR", "NO_COLOR")}
    environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "opsconsole", "replay", str(recorded.file), "--at", at_text(recorded.start + 60)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True)
    os.close(theirs)
    drawn, give_up, has_left = b"", time.monotonic() + 60, False
    try:
        while process.poll() is None and time.monotonic() < give_up:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    drawn += os.read(ours, 65536)
                except OSError:
                    break
            if not has_left and b"REPLAY" in drawn and b"n1" in drawn:
                os.write(ours, b"q")
                has_left = True
        assert process.wait(20) == 0 and has_left
    finally:
        process.kill()
        os.close(ours)
    assert not list(tmp_path.iterdir())  # no state directory is made for looking at a file
