"""What ends first and what mends it; with a what-if, what it changes."""

from __future__ import annotations

from opsconsole.core.cap_offers import cap_offers
from opsconsole.core.outlook import Outlook
from opsconsole.core.situation import FULL_SHARE
from opsconsole.core.wording import count_text, number_text
from opsconsole.tui.paint import Row, cells, title
from opsconsole.tui.pane import Pane
from opsconsole.tui.widgets.model_headroom import load_text


class Ends(Pane):
    def rows(self, width: int, height: int) -> list[Row]:
        if self.frame is None:
            return [title(self.look, "WHAT ENDS FIRST", width)]
        now, then = self.app.foresight.looks(self.frame)
        if then is not None:
            return [title(self.look, "BEFORE AND AFTER", width, "f another  esc take off", "accent"), *self._changes(now, then, width)]
        lines = [title(self.look, "WHAT ENDS FIRST", width, "i what if")]
        for one in now.saturation:
            full = one.full_in_s == 0 or one.in_s == 0
            ink = "crit" if full else "warn" if one.ends or one.full_in_s is not None or (one.load or 0.0) > FULL_SHARE else "dim"
            first, *others = [one.text] if cells(one.text) <= width - 2 else one.text.split("; ")
            lines.append(self.row().put("  ").column(first, width - 2, ink))
            lines += [self.row().put("    ").column(part, width - 4, "text") for part in others]
            if one.mend and ink != "dim":
                lines.append(self.row().put("    ").column(one.mend, width - 4, "accent"))
        for offer in cap_offers(now.capacity):
            words = f"{offer.model} on {offer.chip}: {offer.watts:.0f} W a GPU gives {number_text(offer.tokens_per_joule, 2)} tokens/J"
            words += f", {offer.now_w:.0f} W gives {number_text(offer.now_tokens_per_joule, 2)}"
            lines += [self.row().put("  ").column(words, width - 2, "info"), self.row().put("    ").column(offer.mend, width - 4, "accent")]
        return lines if len(lines) > 1 else [*lines, self.row().put("  no model and no site to tell of", "dim")]

    def _changes(self, now: Outlook, then: Outlook, width: int) -> list[Row]:
        lines = []
        for before, after in zip(now.capacity.models, then.capacity.models, strict=True):
            full = (after.load or 0.0) > FULL_SHARE
            load = " to ".join(load_text(one.load) for one in (before, after))
            served = " to ".join(count_text(one.capacity_tokens_per_s) for one in (before, after))
            text = f"{after.name}: {load} full, can serve {served}"
            need = next(need for need in then.needs.models if need.model == after.name)
            short = ", ".join(f"{count} {chip} short" for chip, count in need.short.items())
            helps = f"; {need.launches} to launch" if need.launches else ""
            lines.append(self.row().put("  ").column(text + helps + (f"; {short}" if short else ""), width - 2, "warn" if full else "text"))
        for text in then.assumptions[:3]:
            lines.append(self.row().put("  · ", "dim").column(text, width - 4, "dim"))
        return lines
