"""The entrance: help without imports, settings, and every failure as one sentence with its exit code."""

import subprocess
import sys

import click
import pytest

from opsconsole import __version__
from opsconsole.cli import output, root
from opsconsole.cli.output import CommandError, Exit
from tests.cli.standin import StandIn
from tests.telemetry import fleet_of

HEAVY = {"numpy", "asyncssh", "textual", "msgspec", "sqlite_utils", "asyncio", "jax", "opsconsole.tui", "opsconsole.control"}


def imported_by(*arguments: str) -> set[str]:
    """Modules in memory after a command line has run in an interpreter of its own."""
    script = f"import sys; from opsconsole.cli.root import run; run({list(arguments)!r}); print(*sys.modules, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return set(result.stderr.split())


@pytest.mark.parametrize("arguments, allowed", [
    (("--help",), set()), (("--version",), set()), (("nonsense",), set()),
    (("config", "--help"), set()),
    (("collect", "--help"), set()), (("nodes", "--help"), set()), (("launch", "--help"), {"numpy", "msgspec"}),
    (("history", "--help"), {"numpy", "msgspec"}), (("doctor", "--help"), {"numpy", "msgspec"}),
])
def test_a_command_imports_only_what_it_uses(arguments, allowed):
    assert HEAVY & imported_by(*arguments) <= allowed


def test_help_names_every_command_with_its_line(opsconsole):
    code, out, _ = opsconsole("--help")
    assert code == 0 and all(f"  {name}" in out and text[:40] in out for name, (_, text) in root.COMMANDS.items())


@pytest.mark.parametrize("name", [name for name in root.COMMANDS if name not in ("worker", "gateway", "demo")])
def test_the_line_of_help_is_that_of_the_command(opsconsole, name):
    code, out, _ = opsconsole(name, "--help")
    assert code == 0 and out.startswith(f"Usage: opsconsole {name}")
    command = root.opsconsole.get_command(click.Context(root.opsconsole), name)
    assert command.name == name


def test_version(opsconsole):
    assert opsconsole("--version") == (0, f"opsconsole {__version__}\n", "")


@pytest.mark.parametrize("program", ["worker", "gateway"])
def test_a_data_plane_command_becomes_that_program(monkeypatch, program):
    became = []
    monkeypatch.setattr("os.execv", lambda path, arguments: became.append((path, arguments)))
    root.run([program, "--help", "--port", "0", "--", "x"])
    assert became == [(sys.executable, [sys.executable, "-m", f"opsconsole.{program}", "--help", "--port", "0", "--", "x"])]


def test_without_a_terminal_the_screen_is_refused_and_the_commands_named(tmp_path):
    (tmp_path / "fleet.toml").write_text('[fleet]\nname = "lab"\n[[nodes]]\nhosts = "n1"\n')
    command = [sys.executable, "-m", "opsconsole", "--config", str(tmp_path / "fleet.toml"), "--state-dir", str(tmp_path / "state")]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1) and "opsconsole status" in result.stderr


def test_without_a_command_the_screen_gets_the_settings():
    seen = []
    assert root.run(["--config", "f.toml", "--read-only"], lambda settings: seen.append(settings) or 7) == 7
    assert (seen[0].config, seen[0].state_dir, seen[0].read_only) == ("f.toml", None, True)


@pytest.mark.parametrize("error, code, words", [
    (CommandError("no such thing", Exit.CONFLICT), 6, "opsconsole: no such thing\n"),
    (KeyboardInterrupt(), 130, "\nopsconsole: interrupted\n"),
    (ZeroDivisionError("by\nzero"), 1, "opsconsole: internal error: ZeroDivisionError: by zero (OPSCONSOLE_DEBUG=1 shows where)\n"),
])
def test_failures_are_one_sentence(capsys, error, code, words):
    def fail(settings):
        raise error
    assert root.run([], fail) == code
    assert capsys.readouterr().err == words


def test_debug_shows_where(monkeypatch):
    def fail(settings):
        raise ZeroDivisionError
    monkeypatch.setenv("OPSCONSOLE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        root.run([], fail)


def test_a_missing_package_is_named(opsconsole, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'jax'", name="jax")
    monkeypatch.setattr(root, "import_module", missing)
    code, _, err = opsconsole("demo")
    assert code == 1 and "`demo` needs the package jax" in err


@pytest.mark.parametrize("arguments, words", [(("--bogus",), "--bogus"), (("nodez",), "nodez"), (("nodes", "extra"), "extra")])
def test_wrong_usage(opsconsole, arguments, words):
    code, out, err = opsconsole(*arguments)
    assert (code, out) == (2, "") and words in err


def test_a_reader_that_leaves_is_no_error():
    script = "from opsconsole.cli.root import run; from opsconsole.cli.output import print_data\n"
    script += "import sys; sys.exit(run([], lambda settings: [print_data('x' * 9999) for _ in range(9999)] and 0))"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(1)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_colour_only_where_it_is_wanted(monkeypatch):
    class Terminal:
        def isatty(self):
            return True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.in_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.in_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not output.in_colour(Terminal())


def test_colour_only_adds_to_the_text(opsconsole, monkeypatch):
    import re

    from tests.tui import fleets
    session = StandIn(fleets.alarm())
    _, plain, _ = opsconsole("nodes", session=session)
    monkeypatch.setattr("opsconsole.cli.table.in_colour", lambda: True)
    _, coloured, _ = opsconsole("nodes", session=session)
    assert coloured != plain and re.sub(r"\x1b\[\d*m", "", coloured) == plain


def test_a_locale_without_our_characters_still_gets_a_table():
    script = ("from opsconsole.cli import root, show; from tests.cli.standin import StandIn; from tests.tui import fleets\n"
              "show.open_session = StandIn(fleets.connecting(2)).opened\nroot.run(['nodes'])")
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment)
    assert result.stdout.isascii() and b"CONNECTING" in result.stdout and b"Error" not in result.stderr


def test_every_exit_code_is_documented():
    import ast
    import inspect

    body = ast.parse(inspect.getsource(Exit)).body[0].body
    assert len(Exit) == 8 and fleet_of({}) is not None
    assert sum(isinstance(node, ast.Expr) for node in body) == len(Exit) + 1
