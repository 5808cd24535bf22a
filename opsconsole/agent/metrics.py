"""A worker's Prometheus text, read for the dozen numbers an operator needs, over a window so that they speak of now."""

import math
from collections import deque

from opsconsole.protocol import METRICS_PREFIX

PREFIXES = (METRICS_PREFIX, "vllm:")
ALIASES = {"gpu_cache_usage_perc": "kv_cache_usage_perc", "time_per_output_token_seconds": "inter_token_latency_seconds"}
"""Older vLLM names."""
LATENCY_WINDOW_S = 30.0
RATE_WINDOW_S = 5.0
BUCKETS_LIMIT = 200


class Metrics:
    """One scrape: `values` {name: number summed over labels}, `buckets` {histogram: {upper bound: cumulative count}}."""

    def __init__(self):
        self.values = {}
        self.buckets = {}

    def get(self, name):
        return self.values.get(name)

    def add(self, name, labels, value):
        if name.endswith("_bucket"):
            self._add_bucket(name[: -len("_bucket")], labels, value)
        elif name.endswith("_perc"):
            self.values[name] = max(value, self.values.get(name, 0.0))
        else:
            self.values[name] = self.values.get(name, 0.0) + value

    def _add_bucket(self, name, labels, value):
        buckets = self.buckets.setdefault(ALIASES.get(name, name), {})
        bound = _number(_label(labels, "le"))
        if bound is not None and len(buckets) < BUCKETS_LIMIT:
            buckets[bound] = buckets.get(bound, 0.0) + value


def parse(text, names=None):
    """Metrics of the known prefixes; every other line, and every value that is no finite number, is skipped.

    names: {our name: [names of another engine, newest first]}: of each list the first that is there is taken, and nothing else.
    """
    metrics = Metrics()
    theirs = None if names is None else {name for listed in names.values() for name in listed}
    for line in text.splitlines():
        prefix = next((prefix for prefix in PREFIXES if line.startswith(prefix)), None) if theirs is None else ""
        if prefix is None:
            continue
        name, labels, rest = _split(line[len(prefix):])
        fields = rest.split()
        value = _number(fields[0]) if fields else None
        if value is None or not math.isfinite(value):
            continue
        if theirs is None:
            metrics.add(ALIASES.get(name, name), labels, value)
        elif name in theirs or name[: -len("_bucket")] in theirs:
            metrics.add(name, labels, value)
    return metrics if theirs is None else _renamed(metrics, names)


def _renamed(metrics, names):
    ours = Metrics()
    for name, listed in names.items():
        for kept, found in ((ours.values, metrics.values), (ours.buckets, metrics.buckets)):
            theirs = next((one for one in listed if one in found), None)
            if theirs is not None:
                kept[name] = found[theirs]
    return ours


def _split(line):
    """(name, text between the braces, what follows)."""
    brace = line.find("{")
    if brace < 0:
        name, _, rest = line.partition(" ")
        return name, "", rest
    end = line.rfind("}")
    return line[:brace], line[brace + 1:end], line[end + 1:]


def _label(labels, name):
    for part in labels.split(","):
        key, _, value = part.partition("=")
        if key.strip() == name:
            return value.strip().strip('"')
    return None


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


class MetricsWindow:
    """The scrapes of the last LATENCY_WINDOW_S of one worker."""

    def __init__(self):
        self._scrapes = deque()

    def add(self, mono_s, metrics):
        if self._scrapes and _has_restarted(self._scrapes[-1][1], metrics):
            self._scrapes.clear()
        self._scrapes.append((mono_s, metrics))
        while self._scrapes[0][0] < mono_s - LATENCY_WINDOW_S:
            self._scrapes.popleft()

    def rate(self, name):
        """How much a counter grew a second, over RATE_WINDOW_S; None before the second scrape."""
        if len(self._scrapes) < 2:
            return None
        newest_s, newest = self._scrapes[-1]
        older = [scrape for scrape in self._scrapes if scrape[0] <= newest_s - RATE_WINDOW_S]
        oldest_s, oldest = older[-1] if older else self._scrapes[0]
        if newest.get(name) is None or oldest.get(name) is None or newest_s <= oldest_s:
            return None
        return (newest.get(name) - oldest.get(name)) / (newest_s - oldest_s)

    def quantile_ms(self, histogram, share):
        """The `share` quantile of what was observed within the window; None when nothing was."""
        if len(self._scrapes) < 2:
            return None
        oldest = self._scrapes[0][1].buckets.get(histogram, {})
        newest = self._scrapes[-1][1].buckets.get(histogram, {})
        seconds = quantile({bound: count - oldest.get(bound, 0.0) for bound, count in newest.items()}, share)
        return None if seconds is None else 1000.0 * seconds


def _has_restarted(before, after):
    return any(after.get(name) is not None and after.get(name) < value for name, value in before.values.items() if name.endswith("_total"))


def quantile(buckets, share):
    """Prometheus's histogram_quantile: linear within the bucket; the highest finite bound for what lies above it."""
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    wanted = share * buckets[bounds[-1]]
    below_bound, below_count = 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted:
            break
        below_bound, below_count = bound, count
    if math.isinf(bound):
        return below_bound
    if count <= below_count:
        return bound
    return below_bound + (bound - below_bound) * (wanted - below_count) / (count - below_count)
