"""README says only what is true: its generated parts are current, and every command, option, setting, path and word in it exists."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import pytest

from opsconsole.cli.root import COMMANDS, opsconsole
from opsconsole.config import NodeSpec, Router, read_config
from opsconsole.core.fleet import REACH_WORDS, Model, Policy, Rack, Site
from opsconsole.protocol import WORKER_PHASES, WORKER_STATES
from opsconsole.tui.actions import registry
from opsconsole.tui.looks import LOOKS
from tests.house.readme_parts import PARTS, README, part_of, worker_parser

TEXT = README.read_text(encoding="utf-8")
ROOT = README.parent


@pytest.mark.parametrize("name", PARTS)
def test_generated_parts_are_current(name):
    assert part_of(TEXT, name) == PARTS[name](), "run: python tests/house/readme_parts.py"


def test_the_first_two_commands_are_the_demo_and_the_tests():
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    assert [block.strip().split("/")[-1] for block in blocks[:2]] == ["opsconsole demo", "pytest -n auto --dist loadfile"]
    for block, extra in zip(blocks, ("worker", "test"), strict=False):
        assert f"'.[{extra}]'" in block and block.count("\n") == 1


def options_of(command):
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*map(options_of, command.commands.values())) if isinstance(command, click.Group) else own


def test_every_command_line_names_a_command_and_options_that_exist():
    top = options_of(opsconsole) | {"--help"}
    for line in re.findall(r"(?:^\$ |`)opsconsole ([^`\n&]*)", TEXT, re.MULTILINE):
        words = line.split()
        name = next((word for word in words if not word.startswith("-")), "")
        if name in ("worker", "gateway"):
            continue  # data-plane programs with parsers of their own
        if not name:
            assert set(words) <= top, line
            continue
        assert name in COMMANDS, line
        command = opsconsole.get_command(None, name)
        if isinstance(command, click.Group) and len(words) > 1:
            command = command.get_command(None, words[1])
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options_of(command) | top, line


def test_every_option_in_the_prose_exists():
    ours = COMMANDS.keys() - {"worker", "gateway"}
    known = options_of(opsconsole).union(*(options_of(opsconsole.get_command(None, name)) for name in ours))
    known |= set(worker_parser()._option_string_actions)
    prose = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
    for option in re.findall(r"`(--[a-z-]+)", prose):
        assert option in known, option


def test_the_fleet_file_is_valid_and_complete(tmp_path):
    text = re.search(r"```toml\n(.*?)```", part_of(TEXT, "fleet-file"), re.DOTALL)[1]
    path = tmp_path / "fleet.toml"
    path.write_text(text.replace('ssh_config = "~/.ssh/config"', 'ssh_config = "none"'))
    config = read_config(path)
    assert config.router == Router("gateway", "http://127.0.0.1:8080") and len(config.nodes) == 16
    content = tomllib.loads(text)
    objective = {"ttft_p95_ms", "itl_p95_ms"}
    assert set(content["nodes"][0]) == {field.name for field in fields(NodeSpec)} - {"name"} | {"hosts"}
    assert set(content["models"][0]) == {field.name for field in fields(Model)} - objective | {"objective"}
    assert set(content["models"][0]["objective"]) == objective
    for table, kind in ((content["sites"][0], Site), (content["racks"][0], Rack), (content["policy"], Policy), (content["router"], Router)):
        assert set(table) == {field.name for field in fields(kind)}
    assert set(content["plugins"]) == {"load"}
    registry(config.keys)
    assert set(re.search(r"theme = .*# (.*)", text)[1].split(", ")) == set(LOOKS)


def test_every_path_of_the_worker_is_told_and_no_other():
    pytest.importorskip("aiohttp")
    from opsconsole.worker.access import Access
    from opsconsole.worker.routes import Routes

    served = {resource.canonical for resource in Routes(None, Access(None)).application().router.resources()} - {"/{path}"}
    assert set(re.findall(r"`(?:GET|POST) (/[\w/]+)`", TEXT)) == served


def test_every_word_for_a_state_is_explained_and_no_other():
    assert set(re.findall(r"^\| `([A-Z_]{3,})` \|", TEXT, re.MULTILINE)) == set(REACH_WORDS)
    told = re.search(r"Workers go `(.*?)`, or `FAILED`", TEXT, re.DOTALL)[1]
    assert set(re.findall(r"[A-Z_]{4,}", told)) | {"FAILED"} == set(WORKER_STATES)
    assert tuple(re.search(r"\((.*?)\)", told)[1].split(", ")) == WORKER_PHASES


def test_every_path_exists():
    for path in re.findall(r"(?:\]\(|`(?:python )?)((?:demo|tests|opsconsole|plugins)/[\w./-]+)", TEXT):
        assert (ROOT / path).exists(), path


def test_nothing_of_a_private_machine():
    for file in [README, *Path(ROOT / "demo").rglob("*.toml")]:
        assert not re.search(r"/(home|root|work|Users)/", file.read_text(encoding="utf-8")), file
