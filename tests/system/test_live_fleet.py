"""The whole console against real OpenSSH nodes: hung and unplugged ones are named in time, the others never age, all come back."""

import json
import queue
import subprocess
import sys
import threading
import time

import pytest

from tests import nvml_library
from tests.ssh.namespaces import Fleet, why_not

WHY_NOT = why_not() or ("" if nvml_library.HAS_COMPILER else "needs gcc for the NVML library")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

SEEN_WITHIN_S = 5.0
NEVER_OLDER_S = 1.5
"""What a healthy node's age may reach on any screen, however ill the others are."""
FLEET = """
[fleet]
name = "real"
known_hosts = "{known_hosts}"

[[sites]]
name = "lab"
"""
NODE = """
[[nodes]]
hosts = "n{number}"
site = "lab"
chip = "H200"
address = "{address}"
identity = "{identity}"
user = "root"
"""


class Watching:
    """`opsconsole nodes --json --watch` and its collector, read line by line."""

    def __init__(self, options):
        self.options = options
        command = [sys.executable, "-m", "opsconsole", *options, "nodes", "--json", "--watch"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.seen = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put((time.monotonic(), {node["name"]: node for node in json.loads(line)["nodes"]}))

    def until(self, true, limit_s):
        """The moment and the nodes of the first line for which it is true."""
        give_up = time.monotonic() + limit_s
        while time.monotonic() < give_up:
            try:
                moment, nodes = self.lines.get(timeout=1.0)
            except queue.Empty:
                continue
            self.seen.append((moment, nodes))
            if true(nodes):
                return moment, nodes
        raise AssertionError(f"did not come: {self.seen[-1] if self.seen else 'no line at all'}")

    def oldest_s(self, name, since):
        return max(nodes[name]["age_s"] for moment, nodes in self.seen if moment >= since)

    def close(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def fleet(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / "lib").mkdir()
    nvml_library.write_state(tmp_path / "gpus.txt")
    made = Fleet(tmp_path / "fleet", 4, nvml_library.environment(nvml_library.build(tmp_path / "lib"), tmp_path / "gpus.txt")).up()
    yield made
    made.down()


@pytest.fixture
def watching(fleet, tmp_path):
    config = tmp_path / "fleet.toml"
    nodes = (NODE.format(number=number, address=server.address, identity=fleet.key) for number, server in fleet.servers.items())
    config.write_text(FLEET.format(known_hosts=fleet.known_hosts) + "".join(nodes))
    front = Watching(["--config", str(config), "--state-dir", str(tmp_path / "state")])
    yield front
    front.close()


def all_live(nodes):
    return all(node["reach"] == "LIVE" for node in nodes.values())


def logins_of(server):
    return (server.home / "sshd.log").read_text().count("Accepted publickey")


def test_hung_and_unplugged_nodes_are_named_and_harm_nobody(fleet, watching):
    _, nodes = watching.until(all_live, 30.0)
    assert all(node["gpus"] == 8 and node["util_pct"] is not None and node["driver"] for node in nodes.values())
    began = time.monotonic()
    fleet.hang(1)
    fleet.part(2)
    seen, nodes = watching.until(lambda nodes: (nodes["n1"]["reach"], nodes["n2"]["reach"]) == ("HUNG", "UNREACHABLE"), 10.0)
    assert seen - began <= SEEN_WITHIN_S
    assert nodes["n1"]["util_pct"] is None and nodes["n1"]["reason"] and nodes["n2"]["reason"] and nodes["n1"]["age_s"] > 3
    watching.until(lambda _: time.monotonic() > began + 8.0, 10.0)
    for healthy in ("n3", "n4"):
        assert watching.oldest_s(healthy, began) <= NEVER_OLDER_S
    fleet.unhang(1)
    fleet.heal(2)
    watching.until(all_live, 20.0)


def test_a_second_front_shares_the_links(fleet, watching):
    watching.until(all_live, 30.0)
    logins = [logins_of(server) for server in fleet.servers.values()]
    command = [sys.executable, "-m", "opsconsole", *watching.options]
    answer = subprocess.run([*command, "gpus", "--json"], capture_output=True, text=True, timeout=20)
    assert answer.returncode == 0 and len(json.loads(answer.stdout)["gpus"]) == 32
    assert [logins_of(server) for server in fleet.servers.values()] == logins


def test_a_changed_host_key_is_red_and_the_exit_code_says_partial(fleet, watching):
    watching.until(all_live, 30.0)
    fleet.rekey(3)
    fleet.part(3)
    # so old that the first connection is given up, and a new one shows the new key
    watching.until(lambda nodes: nodes["n3"]["reach"] == "UNREACHABLE" and nodes["n3"]["age_s"] > 11, 20.0)
    fleet.heal(3)
    _, nodes = watching.until(lambda nodes: nodes["n3"]["reach"] == "HOST_KEY_CHANGED", 30.0)
    assert "SHA256:" in nodes["n3"]["reason"]
    answer = subprocess.run([sys.executable, "-m", "opsconsole", *watching.options, "nodes"], capture_output=True, text=True, timeout=20)
    assert answer.returncode == 3 and "n3 (HOST_KEY_CHANGED)" in answer.stderr and "n1" in answer.stdout
