"""A site's price list: what it means, and each mistake told with its key and line."""

from datetime import UTC, datetime

import pytest

from opsconsole.config import ConfigError, read_config
from opsconsole.core.declared import Price

HEAD = '[[nodes]]\nhosts = "n1"\nsite = "a"\n\n[[sites]]\nname = "a"\n'


def read(tmp_path, text):
    path = tmp_path / "fleet.toml"
    path.write_text(HEAD + text)
    return read_config(path).sites[0]


def test_a_list_with_dates_and_counts(tmp_path):
    site = read(tmp_path, '''node_overhead_w = 900
budget_usd_per_month = 20_000
prices = [
    { chip = "H100", kind = "reserved", usd_per_gpu_hour = 1.8, gpus = 8, from = 2026-01-01, until = 2027-01-01T00:00:00Z },
    { chip = "H100", usd_per_gpu_hour = 2.4 },
]
''')
    begin, end = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2026, 2027))
    assert site.prices == (Price("H100", "reserved", 1.8, 8, begin, end), Price("H100", "on-demand", 2.4))
    assert (site.node_overhead_w, site.budget_usd_per_month) == (900, 20_000)


@pytest.mark.parametrize(("entry", "line", "words"), [
    ('{ chip = "H100", usd_per_gpu_hour = 2, kind = "bought" }', 9, "key `prices[1].kind`: is 'bought'; write one of on-demand, reserved"),
    ('{ chip = "H100" }', 9, "key `prices[1].usd_per_gpu_hour`: is missing"),
    ("{ usd_per_gpu_hour = 2 }", 9, "key `prices[1].chip`: is missing"),
    ('{ chip = "H100", usd_per_gpu_hour = 2, kind = "reserved" }', 9, "key `prices[1].gpus`: is missing"),
    ('{ chip = "H100", usd_per_gpu_hour = 2, form = 2026-01-01 }', 9, "there is no such key; did you mean `from`?"),
    ('{ chip = "H100", usd_per_gpu_hour = 2, from = "soon" }', 9, "key `prices[1].from`: is 'soon'; write a date without quotes"),
    ('{ chip = "H100", usd_per_gpu_hour = 2, from = 2026-02-01, until = 2026-01-01 }', 9, "is not after `from`"),
    ("7", 7, "key `prices`: is"),
])
def test_mistakes_are_told_with_their_line(tmp_path, entry, line, words):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, f'prices = [\n    {{ chip = "L40S", usd_per_gpu_hour = 1 }},\n    {entry},\n]\n')
    assert f":{line}: " in str(refused.value) and words in str(refused.value)


def test_a_list_on_one_line_is_told_with_that_line(tmp_path):
    with pytest.raises(ConfigError, match=r":7: key `prices.usd_per_gpu_hour`: is -1"):
        read(tmp_path, 'prices = [{ chip = "H100", usd_per_gpu_hour = -1 }]\n')
