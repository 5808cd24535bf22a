"""The fleet file: what each line does, and for each mistake the line, the key and the mend."""

from pathlib import Path

import pytest

from opsconsole.config import Config, ConfigError, find_config, find_state_dir, read_config, starter
from opsconsole.core.fleet import Model, Policy, Rack, Site

FULL = """\
[fleet]
name = "prod-eu-1"
environment = "production"
ssh_config = "none"
known_hosts = "~/.ssh/known_hosts"

[[sites]]
name = "ams1"
provider = "acme"
power_budget_kw = 40.0
pue = 1.25
price_per_gpu_hour = { H100 = 2.10, L40S = 0.80 }

[[racks]]
name = "r01"
site = "ams1"
power_budget_kw = 10.5

[[nodes]]
hosts = "gpu[001-002].ams1"
site = "ams1"
rack = "r01"
chip = "H100"
address = "10.0.0.[1-2]"
port = 2201
user = "ops"
identity = "~/.ssh/ops"
jump = "ops@bastion.ams1:2222"
python = "/opt/python/bin/python3"
worker_python = "~/venv/bin/python"
worker_host = "0.0.0.0"
work_dir = "/var/lib/opsconsole"
gpus = "sim:/tmp/gpus.json"
link = "sim"

[[models]]
name = "llama-8b"
engine = "vllm"
checkpoint = "/models/llama-8b"
gpus = 2
slots = 16
max_len = 4096
min_ready = 2
objective = { ttft_p95_ms = 100, itl_p95_ms = 50 }
tokens_per_day = "2T"

[policy]
max_unavailable = 3
power_headroom_pct = 15

[router]
kind = "gateway"
url = "http://127.0.0.1:8080"

[screen]
theme = "day"

[history]
hours = 12

[keys]
drain = "ctrl+d"
"""
SMALL = '[[nodes]]\nhosts = "gpu01"\n'
RACKED = "[[sites]]\nname = 'a'\n[[sites]]\nname = 'b'\n" + "".join(
    f"[[nodes]]\nhosts = '{at}{rack}'\nsite = '{at}'\nrack = '{rack}'\n" for at in "ab" for rack in ("r1", "r2"))  # 20 lines


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Config:
        path = tmp_path / "fleet.toml"
        path.write_text(text)
        return read_config(path)

    return read


def test_every_key_arrives(read):
    config = read(FULL)
    assert (config.fleet_name, config.environment, config.ssh_config) == ("prod-eu-1", "production", None)
    assert config.known_hosts == (Path("~/.ssh/known_hosts").expanduser(),)
    assert config.sites == (Site("ams1", "acme", 40.0, 1.25, {"H100": 2.1, "L40S": 0.8}),)
    assert config.racks == (Rack("r01", "ams1", 10.5),)
    assert config.models == (Model("llama-8b", "vllm", "/models/llama-8b", 2, 1.0, 16, 4096, 2, 100.0, 50.0, 2e12),)
    assert config.policy == Policy(3, 15.0)
    assert (config.router.kind, config.router.url) == ("gateway", "http://127.0.0.1:8080")
    assert (config.theme, config.history_hours, config.keys) == ("day", 12.0, {"drain": "ctrl+d"})
    first, second = config.nodes
    assert (first.name, first.address, second.name, second.address) == ("gpu001.ams1", "10.0.0.1", "gpu002.ams1", "10.0.0.2")
    assert (first.site, first.rack, first.chip, first.port, first.user) == ("ams1", "r01", "H100", 2201, "ops")
    assert first.identity == str(Path("~/.ssh/ops").expanduser()) and first.jump == "ops@bastion.ams1:2222"
    assert (first.python, first.worker_python, first.worker_host) == ("/opt/python/bin/python3", "~/venv/bin/python", "0.0.0.0")
    assert (first.work_dir, first.gpus, first.link) == ("/var/lib/opsconsole", "sim:/tmp/gpus.json", "sim")


def test_what_only_plugins_can_judge_keeps_its_lines(read):
    text = SMALL + "[[models]]\nname = 'm'\nengine = 'vllm'\n[router]\nkind = 'haproxy'\n[router.options]\nsocket = '/run/h.sock'\n"
    config = read(text + "[plugins]\nload = ['more']\n")
    assert (config.router.kind, config.router.options, config.plugins) == ("haproxy", {"socket": "/run/h.sock"}, ("more",))
    lines = {"models.m.engine": 5, "models.m.slots": 3, "router.kind": 7, "router.options": 8, "plugins.load": 11}
    assert {place: config.lines[place] for place in lines} == lines
    with pytest.raises(ConfigError, match=r":5: key `engine`: there is no such engine$"):
        config.refuse("models.m.engine", "there is no such engine")


def test_a_node_is_enough(read):
    config = read(SMALL)
    node = config.nodes[0]
    assert (node.name, node.python, node.gpus, node.link, node.address) == ("gpu01", "python3", "nvml", "ssh", None)
    assert (config.fleet_name, config.router, config.policy) == ("fleet", None, Policy())


@pytest.mark.parametrize(
    ("written", "tokens"),
    [("2_000", 2000.0), ('"1.5B"', 1.5e9), ('"2T"', 2e12), ('"500k"', 5e5), ('"3 G"', 3e9), ("1e9", 1e9), ('"7"', 7.0)],
)
def test_tokens_a_day(read, written, tokens):
    assert read(f'{SMALL}[[models]]\nname = "m"\ntokens_per_day = {written}\n').models[0].tokens_per_day == tokens


def test_racks_of_two_sites_may_have_one_name(read):
    racks = "".join(f"[[racks]]\nname = 'r1'\nsite = '{at}'\npower_budget_kw = 3\n" for at in "ab")
    assert read(RACKED + racks).racks == (Rack("r1", "a", 3.0), Rack("r1", "b", 3.0))
    assert read(SMALL + "rack = 'x'\n[[racks]]\nname = 'x'\npower_budget_kw = 3\n").racks == (Rack("x", "", 3.0),)


MISTAKES = [
    # text, line, words of the message
    ("", 1, "there are no nodes; add"),
    ('[fleet]\nname = "x"\n', 1, "there are no nodes; add"),
    ("[fleet\n", 1, "not valid TOML"),
    ('[fleet]\nname = "a"\nname = "b"\n', 3, "not valid TOML"),
    (SMALL + "hosst = 1\n", 3, "key `hosst`: there is no such key; did you mean `hosts`"),
    (SMALL + "\n[[nods]]\nx = 1\n", 4, "key `nods`: there is no such table; did you mean `nodes`"),
    ("[nodes]\nhosts = 'a'\n", 1, "single table"),
    ("nodes = 3\n", 1, "single table"),
    (SMALL + "[[policy]]\nx = 1\n", 3, "written as a value"),
    ("[[nodes]]\nsite = 'x'\n", 1, "key `hosts`: is missing"),
    (SMALL + "\n[[nodes]]\nhosts = 'gpu01'\n", 5, "gpu01 is already in line 2"),
    ("[[nodes]]\nhosts = 'gpu[1-2],gpu2'\n", 2, "gpu2 is already in line 2"),
    ("[[nodes]]\nhosts = 'gpu[2-1]'\n", 2, "goes down"),
    ("[[nodes]]\nhosts = 'gpu$(reboot)'\n", 2, "has the character '$'"),
    ('[[nodes]]\nhosts = "gpu\\n1"\n', 2, "control character"),
    ("[[nodes]]\nhosts = 3\n", 2, "not a text"),
    (SMALL + "site = 'mars'\n", 3, "no site is called mars"),
    (SMALL + "port = '22'\n", 3, "not a number"),
    (SMALL + "port = 70000\n", 3, "from 1 to 65535"),
    (SMALL + "port = 22.5\n", 3, "whole number"),
    (SMALL + "port = true\n", 3, "not a number"),
    (SMALL + "user = 'a b'\n", 3, "plain user name"),
    (SMALL + "address = '-oX'\n", 3, "host name or an IP address"),
    ("[[nodes]]\nhosts = 'a[1-2]'\naddress = '10.0.0.1'\n", 3, "1 for 2 hosts"),
    (SMALL + "python = 'python3; reboot'\n", 3, "plain path"),
    (SMALL + "worker_python = '-c'\n", 3, "plain path"),
    (SMALL + "work_dir = '/tmp/$(x)'\n", 3, "plain path"),
    (SMALL + "gpus = 'amd'\n", 3, "sim:PATH"),
    (SMALL + "link = 'telnet'\n", 3, '"ssh" or "sim"'),
    (SMALL + "jump = 'a b'\n", 3, "user@host:port"),
    (SMALL + "jump = 'gpu01'\n", 3, "circle (gpu01 -> gpu01)"),
    (SMALL + "jump = 'b'\n[[nodes]]\nhosts = 'b'\njump = 'ops@gpu01:22'\n", 3, "circle (gpu01 -> b -> gpu01)"),
    ("[fleet]\nname = 'a/b'\n" + SMALL, 2, "letters, digits"),
    ("[fleet]\nssh_config = '/nowhere/config'\n" + SMALL, 2, "is not a file"),
    (SMALL + "[[sites]]\nprovider = 'x'\n", 3, "key `name`: is missing"),
    (SMALL + "[[models]]\nname = 'm'\ngpus = 2\ngpu_share = 0.5\n", 6, "for workers of one GPU"),
    (SMALL + "[[models]]\nname = 'm'\ngpu_share = 0\n", 5, "from 0.01 to 1"),
    (SMALL + "[[sites]]\nname = 'a'\n[[sites]]\nname = 'a'\n", 6, "a is already in line 4"),
    (SMALL + "[[sites]]\nname = 'a'\nprice_per_gpu_hour = { H100 = 'two' }\n", 5, "key `price_per_gpu_hour.H100`: is 'two', not a number"),
    (SMALL + "[[sites]]\nname = 'a'\npue = 0.5\n", 5, "from 1 to 5"),
    (SMALL + "[[sites]]\nname = 'a'\npower_budget_kw = nan\n", 5, "not a number"),
    (SMALL + "[[models]]\nname = 'm'\nobjective = { ttft_ms = 3 }\n", 5, "did you mean `ttft_p95_ms`"),
    (SMALL + "[[models]]\nname = 'm'\nobjective = 3\n", 5, "write objective = {"),
    (SMALL + "[[models]]\nname = 'm'\ntokens_per_day = '2X'\n", 5, 'such as "2T"'),
    (SMALL + "[[models]]\nname = 'm'\ngpus = 0\n", 5, "from 1 to 64"),
    (SMALL + "[router]\nurl = 'ftp://x'\n", 4, "http://127.0.0.1:8080"),
    (SMALL + "[router]\nkind = 'a b'\n", 4, "letters, digits"),
    (SMALL + "[router]\noptions = { socket = 'x' }\n", 4, "the gateway takes none"),
    (SMALL + "[router]\nkind = 'x'\noptions = { socket = \"a\\nb\" }\n", 5, "control character"),
    (SMALL + "[router]\nkind = 'x'\noptions = 3\n", 5, "write options = {"),
    (SMALL + "[plugins]\nload = 'vllm'\n", 4, 'such as ["vllm"]'),
    (SMALL + "[plugins]\nload = ['a; b']\n", 4, 'such as ["vllm"]'),
    (RACKED + "[[racks]]\nname = 'r1'\nsite = 'a'\n", 21, "key `power_budget_kw`: is missing"),
    (RACKED + "[[racks]]\nname = 'r1'\nsite = 'a'\npower_budget_kw = '3'\n", 24, "not a number"),
    (RACKED + "[[racks]]\nname = 'r1'\nsite = 'a'\npower_budget_kw = -1\n", 24, "it must be from 0"),
    (RACKED + "[[racks]]\nname = 'r1'\nsite = 'a'\npower_budget_w = 3\npower_budget_kw = 3\n", 24, "did you mean `power_budget_kw`"),
    (RACKED + 2 * "[[racks]]\nname = 'r1'\nsite = 'a'\npower_budget_kw = 3\n", 26, "r1 at a is already in line 22"),
    (RACKED + "[[racks]]\nname = 'r3'\nsite = 'a'\n", 22, "no node at a is in a rack called r3 (racks there: r1, r2)"),
    (RACKED + "[[racks]]\nname = 'r1'\nsite = 'c'\n", 22, "no node at c is in a rack called r1 (racks there: none)"),
    (RACKED + "[[racks]]\nname = 'r1'\n", 22, "no node without a site is in a rack called r1"),
    (RACKED + "[[racks]]\nsite = 'a'\n", 21, "key `name`: is missing"),
    (RACKED + "[racks]\nname = 'r1'\n", 21, "single table"),
    (SMALL + "[plugins]\nlaod = []\n", 4, "did you mean `load`"),
    (SMALL + "[policy]\nmax_unavailble = 1\n", 4, "did you mean `max_unavailable`"),
    (SMALL + "[screen]\ncolour = 'red'\n", 4, "known here: theme"),
    (SMALL + "[history]\nhours = 0\n", 4, "it must be from"),
    (SMALL + "[history]\nhours = 48\ndays_1m = 1\n", 5, "keep minutes at least as long as seconds"),
    (SMALL + "[history]\ndays_1m = 40\ndays_10m = 30\n", 5, "keep ten minutes at least as long as minutes"),
    (SMALL + "[keys]\ndrain = 3\n", 4, "not a text"),
]


@pytest.mark.parametrize(("text", "line", "words"), MISTAKES, ids=[f"{entry[2][:30]}-{number}" for number, entry in enumerate(MISTAKES)])
def test_mistakes(read, tmp_path, text, line, words):
    with pytest.raises(ConfigError) as caught:
        read(text)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'fleet.toml'}:{line}: ") and words in said, said


def test_a_file_that_is_not_there_names_the_command(tmp_path):
    with pytest.raises(ConfigError, match="opsconsole config init"):
        read_config(tmp_path / "fleet.toml")


def test_a_directory_and_bytes_that_are_no_text(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path)
    (tmp_path / "fleet.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "fleet.toml")


def test_two_thousand_nodes(read):
    assert len(read('[[nodes]]\nhosts = "gpu[0001-2000]"\n').nodes) == 2000


def test_ssh_config_is_found_by_itself_unless_refused(read, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read(SMALL).ssh_config is None
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("")
    assert read(SMALL).ssh_config == tmp_path / ".ssh" / "config"
    assert read('[fleet]\nssh_config = "none"\n' + SMALL).ssh_config is None


def test_flag_beats_environment_beats_default(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    named = {"OPSCONSOLE_CONFIG": "/e/f.toml", "OPSCONSOLE_STATE_DIR": "/e/s"}
    assert [find_config("/a.toml", named), find_config(None, named)] == [Path("/a.toml"), Path("/e/f.toml")]
    assert find_config(None, {}) == tmp_path / "c" / "opsconsole" / "fleet.toml"
    assert [find_state_dir("/a", named, "x"), find_state_dir(None, named, "x")] == [Path("/a"), Path("/e/s")]
    assert find_state_dir(None, {}, "prod") == tmp_path / "s" / "opsconsole" / "prod"


def test_the_starter_is_a_fleet_file_with_the_hosts_of_ssh_config(read, tmp_path):
    path = tmp_path / "ssh_config"
    path.write_text("Host *\n User ops\nHost gpu01 gpu02 !not web*\n ProxyJump me@door:22\nHost door\n")
    text = starter(path)
    assert [node.name for node in read(text).nodes] == ["gpu01", "gpu02"]
    assert [node.name for node in read(starter(None)).nodes] == ["gpu01.example", "gpu02.example"]
    lines = [line.removeprefix("# ") if " = " in line or line.startswith("# [") else line for line in text.splitlines()]
    assert len(read("\n".join(lines)).models) == 1, "what is commented out is right, too"
