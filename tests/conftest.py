"""Keeps the whole run away from its user's cache: programs that workers compile are shared by all tests and by nothing else."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache_of_this_run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        here = tmp_path_factory.getbasetemp()
        # processes of one run (pytest -n) share what they compile: their folders stand in one of the run
        cache = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / "cache"
        cache.mkdir(exist_ok=True)
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield
