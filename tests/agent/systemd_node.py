"""A node whose first process is a real systemd: systemd-nspawn over an overlay of this machine, reached by a real sshd with logins."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

from opsconsole.ssh.bundle import agent_bundle
from tests.agent.agent_process import AgentProcess
from tests.ssh.sshd import SSHD, make_key

TOOLS = ("systemd-nspawn", "nsenter", "ssh", "ssh-keygen", "useradd", "gcc")
PYTHON = "/usr/bin/python3"
HERE = "/opt/node"
"""Where on the node everything lies that the test has put there."""
MASKED = ("systemd-tmpfiles-setup", "systemd-tmpfiles-setup-dev", "systemd-resolved", "systemd-networkd", "systemd-random-seed", "ssh")
BOOT_LIMIT_S = 30.0
SSHD_CONFIG = f"""\
HostKey {HERE}/host_key
AuthorizedKeysFile {HERE}/operator_key.pub
StrictModes no
UsePAM yes
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
PidFile none
"""


def why_not() -> str:
    """Why no such node can be made here; "" when it can be tried."""
    if os.geteuid() != 0:
        return "only root can boot a node"
    missing = [tool for tool in TOOLS if not shutil.which(tool)] + ([] if SSHD else ["sshd"])
    if missing:
        return f"no {', '.join(missing)} here"
    places = (Path("/lib/systemd/systemd"), Path(PYTHON), *Path("/usr/lib").glob("*/security/pam_systemd.so"))
    return "" if len(places) == 3 and all(map(Path.exists, places)) else "no systemd with pam_systemd, or no system Python, here"


class SystemdNode:
    """One node, booted by `start`. Raises CannotBoot where this machine lets no container boot."""

    def __init__(self, folder: Path, nvml_dir: Path, worker: Path) -> None:
        self.folder, self.root = folder, folder / "rootfs"
        self._nvml_dir, self._worker = nvml_dir, worker
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> SystemdNode:
        self.folder.mkdir()
        _run("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", self.folder)
        for name in ("upper", "work", "rootfs"):
            (self.folder / name).mkdir()
        layers = f"lowerdir=/,upperdir={self.folder}/upper,workdir={self.folder}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        self._furnish()
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--register=no", "--keep-unit", "--boot", "--private-network",
                   f"--machine=ops{os.getpid()}", "--settings=no", "--link-journal=no", "--console=pipe", "systemd.unit=basic.target"]
        variables = dict(os.environ, SYSTEMD_NSPAWN_TMPFS_TMP="0")  # a Python environment may lie in /tmp
        with open(self.folder / "boot.log", "wb") as log:
            self._process = subprocess.Popen(
                command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self._wait_until_up()
        self.ask("mkdir", "--parents", "/run/sshd")
        self.ask("useradd", "--create-home", "ops")
        self.ask("systemctl", "start", "dbus.socket", "systemd-logind.service", "systemd-user-sessions.service")
        return self

    def _furnish(self) -> None:
        units, here = self.root / "etc/systemd/system", self.place
        units.mkdir(parents=True, exist_ok=True)
        for unit in MASKED:
            _link_to_nothing(units / f"{unit}.service")
        _link_to_nothing(units / "tmp.mount")
        (self.root / "etc/systemd/journald.conf.d").mkdir(parents=True, exist_ok=True)
        (self.root / "etc/systemd/journald.conf.d/small.conf").write_text("[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n")
        here.mkdir(parents=True)
        (here / "agent.zip").write_bytes(agent_bundle().content)
        (here / "sshd_config").write_text(SSHD_CONFIG)
        shutil.copy(self._nvml_dir / "libnvidia-ml.so.1", here)
        (here / "nvml.txt").write_text("count 8\n")
        (here / "worker-python").write_text(f"#!{PYTHON}\n{self._worker.read_text()}")
        (here / "worker-python").chmod(0o755)
        for name in ("host_key", "operator_key"):
            make_key(here / name)
        shutil.copy(here / "operator_key", self.folder / "operator_key")

    def _wait_until_up(self) -> None:
        end = time.monotonic() + BOOT_LIMIT_S
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError, subprocess.CalledProcessError, IndexError):
                if self.ask("systemctl", "is-active", "basic.target") == "active":
                    return
            time.sleep(0.1)
        raise CannotBoot((self.folder / "boot.log").read_text(errors="replace")[-2000:])

    @property
    def place(self) -> Path:
        """HERE, as this machine names it."""
        return self.root / HERE.lstrip("/")

    @property
    def leader(self) -> int:
        """The node's systemd, as this machine numbers it."""
        pid = self._process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _enter(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self.leader), "--mount", "--uts", "--ipc", "--pid", "--net", "--cgroup", "--", *command]

    def ask(self, *command: str) -> str:
        """What a command on the node prints. Raises CalledProcessError."""
        return subprocess.run(self._enter(*command), check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def agent(self, user: str, watchdog_s: float = 2.0, worker_python: str = f"{HERE}/worker-python", **more: str) -> AgentProcess:
        """The agent in a login session of its own, over ssh, greeted. more: of its environment."""
        variables = {"LD_LIBRARY_PATH": HERE, "FAKE_NVML_STATE": f"{HERE}/nvml.txt", "OPSCONSOLE_WATCHDOG_S": f"{watchdog_s:g}", **more}
        remote = ["env", *(f"{name}={value}" for name, value in variables.items()), PYTHON, "-I", f"{HERE}/agent.zip"]
        server = shlex.join(self._enter(SSHD, "-i", "-f", f"{HERE}/sshd_config", "-E", f"{HERE}/sshd.log"))
        options = [f"ProxyCommand={server}", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR"]
        login = [word for option in options for word in ("-o", option)]
        key, log = self.folder / "operator_key", self.folder / "ssh.log"
        try:
            agent = AgentProcess(["ssh", "-F", "none", "-E", log, "-i", key, *login, f"{user}@node", shlex.join(remote)])
        except AssertionError:
            raise AssertionError(log.read_text() + (self.place / "sshd.log").read_text()) from None
        agent.say("hello", interval_s=0.2, gpus="nvml", work_dir="~/work", worker_python=worker_python)
        agent.facts(lambda facts: facts["gpus"]["index"])
        return agent

    def sessions(self, user: str) -> list[str]:
        """Ids of a user's logins that are open."""
        listed = [line.split() for line in self.ask("loginctl", "list-sessions", "--no-legend").splitlines()]
        return [words[0] for words in listed if words[2] == user and self._is_open(words[0])]

    def _is_open(self, session: str) -> bool:
        """Whether its login is still there; a worker that it brought may be left in it."""
        try:
            return "closing" not in self.ask("loginctl", "show-session", session, "--property=State")
        except subprocess.CalledProcessError:
            return False  # it has ended meanwhile

    def show(self, unit: str, *fields: str, scope: str = "--system") -> list[str]:
        said = self.ask("systemctl", scope, "show", unit, *(f"--property={field}" for field in fields))
        told = dict(line.split("=", 1) for line in said.splitlines())
        return [told[field] for field in fields]

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                os.kill(self.leader, signal.SIGKILL)  # the kernel ends all of the node with it
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait(10)
        for place in (self.root, self.folder):
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


class CannotBoot(Exception):
    """What systemd-nspawn said."""


def _link_to_nothing(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/null")


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBoot(f"{command[0]}: {done.stderr.strip()}")
