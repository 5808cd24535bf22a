"""Who acts from here, for those who read it later."""

from __future__ import annotations

import getpass
import socket

from opsconsole.core.text import clean

NAME_LIMIT = 80


def actor() -> str:
    """user@host as this machine knows them; "unknown" where it knows neither."""
    try:
        return clean(f"{getpass.getuser()}@{socket.gethostname()}", NAME_LIMIT)
    except (OSError, KeyError):
        return "unknown"
