"""What the data plane needs and a console alone does not have: said in one sentence, before anything is started."""

from __future__ import annotations

from importlib.util import find_spec

from opsconsole.cli.output import CommandError

WORKER_PACKAGES = ("jax", "safetensors", "tokenizers", "aiohttp", "prometheus_client", "jinja2")
"""The extra `worker` by the names that its packages are imported by."""


def need_worker_extra(who: str, instead: str = "") -> None:
    """Raises CommandError when a package of the extra is missing. instead: what can be done without, after a comma."""
    missing = [name for name in WORKER_PACKAGES if find_spec(name) is None]
    if missing:
        raise CommandError(f"{who} needs what is not installed ({', '.join(missing)}); run: pip install 'opsconsole[worker]'{instead}")
