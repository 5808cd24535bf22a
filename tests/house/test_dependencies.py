"""Everything that is imported is declared, in the extra that its importer belongs to."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {"nvidia-ml-py": "pynvml", "sqlite-utils": "sqlite_utils", "import-linter": "importlinter"}
OURS = {"opsconsole", "tests"} | {path.parent.name for path in (ROOT / "plugins").glob("*/*/__init__.py")}
RIDES_ALONG = {"rich": "textual", "ml_dtypes": "jax", "jaxlib": "jax"}
"""Packages that are a published part of another's interface, by the one that brings them."""


def declared(*extras):
    names = [*PROJECT["dependencies"], *(name for extra in extras for name in PROJECT["optional-dependencies"][extra])]
    plain = {re.match(r"[A-Za-z0-9_-]+", name)[0] for name in names}
    brought = {module for module, owner in RIDES_ALONG.items() if owner in plain}
    return {MODULES.get(name, name).replace("-", "_") for name in plain} | brought


def imported(*folders):
    for folder in folders:
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
                for name in names:
                    top = name.split(".")[0]
                    if top not in sys.stdlib_module_names | OURS and not (file.parent / f"{top}.py").exists():
                        yield top, str(file.relative_to(ROOT))


def undeclared(folders, *extras):
    return {(name, file) for name, file in imported(*folders) if name not in declared(*extras)}


def test_the_console_needs_no_extra_but_for_parquet():
    console = [f"opsconsole/{name}" for name in ("cli", "config", "control", "core", "history", "ssh", "tui", "agent")]
    assert {file for _, file in undeclared(console)} == {"opsconsole/history/parquet.py"} and not undeclared(console, "parquet")


def test_the_data_plane_and_the_demo_need_the_extra_worker():
    assert not undeclared(["opsconsole", "demo"], "worker", "parquet")


def test_the_tests_need_the_extra_test_and_what_they_compare_with_the_extra_parity():
    assert not undeclared(["tests"], "test", "worker", "parity", "parquet")


@pytest.mark.parametrize("folder", sorted((ROOT / "plugins").iterdir()), ids=lambda folder: folder.name)
def test_a_plugin_needs_opsconsole_and_nothing_that_it_does_not_declare(folder):
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert {name for name, _ in imported(folder)} <= {
        re.match(r"[A-Za-z0-9_-]+", name)[0].replace("-", "_") for name in project["dependencies"]
    }
    assert "opsconsole" in project["dependencies"] and project["entry-points"]["opsconsole"]
