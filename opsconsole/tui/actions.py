"""The one registry of what a key can do: it writes bindings, footer, help and palette entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from textual.keys import _character_to_key

from opsconsole.tui import alarming, asking

EVERYWHERE = ("fleet", "node", "workers", "plans", "chart", "capacity", "alarms")
LOOKING = ("fleet", "node", "workers")
"""Screens on which nodes or workers are chosen."""
MENDING = (*LOOKING, "alarms")
"""On the alarms screen the keys that act do what helps against the chosen alarm."""
CHART = ("chart",)
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
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "comma": ",",
    "full_stop": ".",
    "left": "←",
    "right": "→",
    "backspace": "⌫",
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
    when: str = ""
    """"live" or "past": it is for that time only, and its key is its own then; "": it is for both."""

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
    Action("back", ("escape", "backspace"), "back", "back; on the fleet: take marks and filter off", "move", lambda view: view.back()),
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
        screens=("fleet", "node", "chart"),
    ),
    Action("sort", ("o",), "sort", "order of the table", "look", lambda view: view.next_sort(), screens=("fleet",)),
    Action("fleet", ("1",), "fleet", "the whole fleet", "views", lambda view: view.app.open_view("fleet")),
    Action("node", ("2",), "node", "the chosen node", "views", lambda view: view.app.open_view("node")),
    Action("workers", ("3",), "workers", "models and their workers", "views", lambda view: view.app.open_view("workers"), footer=8),
    Action("plans", ("4",), "plans", "runs under way and past", "views", lambda view: view.app.open_view("plans"), footer=9),
    Action("capacity", ("5",), "capacity", "what is left, when it ends, power and money", "views",
           lambda view: view.app.open_view("capacity")),
    Action("what-if", ("f",), "what if", "what would be so after a change, before any yes", "look",
           lambda view: view.app.foresight.ask(), screens=("capacity",), footer=3),
    Action("alarms", ("6",), "alarms", "what deserves a person", "views", lambda view: view.app.open_view("alarms")),
    Action("chart", ("c",), "chart", "a chart of what is chosen; again: back", "look", lambda view: view.open_chart()),
    Action("closer", ("z",), "closer", "a shorter span in the chart, or in the past's time bar", "time", lambda view: view.zoom(True)),
    Action("wider", ("w",), "wider", "a longer span in the chart, or in the past's time bar", "time", lambda view: view.zoom(False)),
    Action("left", ("left",), "left", "the crosshair to an earlier moment", "look", lambda view: view.move_cross(-1), screens=CHART),
    Action("right", ("right",), "right", "the crosshair to a later moment", "look", lambda view: view.move_cross(1), screens=CHART),
    Action("versus", ("v",), "versus", "a second series in the chart", "look", lambda view: view.choose_versus(), screens=CHART, footer=5),
    Action("earlier", ("y",), "earlier", "an hour, a day, a week before", "look", lambda view: view.next_shift(), screens=CHART, footer=6),
    Action("past", ("[",), "past", "into the past", "time", lambda view: view.app.travel.step(-1), footer=13, when="live"),
    Action("step-back", ("[",), "back", "a second back", "time", lambda view: view.app.travel.step(-1), footer=3, when="past"),
    Action("step-on", ("]",), "on", "a second on", "time", lambda view: view.app.travel.step(1), footer=4, when="past"),
    Action("minute-back", ("{",), "minute back", "a minute back", "time", lambda view: view.app.travel.step(-60)),
    Action("minute-on", ("}",), "minute on", "a minute on", "time", lambda view: view.app.travel.step(60)),
    Action("play", ("space",), "play", "play the past, or pause", "time", lambda view: view.app.travel.play(), footer=1, when="past"),
    Action("faster", ("+", "="), "faster", "play faster", "time", lambda view: view.app.travel.change_speed(1), when="past"),
    Action("slower", ("-",), "slower", "play slower", "time", lambda view: view.app.travel.change_speed(-1), when="past"),
    Action("event-back", (",",), "event back", "to the alarm or action before", "time", lambda view: view.app.travel.next_event(-1)),
    Action("event-on", (".",), "event on", "to the next alarm or action", "time", lambda view: view.app.travel.next_event(1)),
    Action("time", ("t",), "time", "to a time: 03:12, -20m, an ISO time", "time", lambda view: view.app.travel.ask(), footer=14),
    Action("live", ("escape",), "live", "back to now", "time", lambda view: view.app.travel.leave(), footer=2, when="past"),
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
    Action("silence", ("i",), "silence", "hear nothing of it for a while, or hear it again", "act", alarming.silence, True, ("alarms",), 3),
    Action("note", ("e",), "note", "write on it for whoever comes next", "act", alarming.note, True, ("alarms",), 4),
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


def available(actions: Iterable[Action], in_past: bool) -> list[Action]:
    """Those that do something now, or in the past: nothing can be changed there, and some keys mean something else."""
    actions, other = tuple(actions), "live" if in_past else "past"
    taken = {key for action in actions if action.when and action.when != other for key in action.keys}
    return [
        action for action in actions
        if action.when != other and not (in_past and action.dangerous) and (action.when or not taken.issuperset(action.keys))
    ]


def _keys(action: Action, wanted: Mapping[str, str], taken: Mapping[str, str]) -> tuple[str, ...]:
    """A rebound action has only its new key; the others keep theirs, less what was taken from them."""
    if action.id in wanted:
        return (normal(wanted[action.id]),)
    return tuple(key for key in map(normal, action.keys) if key not in taken)


def _check(actions: Iterable[Action]) -> None:
    owner: dict[tuple[str, str], str] = {}
    for action in actions:
        if not action.keys:
            raise KeyConflict(f"keys: nothing is left for `{action.id}`, its key was given away; give it another")
        for key in action.keys:
            if (key, action.when) in owner:
                raise KeyConflict(f"keys: `{key}` is asked for by `{owner[key, action.when]}` and `{action.id}`")
            owner[key, action.when] = action.id


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
