"""What went wrong on the way to a node, as its reach and one sentence with the mend, free of anything a hostile server wrote."""

from __future__ import annotations

import errno

import asyncssh

from opsconsole.core.fleet import AUTH_FAILED, HOST_KEY_CHANGED, HOST_KEY_UNKNOWN, HUNG, NO_PYTHON, UNREACHABLE
from opsconsole.core.text import clean
from opsconsole.ssh.bootstrap import UnsafePython
from opsconsole.ssh.dial import NoAnswer, NoGreeting, NoName
from opsconsole.ssh.hosts import HostsError, Target
from opsconsole.ssh.keys import KeyTrouble
from opsconsole.ssh.lines import Flood

CAUSE_LIMIT = 400
REFUSED = (AUTH_FAILED, HOST_KEY_CHANGED, HOST_KEY_UNKNOWN, NO_PYTHON)
"""Reaches that no retry mends by itself: try seldom."""


class LinkFailure(Exception):
    """A failure already put into words. is_refused: a person must act first, so the next attempt is later."""

    def __init__(self, reach: int, cause: str, is_refused: bool | None = None) -> None:
        super().__init__(cause)
        self.reach = reach
        self.cause = clean(cause, CAUSE_LIMIT)
        self.is_refused = reach in REFUSED if is_refused is None else is_refused


def put_into_words(error: BaseException, target: Target) -> LinkFailure:
    """Any exception of a connection attempt or a running link."""
    if isinstance(error, LinkFailure):
        return error
    if isinstance(error, Flood):
        return LinkFailure(HUNG, f"its agent {error}; it was disconnected and is tried again later", True)
    if isinstance(error, NoGreeting):
        return LinkFailure(HUNG, str(error))
    if isinstance(error, (NoAnswer, NoName)):
        return LinkFailure(UNREACHABLE, str(error))
    if isinstance(error, (HostsError, UnsafePython)):
        return LinkFailure(NO_PYTHON if isinstance(error, UnsafePython) else UNREACHABLE, str(error), True)
    if isinstance(error, KeyTrouble):
        return LinkFailure(AUTH_FAILED, str(error))
    if isinstance(error, asyncssh.Error):
        return _of_ssh(error, target)
    return _of_system(error, target)


def _of_ssh(error: asyncssh.Error, target: Target) -> LinkFailure:
    if isinstance(error, asyncssh.PermissionDenied):
        offered = ", ".join(target.identities) or "the default keys and the SSH agent's"
        return LinkFailure(
            AUTH_FAILED,
            f"{target.where} refused to let {target.user} in; offered: {offered}. "
            "Check `user` and `identity`, and authorized_keys on the node",
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        if "host key" in error.reason:
            return LinkFailure(
                HOST_KEY_CHANGED,
                f"HOST KEY CHANGED: {target.where} no longer has a key of the type that is known for it; was it reinstalled? "
                f"ssh-keygen -R {target.host}, then add its new key",
            )
        return LinkFailure(UNREACHABLE, f"{target.where} and this console share no algorithm: {error.reason}", True)
    if isinstance(error, asyncssh.ConnectionLost):
        if "keepalive" in error.reason:
            return LinkFailure(UNREACHABLE, f"no answer from {target.where}")
        return LinkFailure(UNREACHABLE, f"{target.where} closed the connection{_detail(error)}")
    if isinstance(error, asyncssh.ChannelOpenError):
        return LinkFailure(UNREACHABLE, f"{target.where} opens no further session ({error.reason}); connecting anew")
    if isinstance(error, asyncssh.ProtocolError):
        return LinkFailure(UNREACHABLE, f"{target.where} does not speak SSH properly: {error.reason}", True)
    return LinkFailure(UNREACHABLE, f"{target.where}: {error.reason}")


def _detail(error: asyncssh.Error) -> str:
    return "" if error.reason in ("", "Connection lost") else f": {error.reason}"


def _of_system(error: BaseException, target: Target) -> LinkFailure:
    if isinstance(error, TimeoutError):
        return LinkFailure(HUNG, f"{target.where} accepts connections but did not finish logging in in time")
    is_out_of_files = isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
    # asyncssh cannot read the user's name when no file can be opened, and says only that
    if is_out_of_files or "Unknown local username" in str(error):
        return LinkFailure(UNREACHABLE, "this console has too many open files: raise the limit with ulimit -n", True)
    if isinstance(error, OSError):
        return LinkFailure(UNREACHABLE, f"{target.where}: {error.strerror or error}")
    return LinkFailure(UNREACHABLE, f"{target.where}: {type(error).__name__}: {error}")
