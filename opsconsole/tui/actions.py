"""The one registry of what a key can do: it writes bindings, footer, help and palette entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from textual.keys import _character_to_key

from opsconsole.tui import alarming, asking

EVERYWHERE = ("fleet", "node", "workers", "plans", "alarms")
LOOKING = ("fleet", "node", "workers")
"""Screens on which nodes or workers are chosen."""
MENDING = (*LOOKING, "alarms")
"""On the alarms screen the keys that act do what helps against the chosen alarm."""
KEY_NAMES = {
    "enter": "↵",
    "space": "␣",
    "escape": "esc",
    "down": "↓",
    "up": "↑",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


@dataclass(frozen=True, slots=True)
class Action:
    """do: what it does to the view (the screen) on which its key was pressed. keys: the first is shown, all of them work."""

    id: str
    keys: tuple[str, ...]
    name: str
    help: str
    group: str
    do: Callable[[Any], Any]
    dangerous: bool = False
    """Changes the fleet: never bound when read only."""
    screens: tuple[str, ...] = EVERYWHERE
    footer: int = 0
    """Place in the footer, smallest first; 0: not there."""

    @property
    def key_shown(self) -> str:
        return shown(self.keys[0]) if self.keys else ""


ACTIONS: tuple[Action, ...] = (
    Action("down", ("j", "down"), "down", "next row", "move", lambda view: view.move(1)),
    Action("up", ("k", "up"), "up", "previous row", "move", lambda view: view.move(-1)),
    Action("top", ("g", "home"), "top", "first row", "move", lambda view: view.move(-(10**9))),
    Action("bottom", ("G", "end"), "bottom", "last row", "move", lambda view: view.move(10**9)),
    Action("page-down", ("ctrl+d", "pagedown"), "page down", "half a page down", "move", lambda view: view.move_page(1)),
    Action("page-up", ("ctrl+u", "pageup"), "page up", "half a page up", "move", lambda view: view.move_page(-1)),
    Action("open", ("enter",), "open", "look into what is chosen", "move", lambda view: view.open_chosen(), footer=1),
    Action("back", ("escape",), "back", "back; on the fleet: take marks and filter off", "move", lambda view: view.back()),
    Action("next-problem", ("n",), "next problem", "go to the next alarm", "look", lambda view: view.next_problem(), False, MENDING, 2),
    Action(
        "filter",
        ("/",),
        "filter",
        "show only some nodes: util>90 site:ams1 !drained",
        "look",
        lambda view: view.open_filter(),
        footer=3,
        screens=("fleet",),
    ),
    Action(
        "mark",
        ("space",),
        "mark",
        "mark a row, so that an action takes several",
        "look",
        lambda view: view.mark(),
        footer=4,
        screens=("fleet", "workers"),
    ),
    Action(
        "metric",
        ("m",),
        "metric",
        "what map and chart show: util, temperature, memory, power",
        "look",
        lambda view: view.next_metric(),
        screens=("fleet", "node"),
    ),
    Action("sort", ("o",), "sort", "order of the table", "look", lambda view: view.next_sort(), screens=("fleet",)),
    Action("fleet", ("1",), "fleet", "the whole fleet", "views", lambda view: view.app.open_view("fleet")),
    Action("node", ("2",), "node", "the chosen node", "views", lambda view: view.app.open_view("node")),
    Action("workers", ("3",), "workers", "models and their workers", "views", lambda view: view.app.open_view("workers"), footer=8),
    Action("plans", ("4",), "plans", "runs under way and past", "views", lambda view: view.app.open_view("plans"), footer=9),
    Action("alarms", ("6",), "alarms", "what deserves a person", "views", lambda view: view.app.open_view("alarms")),
    Action("drain", ("D",), "drain", "take what is chosen out, no request is lost", "act", asking.drain, True, MENDING, 5),
    Action("launch", ("L",), "launch", "start workers of a model", "act", asking.launch, True, footer=6),
    Action("rebalance", ("R",), "rebalance", "the fewest moves that help most", "act", asking.rebalance, True, footer=7),
    Action("rollout", ("O",), "rollout", "replace a model's workers, one at a time", "act", asking.rollout, True, LOOKING),
    Action("stop", ("S",), "stop", "stop what is chosen and has nothing in flight", "act", asking.stop, True, LOOKING),
    Action("cordon", ("C",), "cordon", "no new workers there; again: let them in", "act", asking.cordon, True, MENDING),
    Action("cap", ("P",), "cap power", "limit power of a node or site, or lift it", "act", asking.cap, True, MENDING),
    Action("undo", ("U",), "undo", "take the last run, or a chosen drain, back", "act", lambda view: view.undo(), True),
    Action("resume", ("r",), "resume", "go on with an interrupted run", "act", lambda view: view.resume_run(), True, ("plans",), 4),
    Action("cancel", ("x",), "cancel", "end a run and what it has under way", "act", lambda view: view.cancel_run(), True, ("plans",), 5),
    Action("mend", ("M",), "mend", "open the plan that helps most against the alarm", "act", alarming.mend, True, ("alarms",), 1),
    Action("ack", ("a",), "take", "take the chosen alarm, or give it back", "act", alarming.take, True, ("alarms",), 2),
    Action("silence", ("z",), "silence", "hear nothing of it for a while, or hear it again", "act", alarming.silence, True, ("alarms",), 3),
    Action("note", ("w",), "note", "write on it for whoever comes next", "act", alarming.note, True, ("alarms",), 4),
    Action("command", (":", "ctrl+p"), "command", "do anything by its name", "help", lambda view: view.app.open_palette(), footer=10),
    Action("help", ("?",), "help", "all keys", "help", lambda view: view.app.open_help(), footer=11),
    Action(
        "quit",
        ("q", "ctrl+c"),
        "quit",
        "leave; what is under way goes on in the collector",
        "help",
        lambda view: view.app.leave(),
        footer=12,
    ),
)


class KeyConflict(ValueError):
    """A rebinding that cannot be: the text is one sentence that names the action and the key."""


def registry(keys: Mapping[str, str] | None = None, read_only: bool = False) -> tuple[Action, ...]:
    """The actions with the operator's keys (action id -> key), without the dangerous ones when read only. Raises KeyConflict."""
    wanted = dict(keys or {})
    unknown = wanted.keys() - {action.id for action in ACTIONS}
    if unknown:
        raise KeyConflict(f"keys: there is no action `{min(unknown)}`; known are {', '.join(action.id for action in ACTIONS)}")
    taken = {normal(key): action for action, key in wanted.items()}
    bound = [replace(action, keys=_keys(action, wanted, taken)) for action in ACTIONS]
    _check(bound)
    return tuple(action for action in bound if not (read_only and action.dangerous))


def _keys(action: Action, wanted: Mapping[str, str], taken: Mapping[str, str]) -> tuple[str, ...]:
    """A rebound action has only its new key; the others keep theirs, less what was taken from them."""
    if action.id in wanted:
        return (normal(wanted[action.id]),)
    return tuple(key for key in map(normal, action.keys) if key not in taken)


def _check(actions: Iterable[Action]) -> None:
    owner: dict[str, str] = {}
    for action in actions:
        if not action.keys:
            raise KeyConflict(f"keys: nothing is left for `{action.id}`, its key was given away; give it another")
        for key in action.keys:
            if key in owner:
                raise KeyConflict(f"keys: `{key}` is asked for by `{owner[key]}` and `{action.id}`")
            owner[key] = action.id


def normal(key: str) -> str:
    """A key as Textual calls it: `/` is `slash`, `Ctrl-X` is `ctrl+x`."""
    if len(key) == 1:
        return _character_to_key(key)
    head, _, last = key.replace("-", "+").rpartition("+")
    return f"{head.lower()}+{last.lower()}" if head else last.lower() if not last.isupper() else last


def shown(key: str) -> str:
    """A key as people write it."""
    if key in KEY_NAMES:
        return KEY_NAMES[key]
    return key.replace("ctrl+", "Ctrl-") if len(key) > 1 else key
