"""Many hosts in one word."""

import re

import pytest

from opsconsole.config.hostlist import HostlistError, expand


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("gpu01", ["gpu01"]),
        ("gpu[001-003].ams1", ["gpu001.ams1", "gpu002.ams1", "gpu003.ams1"]),
        ("gpu[001-002,020].ams1", ["gpu001.ams1", "gpu002.ams1", "gpu020.ams1"]),
        ("gpu[9-11]", ["gpu9", "gpu10", "gpu11"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("a, b[1,2]", ["a", "b1", "b2"]),
        ("[1-2]", ["1", "2"]),
    ],
)
def test_what_is_meant(text, hosts):
    assert expand(text) == hosts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"), (" , ", "is empty"), ("gpu[1-", "bracket"), ("gpu]1[", "bracket"), ("gpu[]", "range"),
        ("gpu[a-b]", "range"), ("gpu[5-1]", "1-5"),
        ("gpu 1", "' '"), ("gpu$(x)", "'$'"), ("gpu\n1", "\\n"), ("-oProxy", "begins with"),
        ("gpu[1-999999999]", "more than"), ("a[1-999]b[1-999]", "more than"),
        ("gpu[1-2][3", "bracket"), ("пример", "character"),
    ],
)
def test_what_is_refused(text, words):
    with pytest.raises(HostlistError, match=re.escape(words)):
        expand(text)
