"""A short torture in every test run; `python -m tests.torture.torture 30` is the long one."""

import pytest

from tests.torture.fronts import FRONTS, why_not
from tests.torture.torture import torture

pytest.importorskip("jax")

ROUNDS = {"gateway": 3, "haproxy": 1}
"""The first kinds of `ROUNDS`: those that ask most of a console and of a router."""


@pytest.mark.parametrize("name", FRONTS)
def test_no_request_is_lost(name, tmp_path):
    if reason := why_not(name):
        pytest.skip(reason)
    tmp_path.chmod(0o700)
    front, left_out = FRONTS[name]
    report = torture(tmp_path, front, ROUNDS[name], seed=1, left_out=left_out)
    assert report["whole"] == report["sent"] > 0 and report["rounds"] == ROUNDS[name]
