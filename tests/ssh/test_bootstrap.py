"""The agent's way to a node: the same zip each time, and one line that every login shell passes on untouched."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from opsconsole.ssh.bootstrap import UnsafePython, command, opening, stage_word
from opsconsole.ssh.bundle import MAIN, Bundle, agent_bundle

SHELLS = ["sh", "bash", "dash", "zsh", "fish", "tcsh", "csh", "ksh", "busybox"]
ECHO = b"""import os, sys
os.write(1, b'AGENT ' + sys.argv[0].encode() + b'\\n')
while True:
    got = os.read(0, 99)
    if not got:
        break
    os.write(1, b'GOT ' + got)
"""


@pytest.fixture
def bundle():
    empty = dict.fromkeys(("opsconsole/__init__.py", "opsconsole/agent/__init__.py"), b"")
    return Bundle.of({"__main__.py": MAIN, "opsconsole/agent/__main__.py": ECHO, **empty})


def start(bundle, home, shell=("sh", "-c"), python=sys.executable, sent=None):
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    given = opening() + bundle.content + b"order\n" if sent is None else opening() + sent
    return subprocess.run([*shell, command(python, bundle)], input=given, capture_output=True, env=environment, cwd=home, timeout=20)


@pytest.mark.parametrize("name", SHELLS)
def test_under_every_shell(name, bundle, tmp_path):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    shell = ("busybox", "sh", "-c") if name == "busybox" else (name, "-c")
    done = start(bundle, tmp_path, shell)
    assert done.stdout.startswith(b"OPSCONSOLE-STAGE NEED\nAGENT ") and done.stdout.endswith(b"GOT order\n"), done


def test_the_second_time_it_is_there(bundle, tmp_path):
    start(bundle, tmp_path)
    done = start(bundle, tmp_path, sent=b"order\n")
    assert done.stdout.startswith(b"OPSCONSOLE-STAGE HAVE\n") and b"GOT order" in done.stdout
    cache = tmp_path / ".cache" / "opsconsole"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in cache.iterdir()] == [f"agent-{bundle.digest}.zip"]


def test_a_cache_that_was_tampered_with_is_not_run(bundle, tmp_path):
    start(bundle, tmp_path)
    cached = tmp_path / ".cache" / "opsconsole" / f"agent-{bundle.digest}.zip"
    cached.write_bytes(Bundle.of({"__main__.py": b"print('EVIL')"}).content)
    done = start(bundle, tmp_path)
    assert b"EVIL" not in done.stdout and done.stdout.startswith(b"OPSCONSOLE-STAGE NEED\n") and cached.read_bytes() == bundle.content


def test_a_link_or_a_writable_file_is_not_trusted(bundle, tmp_path):
    start(bundle, tmp_path)
    cached = tmp_path / ".cache" / "opsconsole" / f"agent-{bundle.digest}.zip"
    cached.chmod(0o666)
    assert start(bundle, tmp_path).stdout.startswith(b"OPSCONSOLE-STAGE NEED\n")
    elsewhere = tmp_path / "elsewhere"
    cached.rename(elsewhere)
    cached.symlink_to(elsewhere)
    assert start(bundle, tmp_path).stdout.startswith(b"OPSCONSOLE-STAGE NEED\n") and not cached.is_symlink()


def test_content_that_is_not_what_was_announced_is_not_run(bundle, tmp_path):
    done = start(bundle, tmp_path, sent=b"x" * len(bundle.content))
    assert b"BROKEN" in done.stdout and b"AGENT" not in done.stdout


def test_an_early_end_runs_nothing(bundle, tmp_path):
    done = start(bundle, tmp_path, sent=bundle.content[:100])
    assert done.stdout == b"OPSCONSOLE-STAGE NEED\n" and done.returncode == 1


def test_modules_lying_in_the_home_directory_are_not_imported(bundle, tmp_path):
    (tmp_path / "hashlib.py").write_text("raise SystemExit('hijacked')")
    done = start(bundle, tmp_path)
    assert b"AGENT" in done.stdout, done


def test_an_old_python_says_so(bundle, tmp_path):
    source = opening().replace(b"(3, 9)", b"(9, 9)")
    assert len(source) == len(opening())
    done = subprocess.run(["sh", "-c", command(sys.executable, bundle)], input=source, capture_output=True, env={"HOME": str(tmp_path)})
    assert stage_word(done.stdout.splitlines()[0]).word == "PYTHON"


def test_nothing_a_shell_could_take_for_its_own(bundle):
    inside = command("python3", bundle).split("'")
    assert len(inside) == 3 and not set(inside[1]) & set("\\!\n`$")


@pytest.mark.parametrize("python", ["python3; rm x", "a b", "$(x)", "-c", "", "py'thon", "a\nb"])
def test_an_interpreter_that_is_no_path_is_refused(python, bundle):
    with pytest.raises(UnsafePython):
        command(python, bundle)


def test_the_bundle_is_the_same_each_time():
    first = agent_bundle()
    agent_bundle.cache_clear()
    again = agent_bundle()
    assert first.content == again.content and first.digest == hashlib.sha256(again.content).hexdigest()
    names = zipfile.ZipFile(io.BytesIO(first.content)).namelist()
    assert names == sorted(names) and {"__main__.py", "pynvml.py", "opsconsole/protocol.py", "opsconsole/agent/__main__.py"} <= set(names)
    assert not any(name.endswith(".pyc") for name in names) and len(first.content) < 120_000


def test_noise_is_no_word_of_the_stage():
    assert stage_word(b"Last login: today") is None
    assert stage_word(b"OPSCONSOLE-STAGE BROKEN no space\r\n").rest == "no space"
