"""The figures of `capacity` that fit beside a model or a site in a listing."""

from __future__ import annotations

from opsconsole.core.burn import budget_left
from opsconsole.core.capacity import Capacity
from opsconsole.core.fleet import Fleet
from opsconsole.core.learned import NOTHING_LEARNED, Learned
from opsconsole.core.outlook import Row, pct, plain
from opsconsole.core.saturation import saturation

MODEL_FIELDS = ("capacity_tokens_per_s", "load_pct", "full_in_s", "usd_per_million_tokens", "error_budget_left_pct")
SITE_FIELDS = ("gpus_free", "gpus_stranded", "ends", "ends_in_s")


def headroom_json(fleet: Fleet, learned: Learned = NOTHING_LEARNED, kind: str = "models") -> dict[str, Row]:
    """MODEL_FIELDS of each configured model, or SITE_FIELDS of each site, by name. kind: models or sites."""
    capacity = Capacity(fleet, learned)
    ends = {(one.kind, one.subject): one for one in saturation(fleet, learned, capacity)}
    if kind == "sites":
        return {
            site.name: dict(zip(SITE_FIELDS, (
                counts.free, counts.stranded, ends["site", site.name].ends or None, plain(ends["site", site.name].in_s),
            ), strict=True))
            for site in fleet.roster.sites for counts in (capacity.gpus(site),)
        }
    return {
        model.name: dict(zip(MODEL_FIELDS, (
            plain(model.capacity_tokens_per_s), pct(model.load), plain(ends["model", model.name].full_in_s),
            plain(model.usd_per_million_tokens), pct(budget_left(learned.burns.get(model.name, ()))),
        ), strict=True))
        for model in capacity.models
    }
