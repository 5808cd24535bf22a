"""The parts of a torture, all real: SSH nodes, JAX workers, a front door, and a console that may be killed at any moment."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SOURCES = str(Path(__file__).parents[2])
NODES = ("n1", "n2", "n3")
GPUS = 3
MODEL, MINIMUM = "m", 2
FIRST, SECOND, BROKEN = "random:tiny?seed=1", "random:tiny?seed=2", "random:nothing"
SLOTS, MAX_LEN = 4, 512
READY_WITHIN_S = 240.0
"""The first worker compiles; on a busy small machine that is slow."""
FLEET = """
[fleet]
name = "torture"
ssh_config = "none"
known_hosts = "{here}/known_hosts"

[[sites]]
name = "lab"

{nodes}
[[models]]
name = "{model}"
checkpoint = "{checkpoint}"
slots = {slots}
max_len = {max_len}
min_ready = {minimum}

[policy]
max_unavailable = 1
"""
NODE = """[[nodes]]
hosts = "{name}"
site = "lab"
chip = "H100"
address = "127.0.0.1"
port = {port}
user = "demo"
identity = "{here}/user_key"
python = "{python}"
worker_python = "{python}"
gpus = "sim:~/gpus.json"

"""


def environment(paths=()):
    """paths: where else modules are found."""
    return os.environ | {"PYTHONPATH": os.pathsep.join((SOURCES, *map(str, paths)))}


class Console:
    """One operator's console: a fleet file, a state directory, a collector that is started again after each kill."""

    def __init__(self, config, state_dir, paths=()):
        self._environment = environment(paths)
        self.options = ["--config", str(config), "--state-dir", str(state_dir)]
        state_dir.mkdir(mode=0o700, exist_ok=True)
        self._log = open(state_dir / "collector.log", "ab")
        self.kills = 0

    def start(self):
        self.collector = subprocess.Popen(
            [sys.executable, "-m", "opsconsole", *self.options, "collect"], stdout=self._log, stderr=self._log, env=self._environment)

    def kill(self):
        """As a power cut would: nothing of it gets to say a word. Its agents end by themselves, since their pipes close."""
        self.collector.kill()
        self.collector.wait()
        self.kills += 1

    def close(self):
        self.collector.terminate()
        self.collector.wait(30)
        self._log.close()

    def say(self, *words):
        """A command under way; `ended` waits for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "opsconsole", *self.options, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=self._environment)

    def ask(self, *words, limit_s=120.0):
        """(exit code, stdout, stderr) of a command."""
        return ended(self.say(*words), limit_s)

    def json(self, *words):
        code, out, said = self.ask(*words, "--json")
        assert code in (0, 3), (words, code, said)
        return json.loads(out)

    def workers(self):
        return {worker["name"]: worker for worker in self.json("workers")["workers"]}

    def runs(self):
        return self.json("runs")["runs"]


def ended(process, limit_s=120.0):
    try:
        out, said = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, said = process.communicate()
        raise AssertionError(f"{process.args[3:]} did not end within {limit_s:.0f} s: {out[-500:]} {said[-2000:]}") from None
    return process.returncode, out, said


class Rig:
    """Use as a context manager. front: a `Gateway` or another front door that makes `router` text and an `url`."""

    def __init__(self, here, front):
        self.here, self.front = Path(here), front
        self.config = self.here / "fleet.toml"

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.callback(self._end_nodes)
            self._start_nodes()
            self.state_dir = self.here / "state"
            self.state_dir.mkdir(mode=0o700)
            router = stack.enter_context(self.front(self.here, self.state_dir))
            self.url = router.url
            nodes = [NODE.format(name=name, port=port, here=self.here, python=sys.executable) for name, port in self.ports.items()]
            text = FLEET.format(
                here=self.here, model=MODEL, checkpoint=FIRST, slots=SLOTS, max_len=MAX_LEN, minimum=MINIMUM, nodes="".join(nodes))
            self.config.write_text(text + router.router)
            rival_config = self.here / "rival.toml"
            rival_config.write_text(text)  # a rival has no front door of its own
            self.console = Console(self.config, self.state_dir, router.paths)
            self.rival = Console(rival_config, self.here / "rival")
            for console in (self.console, self.rival):
                console.start()
                stack.callback(console.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self._stack.close()

    def _start_nodes(self):
        plan = {"seed": 3, "nodes": [{"name": name, "chip": "H100", "gpus": GPUS, "site": "lab"} for name in NODES]}
        (self.here / "plan.json").write_text(json.dumps(plan))
        command = [sys.executable, "-m", "opsconsole.sim.nodes", str(self.here)]
        self._nodes = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
        self.ports = json.loads(self._nodes.stdout.readline())["nodes"]

    def _end_nodes(self):
        """They end the workers that were started on them, too."""
        self._nodes.stdin.close()
        self._nodes.wait(30)
        self._nodes.stdout.close()

    def living_workers(self):
        """{pid: node} of every worker process that lives in this rig, whoever knows of it."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                where = os.readlink(entry / "cwd")
                if b"opsconsole.worker" in words and where.startswith(f"{self.here}{os.sep}"):
                    found[int(entry.name)] = Path(where).relative_to(self.here).parts[0]
        return found


class Gateway:
    """Our own front door; it follows the route file of the console."""

    paths = ()

    def __init__(self, here, state_dir):
        self._routes, self._log = state_dir / "routes.json", open(here / "gateway.log", "wb")

    def __enter__(self):
        self._routes.write_text('{"models": {}}')
        self._routes.chmod(0o600)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "opsconsole.gateway", "--routes", str(self._routes), "--port", "0"], stdout=subprocess.PIPE,
            stderr=self._log, env=environment())
        self.url = f"http://127.0.0.1:{json.loads(self._process.stdout.readline())['port']}"
        self.router = f'\n[router]\nkind = "gateway"\nurl = "{self.url}"\n'
        return self

    def __exit__(self, *error):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        self._process.stdout.close()
        self._log.close()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(true, limit_s, what):
    """The first true answer. Raises AssertionError with the last one."""
    give_up, answer = time.monotonic() + limit_s, None
    while time.monotonic() < give_up:
        answer = true()
        if answer:
            return answer
        time.sleep(0.3)
    raise AssertionError(f"{what}: not within {limit_s:.0f} s, at last {answer!r}")
