"""Tells a filter that finds nothing now from one that never will: it names a site, node or model that the fleet does not have."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from opsconsole.core.filter import Filter
from opsconsole.core.fleet import Fleet

SHOWN_LIMIT = 5
"""More names than these are not listed; what is near the wrong one is."""
NAME_IS_OF = {"status": "node", "nodes": "node", "gpus": "node", "models": "model", "sites": "site"}
"""What `name:` means in each listing. Workers come and go, so the name of one that is not there is no mistake."""


def _sites(fleet: Fleet) -> list[str]:
    return [site.name for site in fleet.roster.sites] + [node.site for node in fleet.roster.nodes]


def _nodes(fleet: Fleet) -> list[str]:
    return [node.name for node in fleet.roster.nodes]


def _models(fleet: Fleet) -> list[str]:
    return [model.name for model in fleet.roster.models] + list(fleet.workers_of_model)


_KNOWN: dict[str, Callable[[Fleet], list[str]]] = {"site": _sites, "node": _nodes, "model": _models}


def unknown_name(fleet: Fleet, chosen: Filter, listing: str) -> str:
    """One sentence on the first name in a filter that is nobody's; "" when each is somebody's. Names are patterns, as in the filter."""
    for key, name in chosen.named:
        kind = NAME_IS_OF.get(listing, "") if key == "name" else key
        if kind not in _KNOWN:
            continue
        known = list(dict.fromkeys(filter(None, _KNOWN[kind](fleet))))
        if not any(fnmatchcase(one.lower(), name.lower()) for one in known):
            return f"there is no {kind} {name!r} in the fleet file; {_hint(known, name)}"
    return ""


def _hint(known: list[str], name: str) -> str:
    if len(known) <= SHOWN_LIMIT:
        return f"known: {', '.join(known) or 'none'}"
    near = get_close_matches(name, known, SHOWN_LIMIT)
    return f"near it: {', '.join(near)}" if near else f"it has {len(known)}, such as {known[0]}"
