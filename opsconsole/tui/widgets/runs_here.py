"""What runs on one node: alarms about it, our workers, and every process that holds its GPUs."""

from __future__ import annotations

from collections.abc import Iterable

from opsconsole.core.fleet import Model, Process, Worker
from opsconsole.core.wording import age_text, count_text, mib_text
from opsconsole.tui.paint import Row, cells, title
from opsconsole.tui.pane import Pane

WORKER_GLYPHS = {
    "READY": ("●", "ok"),
    "STARTING": ("◐", "info"),
    "PENDING": ("◐", "info"),
    "DRAINING": ("▽", "accent"),
    "DRAINED": ("▽", "accent"),
    "STOPPING": ("▽", "accent"),
    "STOPPED": ("·", "faint"),
    "NOT_READY": ("▲", "warn"),
    "FAILED": ("✖", "crit"),
}


def note_of(worker: Worker, models: Iterable[Model]) -> str:
    """What is unusual about a worker: why it is as it is, restarts, and a checkpoint that the fleet file does not name."""
    meant = next((model.checkpoint for model in models if model.name == worker.model), "")
    other = worker.checkpoint if worker.checkpoint and meant and worker.checkpoint != meant else ""
    times = f"restarted {worker.restarts} time{'s' * (worker.restarts != 1)}" if worker.restarts else ""
    return "; ".join(filter(None, (worker.reason, times, f"serves {other}" if other else "")))


class RunsHere(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        row = self.sight.chosen_row(self.frame) if self.frame else None
        if row is None:
            return []
        node = self.frame.roster.nodes[row]
        lines = self._alarms(node.name, width)
        workers = self.frame.fleet.workers_of_node.get(node.name, ())
        lines.append(title(self.look, "WORKERS HERE", width, str(len(workers) or "none"), indent=1))
        for worker in workers:
            lines.append(self._worker(worker, width, not self.frame.is_lost(row)))
            note = note_of(worker, self.frame.roster.models)
            lines += [self.row().put("     ").column(note, width - 5, "warn" if worker.restarts else "dim")] if note else []
        processes = self.frame.fleet.processes.get(row, ())
        lines += [self.row(), title(self.look, "PROCESSES ON ITS GPUS", width, str(len(processes) or "none"), indent=1)]
        lines += [self._process(process, width) for process in processes]
        if len(lines) > height:
            lines = [*lines[: height - 1], self.row().put(f"   … {len(lines) - height + 1} more", "dim")]
        return lines

    def _alarms(self, node: str, width: int) -> list[Row]:
        alarms = [alarm for alarm in self.frame.fleet.alarms if node in alarm.nodes]
        if not alarms:
            return []
        lines = [title(self.look, "WHAT IS WRONG HERE", width, str(len(alarms)), "warn", indent=1)]
        for alarm in alarms[:6]:
            age = age_text(self.frame.fleet.at - alarm.since) + " "
            lines.append(
                self.row()
                .put(" ✖ " if alarm.severity == 2 else " ▲ ", "crit" if alarm.severity == 2 else "warn", True)
                .column(alarm.text, width - 4 - cells(age), "strong")
                .put(" " + age, "dim")
            )
            if alarm.detail:
                lines.append(self.row().put("   ").column(alarm.detail, width - 3, "dim"))
        return [*lines, self.row()]

    def _worker(self, worker: Worker, width: int, heard: bool) -> Row:
        glyph, ink = WORKER_GLYPHS.get(worker.state, ("·", "faint")) if heard else ("◌", "info")
        gpus = "GPU " + ",".join(map(str, worker.gpus)) if worker.gpus else ""
        state = worker.state.lower().replace("_", " ") + (f": {worker.phase}" if worker.phase else "") if heard else "not heard"
        load = f"{count_text(worker.running)} run {count_text(worker.queue_depth)} wait" if heard else "–"
        name = max(6, min(20, width - 42))
        row = (
            self.row().put(f" {glyph} ", ink, True).name(worker.name, name, "text" if heard else "faint").put(" ").column(gpus, 10, "dim")
        )
        return row.column(state, max(8, width - name - 31), ink).column(load, 16, "text" if heard else "faint", right=True).put(" ")

    def _process(self, process: Process, width: int) -> Row:
        return (
            self.row()
            .put("   ")
            .column(str(process.pid), 8, "dim")
            .column(process.name, max(8, width - 30), "text")
            .put(" ")
            .column(f"GPU {process.gpu}", 7, "dim")
            .column(mib_text(process.mem_mib), 10, "text", right=True)
        )
