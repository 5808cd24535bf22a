"""Where the fleet file and the state directory are: flag beats environment beats the place the platform has for such things."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import platformdirs


def find_config(flag: str | None, environ: Mapping[str, str]) -> Path:
    """The fleet file's path; it need not exist."""
    named = flag or environ.get("OPSCONSOLE_CONFIG")
    return Path(named).expanduser() if named else platformdirs.user_config_path("opsconsole") / "fleet.toml"


def find_state_dir(flag: str | None, environ: Mapping[str, str], fleet_name: str) -> Path:
    """The directory of history, audit and socket; each fleet has its own by default."""
    named = flag or environ.get("OPSCONSOLE_STATE_DIR")
    return Path(named).expanduser() if named else platformdirs.user_state_path("opsconsole") / fleet_name
