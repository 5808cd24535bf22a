"""Where a node is: the fleet file first, then ssh_config with all that operators put into it."""

from pathlib import Path

import pytest

from opsconsole.ssh.hosts import Hosts, HostsError
from tests.ssh.sshd import spec

CONFIG = """\
Include {included}
Host gpu01 gpu02
  HostName %h.example
  Port 2201
  User ops
Host gpu*
  User nobody
  IdentityFile ~/.ssh/fleet
  IdentitiesOnly yes
  UserKnownHostsFile /etc/known_fleet
Host door
  HostName door.example
  ProxyJump boss@outer:2222
Host behind
  ProxyJump door
Host round
  ProxyJump about
Host about
  ProxyJump round
Match host gpu09
  Port 9
"""


@pytest.fixture
def hosts(tmp_path):
    included = tmp_path / "more"
    included.write_text("Host gpu03\n  HostName 10.0.0.3\n  HostKeyAlias third\n")
    path = tmp_path / "ssh_config"
    path.write_text(CONFIG.format(included=included))
    return Hosts(path)


def test_sections_are_joined_as_ssh_does(hosts):
    target = hosts.target(spec("gpu01", user=None))
    assert (target.host, target.port, target.user) == ("gpu01.example", 2201, "ops")
    assert target.identities == (str(Path("~/.ssh/fleet").expanduser()),) and target.identities_only
    assert target.known_hosts == (Path("/etc/known_fleet"),)


def test_included_files_and_match(hosts):
    assert hosts.target(spec("gpu03")).host == "10.0.0.3" and hosts.target(spec("gpu03")).host_key_name == "third"
    assert hosts.target(spec("gpu09")).port == 9
    assert hosts.target(spec("other")).port == 22 and hosts.target(spec("other")).identities == ()


def test_the_fleet_file_wins(hosts):
    target = hosts.target(spec("gpu01", address="10.0.0.9", port=7, user="me", identity="~/key"))
    assert (target.host, target.port, target.user, target.identities) == ("10.0.0.9", 7, "me", (str(Path("~/key").expanduser()),))


def test_chains_of_jumps(hosts):
    target = hosts.target(spec("behind"))
    assert target.jump.host == "door.example"
    assert (target.jump.jump.host, target.jump.jump.user, target.jump.jump.port) == ("outer", "boss", 2222)
    chained = hosts.target(spec("gpu01", jump="a,b@b.example:23")).jump
    assert (chained.host, chained.user, chained.port, chained.jump.host) == ("b.example", "b", 23, "a")


def test_jump_hosts_are_equal_and_so_shared(hosts):
    assert hosts.target(spec("gpu01", jump="door")).jump == hosts.target(spec("gpu02", jump="door")).jump


def test_a_node_of_the_fleet_may_be_a_jump_host():
    door = spec("door", address="10.0.0.1", port=2200)
    target = Hosts(None, (), [door]).target(spec("gpu01", jump="door"))
    assert (target.jump.host, target.jump.port) == ("10.0.0.1", 2200)


def test_circles_are_refused(hosts):
    with pytest.raises(HostsError, match="round -> about -> round"):
        hosts.target(spec("round"))
    one, two = spec("one", jump="two"), spec("two", jump="one")
    with pytest.raises(HostsError, match="on the way to itself"):
        Hosts(None, (), [one, two]).target(one)


@pytest.mark.parametrize("address", ["-oProxyCommand=x", "a b", "a;b", "$(b)", "a\nb", "", "`b`"])
def test_hosts_that_are_none(address):
    hosts = Hosts(None)
    if address:
        with pytest.raises(HostsError):
            hosts.target(spec("gpu01", address=address))
    with pytest.raises(HostsError):
        hosts.target(spec(address or " "))


def test_a_config_that_cannot_be_parsed_is_named(tmp_path):
    path = tmp_path / "ssh_config"
    path.write_text("Host gpu01\n  Port many\n")
    with pytest.raises(HostsError, match=f"{path}.*Invalid Port"):
        Hosts(path).target(spec("gpu01"))


def test_two_thousand_hosts_are_read_once(tmp_path):
    import time

    path = tmp_path / "ssh_config"
    path.write_text("".join(f"Host gpu{number:04}\n  HostName 10.0.0.{number % 250}\n  Port {number + 1000}\n" for number in range(2000)))
    hosts = Hosts(path)
    began = time.process_time()
    assert [hosts.target(spec(f"gpu{number:04}")).port for number in range(200)] == list(range(1000, 1200))
    assert time.process_time() - began < 2.0, "parsing it all for each host takes 13 s"
