"""[[alarms]] and [[notify]] of the fleet file: rules tuned, stopped and added; mistakes named with file, line and mend."""

import pytest

from opsconsole.config import ConfigError, read_config
from opsconsole.core.alarm_rules import RULES

HEAD = '[[nodes]]\nhosts = "n1"\n'


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "fleet.toml"
        path.write_text(HEAD + text)
        return read_config(path)

    return read


def rule(config, name):
    return next(one for one in config.alarm_rules if one.name == name)


def test_without_a_word_the_built_in_rules_hold(read):
    assert read("").alarm_rules == RULES and read("").notifiers == ()


def test_a_rule_is_tuned_and_its_end_moves_with_its_limit(read):
    config = read('[[alarms]]\nrule = "temperature"\nlimit = 44\nfor_s = 5\nclear_s = 7\nseverity = "critical"\n')
    tuned = rule(config, "temperature")
    assert (tuned.limit, tuned.clear_limit, tuned.for_s, tuned.clear_s, tuned.severity) == (44.0, 42.0, 5.0, 7.0, 2)
    assert [one.name for one in config.alarm_rules] == [one.name for one in RULES]


def test_a_rule_is_switched_off_and_one_added(read):
    own_rule = '[[alarms]]\nrule = "idle"\nmetric = "gpu.util_pct"\nbelow = 5\nclear_limit = 10\n'
    config = read('[[alarms]]\nrule = "ecc"\nenabled = false\n\n' + own_rule)
    own = rule(config, "idle")
    assert not rule(config, "ecc").is_on and (own.is_below, own.limit, own.clear_limit, own.metric) == (True, 5.0, 10.0, "gpu.util_pct")


@pytest.mark.parametrize("text, line, words", [
    ('[[alarms]]\nrule = "heat"\n', 4, "there is no built-in rule heat"),
    ('[[alarms]]\nlimit = 3\n', 3, "key `rule`: is missing"),
    ('[[alarms]]\nrule = "reach"\nlimit = 3\n', 5, "is about a plain fact"),
    ('[[alarms]]\nrule = "temperature"\nlimt = 3\n', 5, "did you mean `limit`"),
    ('[[alarms]]\nrule = "temperature"\nlimit = "hot"\n', 5, "not a number"),
    ('[[alarms]]\nrule = "temperature"\nclear_limit = 95\n', 5, "the alarm would never end"),
    ('[[alarms]]\nrule = "disk"\nclear_limit = 1\n', 5, "the alarm would never end"),
    ('[[alarms]]\nrule = "temperature"\nseverity = "bad"\n', 5, 'write "warning" or "critical"'),
    ('[[alarms]]\nrule = "temperature"\nenabled = "no"\n', 5, "write true or false"),
    ('[[alarms]]\nrule = "temperature"\nfor_s = -1\n', 5, "it must be from 0"),
    ('[[alarms]]\nrule = "ecc"\n[[alarms]]\nrule = "ecc"\n', 6, "is already in line 4"),
    ('[[alarms]]\nrule = "own"\nmetric = "gpu.colour"\nabove = 1\n', 5, "known are gpu.util_pct"),
    ('[[alarms]]\nrule = "own"\nmetric = "gpu.power_w"\n', 5, "write either above = N or below = N"),
    ('[[alarms]]\nrule = "own"\nmetric = "gpu.power_w"\nabove = 1\nbelow = 2\n', 5, "write either"),
    ('[alarms]\nrule = "ecc"\n', 3, "head each with [[alarms]]"),
    ('[[notify]]\nseverity = "critical"\n', 3, "key `kind`: is missing"),
    ('[[notify]]\nkind = "x"\nper_hour = 0\n', 5, "it must be from 1"),
    ('[[notify]]\nkind = "x"\nurl = "y"\n', 5, "there is no such key"),
    ('[[notify]]\nkind = "x"\noptions = { a = "\\u0007" }\n', 5, "has a control character"),
])
def test_mistakes_are_named_with_their_line(read, text, line, words):
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert f"fleet.toml:{line}: " in str(refused.value) and words in str(refused.value)


def test_who_is_told(read):
    strict = '[[notify]]\nkind = "b"\nseverity = "critical"\nwait_s = 0\nper_hour = 5\n'
    one, other = read('[[notify]]\nkind = "a"\noptions = { x = 1 }\n' + strict).notifiers
    assert (one.kind, one.options, one.severity, one.wait_s, one.per_hour) == ("a", {"x": 1}, 1, 10.0, 20)
    assert (other.kind, other.severity, other.wait_s, other.per_hour) == ("b", 2, 0.0, 5)
