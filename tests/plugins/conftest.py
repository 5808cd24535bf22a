"""Plugins for one test: those of this repository from their source trees, and strangers written on the spot."""

import sys

import pytest

from tests.plugins.installed import paths_of, write_metadata


@pytest.fixture
def install(tmp_path, monkeypatch):
    """install("haproxy") makes plugins/haproxy findable until the test ends."""

    def install(name):
        for path in reversed(paths_of(name, tmp_path / f"installed-{name}")):
            monkeypatch.syspath_prepend(path)

    return install


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """stranger("name", "source of its module") makes a plugin of somebody else."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    made = []

    def stranger(name, source, version="1.2"):
        module = f"stranger_{name}_{tmp_path.name}".replace("-", "_")
        (folder / f"{module}.py").write_text(source)
        write_metadata(folder, f"opsconsole-{name}", version, {name: module})
        made.append(module)
        return module

    yield stranger
    for module in made:
        sys.modules.pop(module, None)
