"""Plugins as pip would install them, made from their source trees: what a test puts on the module path is found by its entry points."""

from __future__ import annotations

import tomllib
from pathlib import Path

PLUGINS = Path(__file__).parents[2] / "plugins"


def write_metadata(folder: Path, name: str, version: str, entries: dict[str, str]) -> None:
    """The part of an installed package that importlib.metadata reads."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    listed = "".join(f"{entry} = {target}\n" for entry, target in entries.items())
    (metadata / "entry_points.txt").write_text(f"[opsconsole]\n{listed}")


def paths_of(name: str, folder: Path) -> list[str]:
    """What has to be on the module path for plugins/NAME to be found as if it were installed."""
    project = tomllib.loads((PLUGINS / name / "pyproject.toml").read_text())["project"]
    write_metadata(folder, project["name"], project["version"], project["entry-points"]["opsconsole"])
    return [str(folder), str(PLUGINS / name)]
