"""What GPUs cost: by price list, site, chip and date, so that the past is costed by the prices of then.

A GPU in the fleet file is rented, so it costs whether it works or not. Reserved GPUs are paid for first, then those of spot entries that
name how many, and the rest by the entry without a number that began last, else by the site's price_per_gpu_hour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np

from opsconsole.core.declared import Price
from opsconsole.core.fleet import Fleet, Site
from opsconsole.core.speeds import chips_of

H_S = 3600.0
KINDS = ("on-demand", "reserved", "spot")


def usd_per_h(site: Site, chip: str, gpus: int, at: float) -> float | None:
    """What so many GPUs of a chip cost an hour at a site at a moment (epoch seconds); None where the list has no price for one of them.

    12 GPUs with 8 reserved at 1.80 and the rest on demand at 2.40 cost 8 * 1.80 + 4 * 2.40 = 24.00 $/h.
    """
    if not gpus:
        return 0.0
    holding = [price for price in site.prices if price.chip == chip and price.holds(at)]
    total, left = 0.0, gpus
    for price in sorted((price for price in holding if price.gpus), key=lambda price: (price.kind != "reserved", price.usd_per_gpu_hour)):
        taken = min(price.gpus, left)
        total, left = total + taken * price.usd_per_gpu_hour, left - taken
    if not left:
        return total
    rest = max((price for price in holding if not price.gpus), key=_order, default=None)
    each = rest.usd_per_gpu_hour if rest else site.price_per_gpu_hour.get(chip)
    return None if each is None else total + left * each


def _order(price: Price) -> tuple[float, bool]:
    return float("-inf") if price.since is None else price.since, price.kind == "on-demand"


def price_lists(fleet: Fleet, at: float | None = None) -> dict[str, dict[str, float]]:
    """$/h of a GPU, on average over those of its chip at its site, by site and chip; without those that have no price."""
    moment = fleet.at if at is None else at
    counts, lists = gpus_by_chip(fleet), {}
    for site in fleet.roster.sites:
        chips = {*site.price_per_gpu_hour, *(price.chip for price in site.prices), *(chip for name, chip in counts if name == site.name)}
        found = {chip: usd_per_h(site, chip, max(counts[site.name, chip], 1), moment) for chip in sorted(chips)}
        lists[site.name] = {chip: usd / max(counts[site.name, chip], 1) for chip, usd in found.items() if usd is not None}
    return lists


def gpus_by_chip(fleet: Fleet) -> Counter[tuple[str, str]]:
    """How many GPUs each site has of each chip, those of silent nodes too: they are rented all the same."""
    chips, starts = chips_of(fleet.roster), fleet.roster.gpu_start.tolist()
    counts: Counter[tuple[str, str]] = Counter()
    for row, node in enumerate(fleet.roster.nodes):
        counts[node.site, chips[row]] += starts[row + 1] - starts[row]
    return counts


def gpu_prices(fleet: Fleet) -> np.ndarray:
    """$/h of each GPU now, (G,); NaN without a price."""
    lists, chips = price_lists(fleet), chips_of(fleet.roster)
    prices = [lists.get(node.site, {}).get(chips[row], np.nan) for row, node in enumerate(fleet.roster.nodes)]
    return np.array(prices, dtype=float)[fleet.roster.gpu_node] if prices else np.zeros(0)


def site_usd_per_h(fleet: Fleet, site: Site, at: float) -> float | None:
    """What all GPUs of a site cost an hour at a moment; None where one of them has no price."""
    costs = [usd_per_h(site, chip, gpus, at) for (name, chip), gpus in sorted(gpus_by_chip(fleet).items()) if name == site.name and gpus]
    return None if not costs or None in costs else float(sum(costs))


def fleet_usd_per_h(fleet: Fleet, at: float | None = None) -> float | None:
    """As site_usd_per_h, over all sites; None where a GPU is at no site, or has no price."""
    moment = fleet.at if at is None else at
    sites = {site.name: site for site in fleet.roster.sites}
    names = {name for (name, _), gpus in gpus_by_chip(fleet).items() if gpus}
    costs = [site_usd_per_h(fleet, sites[name], moment) if name in sites else None for name in sorted(names)]
    return None if not costs or None in costs else float(sum(costs))


def bill_usd(fleet: Fleet, since: float, until: float, site: Site | None = None) -> float | None:
    """What the GPUs that the fleet has now cost from since to until (epoch seconds), each moment at its price; None where a price lacks.

    Prices only change where an entry begins or ends, so the sum over the spans between is exact.
    """
    sites = fleet.roster.sites if site is None else (site,)
    moments, total = _moments(sites, since, until), 0.0
    for begin, end in zip(moments, moments[1:], strict=False):
        each = fleet_usd_per_h(fleet, begin) if site is None else site_usd_per_h(fleet, site, begin)
        if each is None:
            return None
        total += each * (end - begin) / H_S
    return total


def _moments(sites: Iterable[Site], since: float, until: float) -> list[float]:
    """since, every moment between at which a price changes, until."""
    edges = {edge for site in sites for price in site.prices for edge in (price.since, price.until) if edge is not None}
    return [since, *sorted(edge for edge in edges if since < edge < until), until]


def usd_per_million_tokens(usd_an_hour: float | None, tokens_per_s: float | None) -> float | None:
    """10^6 * $/h / (3600 * tokens/s): 8 GPUs at 2.10 $/h that give 5000 tokens/s together cost 0.93 $ a million. None unknown."""
    if usd_an_hour is None or usd_an_hour != usd_an_hour or not tokens_per_s:
        return None
    return 1e6 * usd_an_hour / (H_S * tokens_per_s)


def midnight(at: float) -> float:
    """When the day of a moment began, UTC, epoch seconds."""
    return datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def month(at: float) -> tuple[float, float]:
    """When the month of a moment began and will have ended, UTC, epoch seconds."""
    begin = datetime.fromtimestamp(midnight(at), UTC).replace(day=1)
    following = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return begin.timestamp(), following.timestamp()


def budget_ends_at(fleet: Fleet, site: Site, at: float) -> float | None:
    """When (epoch seconds) the month's bill of a site reaches its budget, if before the month ends; None if not, or not known."""
    begin, end = month(at)
    if site.budget_usd_per_month is None:
        return None
    spent, moments = 0.0, _moments((site,), begin, end)
    for start, stop in zip(moments, moments[1:], strict=False):
        each = site_usd_per_h(fleet, site, start)
        if each is None:
            return None
        if each > 0 and spent + each * (stop - start) / H_S >= site.budget_usd_per_month:
            return start + (site.budget_usd_per_month - spent) * H_S / each
        spent += each * (stop - start) / H_S
    return None


def held_usd_per_h(prices: np.ndarray, rows: Iterable[int]) -> float | None:
    """What some GPUs cost an hour; None where one has no price. prices: gpu_prices(fleet)."""
    total = float(prices[sorted(set(rows))].sum())
    return None if total != total else total
