"""Lets several hosts serve one model together: the first one takes the requests and tells the others each step it runs.

Each host runs the same programs on its share of the arrays, in the same order; the sums between them are XLA's, over NCCL or,
on CPUs, over Gloo. What is told is a program's name and its arguments, a few hundred bytes a step, over one TCP connection to
each host. Who connects has to know the key of `--api-key-file`, since arguments are what clients wrote; the connections are
not encrypted, and neither are XLA's own, so the hosts belong on a network of their own.
"""

import hmac
import json
import os
import queue
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax
import numpy as np

from .config import UnsupportedModel
from .options import Options

NONCE_BYTES = 32
LENGTH = struct.Struct(">I")
CONNECT_LIMIT_S = 300.0
RETRY_S = 0.2
GOODBYE_LIMIT_S = 5.0


def join(options: Options) -> None:
    """Meet the other hosts; from here on `jax.devices()` are those of all. Raises UnsupportedModel when they do not come."""
    _send_native_output_to_stderr()
    with suppress(AttributeError):  # JAX's own reading of SIGTERM, in versions that have it, would swallow ours
        jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            options.coordinator, options.hosts, options.host_index, initialization_timeout=int(CONNECT_LIMIT_S)
        )
    except RuntimeError as error:
        raise UnsupportedModel(f"The hosts of this model did not meet at {options.coordinator}: {str(error).splitlines()[0]}") from error


def _send_native_output_to_stderr() -> None:
    """Gloo writes to standard output, where whoever started us reads JSON lines."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(ours, "w")


def _step_address(options: Options) -> tuple[str, int]:
    """Where steps are told: the port beside the one where JAX's own coordination listens."""
    host, _, port = options.coordinator.rpartition(":")
    return host.strip("[]"), int(port) + 1


def _proof(key: bytes, nonce: bytes) -> bytes:
    return hmac.digest(key, b"opsconsole step " + nonce, "sha256")


class Leader:
    """The first host's side: knows the others and tells them each step."""

    def __init__(self, options: Options, key: bytes) -> None:
        self._followers: list[socket.socket] = []
        with socket.create_server(_step_address(options), backlog=options.hosts) as server:
            deadline_s = time.monotonic() + CONNECT_LIMIT_S
            while len(self._followers) < options.hosts - 1:
                server.settimeout(max(0.1, deadline_s - time.monotonic()))
                try:
                    self._admit(server.accept()[0], key)
                except TimeoutError:
                    raise UnsupportedModel(f"{options.hosts - 1 - len(self._followers)} hosts did not ask for steps.") from None

    def _admit(self, connection: socket.socket, key: bytes) -> None:
        """Count a host in if it knows the key; a stranger is sent away."""
        connection.settimeout(10.0)
        nonce = secrets.token_bytes(NONCE_BYTES)
        try:
            connection.sendall(nonce)
            proven = hmac.compare_digest(_read(connection, 32), _proof(key, nonce))
        except OSError:
            proven = False
        if not proven:
            connection.close()
            return
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._followers.append(connection)

    def tell(self, name: str, arguments: tuple) -> None:
        """Say which program runs next. Raises OSError when a host is gone: the model is then not whole any more."""
        body = b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in jax.tree.leaves(arguments))
        head = json.dumps(name).encode()
        frame = LENGTH.pack(len(head)) + head + LENGTH.pack(len(body)) + body
        for follower in self._followers:
            follower.sendall(frame)

    def close(self) -> None:
        """Let the others end, and wait for it: a host whose coordinator is gone before it knows takes that for a crash."""
        for follower in self._followers:
            with suppress(OSError):
                follower.shutdown(socket.SHUT_WR)
        for follower in self._followers:
            with suppress(OSError):
                follower.settimeout(GOODBYE_LIMIT_S)
                follower.recv(1)
            follower.close()


def follow(
    options: Options,
    key: bytes,
    shapes_of: Callable[[str], tuple],
    run: Callable[[str, tuple], Any],
    on_end: Callable[[], None],
) -> None:
    """Another host's side: call `run(name, arguments)` for each step; `shapes_of` tells what arguments a program takes.

    When the first host ends, `on_end` is called at once, from another thread, even in the midst of a step: it has to end this
    process, and its connection with it, before the first host's coordination goes away. Raises UnsupportedModel.
    """
    connection = _connect(_step_address(options))
    steps: queue.SimpleQueue = queue.SimpleQueue()

    def listen() -> None:
        with suppress(EOFError, OSError):
            connection.sendall(_proof(key, _read(connection, NONCE_BYTES)))
            while True:
                name = json.loads(_read(connection, LENGTH.unpack(_read(connection, LENGTH.size))[0]))
                steps.put((name, _read(connection, LENGTH.unpack(_read(connection, LENGTH.size))[0])))
        steps.put(None)
        on_end()

    threading.Thread(target=listen, name="steps", daemon=True).start()
    while step := steps.get():
        run(step[0], _arguments(shapes_of(step[0]), step[1]))


def _connect(address: tuple[str, int]) -> socket.socket:
    deadline_s = time.monotonic() + CONNECT_LIMIT_S
    while True:
        try:
            connection = socket.create_connection(address, timeout=RETRY_S * 10)
        except OSError as error:
            if time.monotonic() > deadline_s:
                raise UnsupportedModel(f"The first host does not tell steps at {address[0]}:{address[1]}: {error}.") from error
            time.sleep(RETRY_S)
        else:
            connection.settimeout(None)
            return connection


def _read(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes. Raises EOFError at the end."""
    content = bytearray()
    while len(content) < size:
        piece = connection.recv(size - len(content))
        if not piece:
            raise EOFError
        content += piece
    return bytes(content)


def _arguments(shapes: tuple, body: bytes) -> tuple:
    """The arguments back from their bytes."""
    leaves, tree = jax.tree.flatten(shapes)
    values, start = [], 0
    for leaf in leaves:
        size = int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize
        values.append(np.frombuffer(body, leaf.dtype, count=int(np.prod(leaf.shape)), offset=start).reshape(leaf.shape))
        start += size
    return jax.tree.unflatten(tree, values)
