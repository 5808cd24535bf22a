"""Runs on the node, before the agent: finds or receives the agent's zip, proves it, and becomes it (any Python 3; never imported here)."""

import os
import sys

LONGEST_BYTES = 16 * 1024 * 1024
UNUSED_DAYS = 30


def say(text):
    os.write(1, ("OPSCONSOLE-STAGE " + text + "\n").encode())


def receive(length):
    """Exactly so many bytes of standard input: what follows belongs to the agent."""
    parts = []
    while length:
        part = os.read(0, min(length, 65536))
        if not part:
            sys.exit(1)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def is_whole(path, digest):
    """Whether the file is ours, nobody else's to write, and has the content that was asked for."""
    import hashlib
    import stat

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            return False
        return hashlib.sha256(file.read(LONGEST_BYTES)).hexdigest() == digest


def private_directories(make):
    """Directories that only this user can write to, the cache first; the others serve where home is full or read-only.

    make: makes each when its turn comes, so that none is left behind that was not needed."""
    import stat

    mine = "opsconsole-" + str(os.getuid())
    cache = os.path.join(os.path.expanduser("~"), ".cache", "opsconsole")
    for path in (cache, "/dev/shm/" + mine, "/tmp/" + mine, "/var/tmp/" + mine):
        try:
            if make and not os.path.lexists(path):
                os.makedirs(path, 0o700)
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                os.chmod(path, 0o700)
                yield path
        except OSError:
            continue


def write(path, content):
    """All of it under another name first, so that nobody ever sees half."""
    beside = path + "." + str(os.getpid())
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            while content:
                content = content[os.write(handle, content):]
            os.rename(beside, path)
        except OSError:
            os.unlink(beside)
            return False
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


def forget_old(directory, kept):
    """Agents of earlier consoles that nobody has used for long."""
    import time

    oldest = time.time() - UNUSED_DAYS * 86400
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        try:
            if name.startswith("agent-") and path != kept and os.lstat(path).st_mtime < oldest:
                os.unlink(path)
        except OSError:
            pass


def find_or_fetch(digest, length):
    """The path of the proven zip; it is asked for only where it is not."""
    name = "agent-" + digest + ".zip"
    for directory in private_directories(make=False):
        path = os.path.join(directory, name)
        if is_whole(path, digest):
            say("HAVE")
            os.utime(path, None)
            return path
    say("NEED")
    content = receive(length)
    for directory in private_directories(make=True):
        path = os.path.join(directory, name)
        if write(path, content) and is_whole(path, digest):
            forget_old(directory, path)
            return path
    say("BROKEN the agent could be stored nowhere: home, /dev/shm and /tmp are full or read-only")
    sys.exit(1)


def start(digest, length):
    if sys.version_info < (3, 9):  # noqa: UP036 the node's Python, not ours
        say("PYTHON " + ".".join(str(part) for part in sys.version_info[:3]))
        sys.exit(1)
    import runpy

    path = find_or_fetch(digest, length)
    sys.argv = [path]
    runpy.run_path(path, run_name="__main__")


start(sys.argv[1], int(sys.argv[2]))
