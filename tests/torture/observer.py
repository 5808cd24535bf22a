"""Somebody who only watches: a console of its own that is never killed and counts the ready workers each second."""

import json
import subprocess
import sys
import threading

from tests.torture.rig import MODEL, environment


class Observer:
    """Use as a context manager. lowest: the fewest ready workers ever seen since `begin`."""

    def __init__(self, rig):
        self._state_dir = rig.here / "observer"
        self._state_dir.mkdir(mode=0o700)
        self._options = ["--config", str(rig.here / "rival.toml"), "--state-dir", str(self._state_dir)]
        self._counting = False
        self.lowest, self.seconds = None, 0
        self.workers = {}

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "opsconsole", *self._options, "workers", "--json", "--watch"], stdout=subprocess.PIPE, env=environment())
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._process.terminate()
        self._process.wait(30)
        self._thread.join(30)
        self._process.stdout.close()

    def begin(self):
        self._counting = True

    def _read(self):
        for line in self._process.stdout:
            self.workers = {worker["name"]: worker for worker in json.loads(line)["workers"]}
            ready = sum(worker["model"] == MODEL and worker["state"] == "READY" for worker in self.workers.values())
            if self._counting:
                self.seconds += 1
                self.lowest = ready if self.lowest is None else min(self.lowest, ready)
