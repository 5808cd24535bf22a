"""A first fleet file for somebody who has an ssh_config and five minutes."""

from __future__ import annotations

from pathlib import Path

from opsconsole.config.table import NAME

_HEAD = """\
# The fleet that opsconsole operates. `opsconsole config check` names what is wrong here, by line.

[fleet]
name = "my-fleet"
# environment = "production"          # then stopping something needs its name typed
{ssh_config}
# known_hosts = "~/.ssh/known_hosts"

# [[sites]]                           # one power feed at one provider
# name = "ams1"
# power_budget_kw = 40.0
# price_per_gpu_hour = {{ H100 = 2.10 }}
"""
_NODE = """
[[nodes]]
hosts = "{host}"
# site = "ams1"
# chip = "H100"
"""
_NOBODY = """
[[nodes]]
hosts = "gpu[01-02].example"          # no host was found in ssh_config: name yours here
"""
_TAIL = """
# [[models]]
# name = "llama-8b"
# checkpoint = "/models/llama-8b"
# min_ready = 2
# objective = { ttft_p95_ms = 100, itl_p95_ms = 50 }

# [router]
# url = "http://127.0.0.1:8080"
"""


def starter(ssh_config_path: Path | str | None) -> str:
    """A commented fleet file with the hosts of an ssh_config that are no patterns."""
    path = Path(ssh_config_path).expanduser() if ssh_config_path else None
    hosts = _hosts(path) if path and path.is_file() else []
    said = f'ssh_config = "{ssh_config_path}"' if hosts else '# ssh_config = "~/.ssh/config"'
    nodes = "".join(_NODE.format(host=host) for host in hosts) or _NOBODY
    return _HEAD.format(ssh_config=said) + nodes + _TAIL


def _hosts(path: Path) -> list[str]:
    """Names behind `Host`, in the order written; those that others jump through are no nodes of ours."""
    names: dict[str, None] = {}
    jumps: set[str] = set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.replace("=", " ", 1).split()
        keyword = words[0].lower() if words else ""
        if keyword == "host":
            names.update(dict.fromkeys(name for name in words[1:] if NAME.fullmatch(name)))
        elif keyword == "proxyjump":
            jumps.update(hop.rpartition("@")[2].partition(":")[0] for hop in "".join(words[1:]).split(","))
    return [name for name in names if name not in jumps]
