"""One command to HAProxy's runtime socket and its answer, bounded in time and size: a HAProxy that hangs or floods costs two seconds."""

from __future__ import annotations

import asyncio

from opsconsole.core.text import clean
from opsconsole.hooks import Elsewhere, RouterError

ANSWER_LIMIT_S = 2.0
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
ENDS_OF_COMMANDS = frozenset(";\n\r\\")


async def ask(path: str, command: str, where: Elsewhere | None = None) -> str:
    """where: the machine that has the socket, this one unless said. Raises RouterError, which names the socket, when there is no answer."""
    named = f"{where.name}:{path}" if where else path
    if ENDS_OF_COMMANDS & set(command) or not command.isascii() or not command.isprintable():
        raise RouterError(f"not sent, since it could be read as two commands: {clean(command, 80)!r}")
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return (await _exchange(path, where, command.encode() + b"\n")).decode(errors="replace")
    except TimeoutError:
        raise RouterError(f"{named}: HAProxy has not answered for {ANSWER_LIMIT_S:.0f} s") from None
    except OSError as error:
        raise RouterError(f"{named}: {error.strerror or error}; is HAProxy running, and may you use its socket?") from error


async def _exchange(path: str, where: Elsewhere | None, line: bytes) -> bytes:
    reader, writer = await (where.open(path) if where else asyncio.open_unix_connection(path))
    try:
        writer.write(line)
        await writer.drain()
        answer = bytearray()
        while chunk := await reader.read(65536):
            answer += chunk
            if len(answer) > ANSWER_LIMIT_BYTES:
                raise OSError(0, f"an answer of more than {ANSWER_LIMIT_BYTES >> 20} MiB")
        return bytes(answer)
    finally:
        writer.close()
