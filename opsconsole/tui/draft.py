"""A plan that is being looked at: its form, the plan as it stands, what must be typed, and where the keys go."""

from __future__ import annotations

from dataclasses import dataclass, field

from opsconsole.core.command import command_of
from opsconsole.core.confirmation import phrase_for, stops_serving
from opsconsole.core.steps import Intent, Plan
from opsconsole.core.text import clean
from opsconsole.tui.editor import Editor
from opsconsole.tui.form import Choice, Form, Typed

PHRASE, KEYS = "phrase", "keys"
"""Places of the keys beside the fields of the form: the name to type, and the keys of the dialog itself."""
COMMAND_LIMIT = 4000


@dataclass
class Draft:
    form: Form
    production: bool
    plan: Plan | None = None
    """None before the first one."""
    trouble: str = ""
    """Why there is no plan of what the form says now."""
    typed: Editor = field(default_factory=Editor)
    focus: int | str = KEYS
    """Place of a field, PHRASE or KEYS."""
    details: bool = False
    top: int = 0
    """Lines, or steps, above the first one that is shown."""
    command: str = ""
    """Shown since it was copied."""
    _planned: Intent | None = None
    _moved: bool = False

    def __post_init__(self) -> None:
        if self.form.begins_at is not None:
            self.focus, self._moved = self.form.begins_at, True

    # the plan

    def unplanned(self) -> Intent | None:
        """What a plan is to be made of; None when there is one already, or none can be."""
        try:
            intent = self.form.intent()
        except ValueError as error:
            self.trouble = str(error)
            return None
        if intent == self._planned:
            return None
        self.trouble = ""
        return intent

    def planned(self, intent: Intent, plan: Plan) -> None:
        self._planned, self.plan, self.trouble = intent, plan, ""
        if self.phrase and not self._moved:
            self.focus = PHRASE
        elif self.focus == PHRASE and not self.phrase:
            self.focus = KEYS

    def broke(self, intent: Intent, words: str) -> None:
        self._planned, self.plan, self.trouble = intent, None, words

    @property
    def is_fresh(self) -> bool:
        """Whether the plan is one of what the form says now."""
        try:
            return self.plan is not None and not self.trouble and self.form.intent() == self._planned
        except ValueError:
            return False

    @property
    def may_run(self) -> bool:
        """Whether there is a plan that can be carried out, typed for or not."""
        return self.is_fresh and self.plan is not None and not self.plan.refusal and bool(self.plan.steps)

    @property
    def phrase(self) -> str:
        """What must be typed before it runs; "" for nothing."""
        plan = self.plan
        if not self.production or plan is None or plan.refusal or not plan.steps or not stops_serving(plan):
            return ""
        return phrase_for(plan)

    @property
    def is_ready(self) -> bool:
        """Whether Enter would start it."""
        return self.may_run and (not self.phrase or self.typed.text.strip() == self.phrase)

    def command_line(self) -> str:
        """The command that makes this plan; "" while the form makes no intent."""
        try:
            return clean(command_of(self.form.intent()), COMMAND_LIMIT)
        except ValueError:
            return ""

    # where the keys go

    @property
    def editor(self) -> Editor | None:
        """What takes letters now; None when they are keys of the dialog."""
        if self.focus == PHRASE:
            return self.typed
        chosen = self.chosen
        return chosen.editor if isinstance(chosen, Typed) else None

    @property
    def chosen(self) -> Choice | Typed | None:
        return self.form.fields[self.focus] if isinstance(self.focus, int) else None

    def go_on(self, by: int = 1) -> None:
        """The keys go to the next place: the fields, what must be typed, the dialog's own keys."""
        ring = [*range(len(self.form.fields)), *([PHRASE] if self.phrase else []), KEYS]
        self.focus, self._moved = ring[(ring.index(self.focus) + by) % len(ring)], True

    def turn(self, by: int) -> None:
        if isinstance(self.chosen, Choice):
            self.chosen.turn(by)
