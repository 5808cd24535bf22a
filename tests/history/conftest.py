"""A recorder that ends with its test, and patience for what its thread does."""

import time

import pytest

from opsconsole.history.samples import Recorder
from tests.history.recorded import record


@pytest.fixture
def wait_for():
    def wait(condition, limit_s=15.0):
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, "what was waited for did not happen"
            time.sleep(0.01)

    return wait


@pytest.fixture
def recorder(tmp_path):
    recorder = Recorder(tmp_path / "history.db")
    recorder.start()
    yield recorder
    recorder.close()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The past of a simulated fleet, which no test may change."""
    return record(tmp_path_factory.mktemp("recorded"))
