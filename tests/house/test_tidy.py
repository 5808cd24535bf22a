"""The shape of the house: small rooms, each with a sentence at its door, no banned names, no loose ends."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = sorted((ROOT / "opsconsole").rglob("*.py"))
PLUGIN_ROOMS = sorted((ROOT / "plugins").rglob("*.py"))
ALL_CODE = ROOMS + PLUGIN_ROOMS + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "demo").rglob("*.py"))

FILE_LIMIT_LINES = 320
TEST_LIMIT_LINES = 350
FUNCTION_LIMIT_LINES = 50
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
TOP_LEVEL = {"pyproject.toml", "README.md", "opsconsole", "plugins", "tests", "demo", ".ci", "LICENSE", ".gitignore", ".git"}


def name_of(file):
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", ROOMS + PLUGIN_ROOMS, ids=name_of)
def test_a_room_opens_with_one_sentence(file):
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    assert docstring, "says why the room exists"
    first = docstring.split("\n\n")[0]
    assert first.rstrip().endswith("."), first


@pytest.mark.parametrize("file", ALL_CODE, ids=name_of)
def test_files_and_functions_fit_the_eye(file):
    text = file.read_text()
    limit = FILE_LIMIT_LINES if file in ROOMS + PLUGIN_ROOMS else TEST_LIMIT_LINES
    assert len(text.splitlines()) <= limit
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < FUNCTION_LIMIT_LINES, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"


@pytest.mark.parametrize("file", ROOMS + PLUGIN_ROOMS, ids=name_of)
def test_no_room_without_a_purpose_in_its_name(file):
    assert not BANNED_NAMES & set(file.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("file", ROOMS + PLUGIN_ROOMS, ids=name_of)
def test_no_loose_ends(file):
    assert not UNFINISHED.search(file.read_text())


def test_no_dead_rooms():
    """Every module is imported by another, is a door (a program's or an entry point), or travels to a node as a part of the agent."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    imported = {target for group in project["entry-points"].values() for target in group.values()}
    for file in ROOMS:
        package = ".".join(file.relative_to(ROOT).with_suffix("").parts[:-1])
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                if node.level:
                    base = package.split(".")[: len(package.split(".")) - node.level + 1]
                    module = ".".join(base + ([module] if module else []))
                imported |= {module} | {f"{module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("opsconsole."):
                imported.add(node.value.split(":")[0])
    for file in ROOMS:
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if file.name not in ("__init__.py", "__main__.py"):
            assert module in imported, f"nobody imports {module}"


def test_the_linter_has_nothing_to_say():
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "check", "--no-cache", "opsconsole", "tests", "demo", "plugins"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_top_level_is_as_designed():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= TOP_LEVEL
