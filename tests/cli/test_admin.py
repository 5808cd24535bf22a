"""The commands around the fleet file, and doctor's findings with their mends."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from opsconsole.cli import doctor as doctor_command
from opsconsole.cli.checks import Check, local_checks, node_checks
from opsconsole.core.events import Lost
from opsconsole.core.fleet import (
    AUTH_FAILED,
    CONNECTING,
    HOST_KEY_CHANGED,
    HOST_KEY_UNKNOWN,
    HUNG,
    NO_PYTHON,
    STALE,
    UNREACHABLE,
)
from opsconsole.core.fold import fold
from tests.cli.standin import StandIn
from tests.telemetry import fleet_of, sampled, tick

GOOD = '[fleet]\nname = "lab"\n\n[[sites]]\nname = "s1"\n\n[[nodes]]\nhosts = "n[1-3]"\nsite = "s1"\n'


@pytest.fixture
def fleet_file(tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text(GOOD)
    return path


def test_path_follows_flag_then_environment(opsconsole, monkeypatch, tmp_path):
    monkeypatch.setenv("OPSCONSOLE_CONFIG", str(tmp_path / "env.toml"))
    assert opsconsole("config", "path")[1] == f"{tmp_path}/env.toml\n"
    assert opsconsole("--config", str(tmp_path / "flag.toml"), "config", "path")[1] == f"{tmp_path}/flag.toml\n"


def test_check_and_show(opsconsole, fleet_file):
    code, out, _ = opsconsole("--config", str(fleet_file), "config", "check")
    assert code == 0 and "good; 1 sites, 3 nodes" in out
    _, out, _ = opsconsole("--config", str(fleet_file), "config", "show", "--json")
    assert [node["name"] for node in json.loads(out)["nodes"]] == ["n1", "n2", "n3"]


@pytest.mark.parametrize("command", [("config", "check"), ("config", "show"), ("doctor",), ("collect",), ("nodes", "--json")])
def test_a_wrong_fleet_file_is_one_sentence_and_exit_2(opsconsole, fleet_file, command):
    fleet_file.write_text(GOOD + "colour = 3\n")
    code, out, err = opsconsole("--config", str(fleet_file), *command)
    assert (code, out, err.count("\n")) == (2, "", 1) and "fleet.toml" in err and "colour" in err


def test_init_writes_a_private_file_once(opsconsole, tmp_path):
    ssh_config, path = tmp_path / "ssh_config", tmp_path / "new" / "fleet.toml"
    ssh_config.write_text("Host gpu01\n  HostName 10.0.0.1\n")
    arguments = ("--config", str(path), "config", "init", "--from", str(ssh_config))
    assert opsconsole(*arguments)[:2] == (0, f"{path}\n")
    assert path.stat().st_mode & 0o777 == 0o600 and "gpu01" in path.read_text() and os.listdir(path.parent) == ["fleet.toml"]
    code, _, err = opsconsole(*arguments)
    assert code == 2 and "--force" in err
    assert opsconsole(*arguments, "--force")[0] == 0
    assert opsconsole("--config", str(path), "config", "check")[0] == 0


def checks_of(reach: int, cause: str = "because") -> dict[str, Check]:
    fleet = fold(fleet_of({}), [Lost("n2", 100.0, reach, cause), tick(100.5)])
    return {check.check: check for check in node_checks(fleet, 1)}


@pytest.mark.parametrize("reach, stage, mend", [
    (UNREACHABLE, "reach", "ssh n2"), (HOST_KEY_CHANGED, "host key", "ssh-keygen -R"), (HOST_KEY_UNKNOWN, "host key", "fingerprint"),
    (AUTH_FAILED, "login", "identity"), (NO_PYTHON, "python", "3.9"), (HUNG, "agent", "hung driver"), (STALE, "agent", "ask again"),
])
def test_each_stage_has_its_mend(reach, stage, mend):
    checks = checks_of(reach)
    assert checks[stage].ok is False and mend in checks[stage].mend and "because" in checks[stage].text
    before = list(checks)[: list(checks).index(stage)]
    assert all(checks[name].ok for name in before)
    assert all(check.ok is None for name, check in checks.items() if name not in (*before, stage))


def test_a_node_that_has_not_answered_yet_is_no_finding():
    fleet = fleet_of({})
    fleet = replace(fleet, reach=np.array([CONNECTING, 0, 0], np.int8))
    assert {check.ok for check in node_checks(fleet, 0)} == {None}


def test_a_wrong_clock_is_found():
    fleet = fold(fleet_of({}), [sampled("n2", 100.5, wall=5000.0), tick(101.0)])
    (clock,) = [check for check in node_checks(fleet, 1) if check.check == "clock"]
    assert clock.ok is False and "chrony" in clock.mend


def local(tmp_path, **changes) -> dict[str, Check]:
    config = SimpleNamespace(nodes=(SimpleNamespace(identity=changes.get("identity")),), known_hosts=changes.get("known_hosts", ()))
    return {check.check: check for check in local_checks(config, changes.get("state_dir", tmp_path / "none"))}


def test_keys_and_directories_open_to_others_get_their_chmod_line(tmp_path):
    key, state = tmp_path / "key", tmp_path / "state"
    key.write_text("x")
    key.chmod(0o644)
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    found = local(tmp_path, identity=str(key), state_dir=state, known_hosts=(tmp_path / "known_hosts",))
    assert found["ssh key"].mend == f"chmod 600 {key}" and found["state directory"].mend == f"chmod 700 {state}"
    assert found["known hosts"].ok is False
    key.chmod(0o600)
    state.chmod(0o700)
    (state / "history.db").write_text("")
    (state / "history.db").chmod(0o666)
    found = local(tmp_path, identity=str(key), state_dir=state)
    assert found["ssh key"].ok and found["state directory"].ok and "chmod 600" in found["state file"].mend


def test_a_state_directory_behind_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert "symbolic link" in local(tmp_path, state_dir=tmp_path / "link")["state directory"].text


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """This machine without findings, so that the exit code tells of the nodes."""
    monkeypatch.setattr(doctor_command, "read_fleet_file", lambda settings: None)
    monkeypatch.setattr(doctor_command, "locate", lambda settings: (tmp_path, tmp_path))
    monkeypatch.setattr(doctor_command, "local_checks", lambda config, state_dir: [])


def test_doctor_says_the_mend_and_is_partial(opsconsole, healthy):
    broken = fold(fleet_of({}), [Lost("n2", 100.0, AUTH_FAILED, "no key fits"), tick(100.5)])
    code, out, _ = opsconsole("doctor", session=StandIn(broken))
    assert code == 3 and "BAD  n2  login: no key fits\n       mend: see whether `ssh n2` logs in" in out and "ok   n1  all:" in out
    assert opsconsole("doctor", "n1", session=StandIn(broken))[0] == 0
    code, _, err = opsconsole("doctor", "n9", session=StandIn(broken))
    assert code == 2 and "n9" in err


def test_doctor_json(opsconsole, healthy):
    _, out, _ = opsconsole("doctor", "n1", "--json", session=StandIn(fleet_of({})))
    value = json.loads(out)
    assert list(value) == ["at", "local", "nodes"] and value["nodes"][0]["ok"] is True
    assert [check["check"] for check in value["nodes"][0]["checks"]] == ["reach", "host key", "login", "python", "agent", "driver", "clock"]
