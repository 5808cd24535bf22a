"""The console is killed ten times in a story of faults: every second that was kept is the fleet that the live screen was given then."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from opsconsole.control import places
from opsconsole.control.attach import SessionError
from opsconsole.control.session import Session
from opsconsole.core import as_json
from opsconsole.history.reader import Reader
from opsconsole.protocol import GPU_COLUMNS
from tests.history.fleets import assert_same
from tests.tui.shown import console, settled, text_of

KILLS = 10
SEED = 20261127
ENERGY = GPU_COLUMNS.index("energy_j")
FLEET = """
[fleet]
name = "story"

[[sites]]
name = "s1"
power_budget_kw = 9.0

[[nodes]]
hosts = "n[1-6]"
site = "s1"
rack = "r1"
chip = "H100"
link = "sim"
gpus = "sim:4:7"
work_dir = "{home}"

[[models]]
name = "demo"
checkpoint = "random:tiny"
min_ready = 2
objective = {{ ttft_p95_ms = 60 }}
"""
STORY = (
    {}, {"cut": ["n3"]}, {"cut": ["n3"], "gpus": {"n2": {"lost": [1]}}}, {"gpus": {"n2": {"lost": [1], "hot": {"0": 48.0}}}},
    {"surge": {"demo": 6.0}}, {"hang": ["n1"], "surge": {"demo": 6.0}}, {"hang": ["n1"], "cut": ["n6"]}, {}, {"cut": ["n4", "n5"]}, {},
)
"""What becomes wrong in each life of the console."""
NURSERY = """
import os, sys
from pathlib import Path
from opsconsole.control import collector
from opsconsole.history import audit, journal, samples
from opsconsole.sim import link, world
import sqlite_utils
for _ in sys.stdin:
    pid = os.fork()
    if not pid:
        os._exit(collector.run_collector(Path(sys.argv[1]), Path(sys.argv[2])))
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("ended", flush=True)
"""
"""Bears collectors that have imported everything already: ten starts take no longer than one."""


class Front(threading.Thread):
    """A screen: keeps every fleet that it is given in its second, the first of each, until the console is gone."""

    def __init__(self, session):
        super().__init__(daemon=True)
        self.session, self.seen = session, {}

    def run(self):
        try:
            frames = self.session.frames()
            before = int(next(frames).at)  # that second may have begun already
            for fleet in frames:
                if int(fleet.at) > before:
                    before = int(fleet.at)
                    self.seen[before] = fleet
        except SessionError:
            return


def session_with(config, state_dir):
    give_up = time.monotonic() + 30
    while True:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.connect(str(places.socket_path(state_dir)))
            return Session(connected, config)
        except OSError:
            connected.close()
            assert time.monotonic() < give_up, "the collector did not come up"
            time.sleep(0.01)


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """([the fleets by second that a screen saw in each life of the console], the history they left)."""
    home = tmp_path_factory.mktemp("story")
    home.chmod(0o700)
    config, state_dir, chance = home / "fleet.toml", home / "state", random.Random(SEED)
    config.write_text(FLEET.format(home=home))
    command = [sys.executable, "-c", NURSERY, str(config), str(state_dir)]
    seen = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as nursery:
        for faults in STORY[:KILLS]:
            nursery.stdin.write("one\n")
            pid = int(nursery.stdout.readline())
            front = Front(session_with(config, state_dir))
            front.start()
            time.sleep(0.6)
            (home / "faults.json").write_text(json.dumps(faults))
            time.sleep(chance.uniform(0.7, 1.8))
            os.kill(pid, signal.SIGKILL)
            nursery.stdout.readline()
            front.join(10)
            seen.append(front.seen)
        nursery.stdin.close()
    return seen, places.history_path(state_dir)


def kept_seconds(reader):
    with reader._opened() as connection:
        return {t for (t,) in connection.execute("select t from tick")}


def test_nothing_that_was_acknowledged_is_lost(lives):
    seen, path = lives
    with Reader(path) as reader:
        kept = kept_seconds(reader)
    assert sum(map(len, seen)) > KILLS
    for life in seen:
        # what a screen was shown last may not have been on disk yet when the console was killed
        assert set(sorted(life)[:-2]) <= kept


def test_every_second_that_was_kept_is_what_the_live_screen_was_given(lives):
    seen, path = lives
    live = {second: fleet for life in seen for second, fleet in life.items()}
    compared = 0
    with Reader(path) as reader:
        for second in sorted(kept_seconds(reader) & live.keys()):
            then, now = live[second], reader.at(second)
            # the wire tells a screen neither of these two; energy is kept to a kilojoule and no screen draws it
            assert_same(then, now, str(second), apart_from=("engines", "moves_streams", "gpu_values"))
            for column in range(len(GPU_COLUMNS)):
                within = 500.0 if column == ENERGY else 1e-9
                np.testing.assert_allclose(now.gpu_values[column], then.gpu_values[column], rtol=0, atol=within)
            for rows in (as_json.status_json, as_json.nodes_json, as_json.workers_json, as_json.models_json, as_json.sites_json):
                assert json.dumps(rows(then)) == json.dumps(rows(now))
            compared += 1
    assert compared > KILLS
    words = {alarm.kind for fleet in live.values() for alarm in fleet.alarms}
    assert {"reach", "gpu"} <= words, words


async def test_the_screen_draws_the_past_as_it_drew_it_live(lives):
    seen, path = lives
    live = {second: fleet for life in seen for second, fleet in life.items()}
    with Reader(path) as reader:
        seconds = sorted(kept_seconds(reader) & live.keys())
        chosen = random.Random(SEED).sample(seconds, 4)
        pairs = [(live[second], reader.at(second)) for second in chosen]
    async with console(pairs[0][0], size=(140, 44)) as (app, pilot, session):
        for then, now in pairs:
            drawn = []
            for fleet in (then, now):
                session.on_fleet(fleet)
                await settled(pilot)
                drawn.append(text_of(app))
            assert drawn[0] == drawn[1]
            assert "n4" in drawn[0]
