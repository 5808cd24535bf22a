"""Prometheus text in, the numbers of now out."""

import pytest

from opsconsole.agent.hostile import count, finite, plain
from opsconsole.agent.metrics import MetricsWindow, parse, quantile


def test_quantiles_are_prometheus_s():
    buckets = {0.1: 50.0, 0.2: 90.0, 0.4: 100.0, float("inf"): 100.0}
    assert quantile(buckets, 0.5) == pytest.approx(0.1)
    assert quantile(buckets, 0.7) == pytest.approx(0.15)
    assert quantile(buckets, 0.95) == pytest.approx(0.3)
    assert quantile({0.1: 0.0, float("inf"): 10.0}, 0.5) == 0.1
    assert quantile({0.1: 0.0, float("inf"): 0.0}, 0.5) is None
    assert quantile({}, 0.5) is None


def scrape(tokens, fast, slow, prefix="opsconsole"):
    return parse(
        f'{prefix}:generation_tokens_total{{model="a,b"}} {tokens}\n'
        f'{prefix}:time_to_first_token_seconds_bucket{{model="m",le="0.1"}} {fast}\n'
        f'{prefix}:time_to_first_token_seconds_bucket{{model="m",le="1.0"}} {fast + slow}\n'
        f'{prefix}:time_to_first_token_seconds_bucket{{model="m",le="+Inf"}} {fast + slow}\n'
    )


@pytest.mark.parametrize("prefix", ["opsconsole", "vllm"])
def test_the_window_forgets_what_was_slow_long_ago(prefix):
    window = MetricsWindow()
    window.add(0.0, scrape(0, 0, 0, prefix))
    assert window.rate("generation_tokens_total") is None
    window.add(1.0, scrape(100, 0, 50, prefix))
    assert window.rate("generation_tokens_total") == 100
    assert window.quantile_ms("time_to_first_token_seconds", 0.95) > 900
    for second in range(2, 40):
        window.add(float(second), scrape(100 * second, second, 50, prefix))
    assert window.quantile_ms("time_to_first_token_seconds", 0.95) < 100
    assert window.rate("generation_tokens_total") == pytest.approx(100)


def test_a_counter_that_fell_begins_a_new_window():
    window = MetricsWindow()
    window.add(0.0, scrape(1000, 5, 5))
    window.add(1.0, scrape(10, 0, 0))
    assert window.rate("generation_tokens_total") is None
    assert window.quantile_ms("time_to_first_token_seconds", 0.5) is None


def test_older_names_and_nonsense():
    metrics = parse('vllm:gpu_cache_usage_perc{engine="0"} 0.5\nvllm:gpu_cache_usage_perc{engine="1"} 0.25\n'
                    'opsconsole:a NaN\nopsconsole:b\n{\nopsconsole:c{ 1')
    assert metrics.get("kv_cache_usage_perc") == 0.5
    assert metrics.get("a") is None and metrics.get("b") is None


def test_strangers_words_and_numbers():
    assert plain(b"\xff\x1b[2Ja\nb" + b"x" * 1000, 8) == "\ufffd [2Ja b"
    assert plain("\ud800") == "?"
    assert plain(None) is None
    assert finite(float("nan")) is None and finite(True) is None and finite(2) == 2
    assert count(-1) is None and count("3") is None and count(3.0) == 3
