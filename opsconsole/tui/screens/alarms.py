"""All alarms: take one, silence it, write on it, go to what it is about, or open the plan that mends it."""

from __future__ import annotations

from textual.app import ComposeResult

from opsconsole.core.alarm import Alarm
from opsconsole.core.mends import mends
from opsconsole.core.steps import Intent
from opsconsole.tui.screens.view import View
from opsconsole.tui.widgets.alarm_detail import AlarmDetail
from opsconsole.tui.widgets.alarms_table import AlarmsTable

TABLE_LEAST, DETAIL_LEAST = 4, 8


class AlarmsScreen(View):
    view_name = "alarms"

    def compose_body(self) -> ComposeResult:
        yield AlarmsTable()
        yield AlarmDetail()

    def arrange_body(self, width: int, height: int) -> None:
        count = len(self.frame.fleet.alarms) if self.frame else 0
        most = max(TABLE_LEAST, height - 4 - DETAIL_LEAST) if height < 34 else (height - 4) // 2
        self.query_one(AlarmsTable).styles.height = max(TABLE_LEAST, min(count + 2, most))

    def show(self, frame) -> None:
        if self.is_composed:
            self.arrange_body(*self.app.size)
        super().show(frame)

    @property
    def page(self) -> int:
        return max(2, self.query_one(AlarmsTable).size.height - 2)

    def chosen(self) -> Alarm | None:
        """The chosen alarm; the first one while none is, or when it has been cleared."""
        alarms = self.frame.fleet.alarms if self.frame else ()
        found = next((alarm for alarm in alarms if alarm.id == self.app.sight.alarm), None)
        return found or (alarms[0] if alarms else None)

    def chosen_name(self) -> str:
        alarm = self.chosen()
        return alarm.node if alarm is not None else ""

    def move(self, rows: int) -> None:
        alarm = self.chosen()
        if alarm is not None:
            alarms = self.frame.fleet.alarms
            self.app.sight.alarm = alarms[max(0, min(len(alarms) - 1, alarms.index(alarm) + rows))].id
            self.repaint()

    def next_problem(self) -> None:
        self.move(1)

    def open_chosen(self) -> None:
        """Go to the node, worker or model that the chosen alarm is about."""
        alarm, sight = self.chosen(), self.app.sight
        if alarm is None:
            return
        worker = next((worker for worker in self.frame.fleet.workers if worker.name == alarm.subject), None)
        model = worker.model if worker is not None else alarm.subject
        if worker is not None or model in {one.name for one in self.frame.roster.models}:
            sight.model, sight.worker = model, worker.name if worker is not None else sight.worker
            self.app.open_view("workers")
        elif alarm.node in self.frame.roster.node_row:
            sight.node = alarm.node
            self.app.open_view("fleet" if alarm.members else "node")
        else:
            self.app.say(f"{alarm.subject} has no screen of its own")

    def mend_of(self, action: str) -> Intent | None:
        """What the key of this action does about the chosen alarm; None: nothing."""
        alarm = self.chosen()
        found = mends(self.frame.fleet, alarm) if alarm is not None else ()
        return next((mend.intent for mend in found if mend.action == action), None)
