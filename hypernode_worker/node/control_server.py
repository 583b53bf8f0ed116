"""Answers `status`, `stop`, `jobs`, `take` on a Unix socket in the data folder; node.control_client has the protocol.

The socket is 0600, and the kernel says who is on the other side: only this user and root are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import cast

from hypernode_worker.errors import ConfigError, HypernodeError
from hypernode_worker.node.control_client import PROTOCOL_VERSION, SOCKET_NAME

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 64 * 1024
MAX_CONNECTIONS = 64

Command = Callable[[Mapping[str, object]], Awaitable[dict[str, object]]]


@contextlib.asynccontextmanager
async def control_server(data_dir: Path, commands: Mapping[str, Command]) -> AsyncGenerator[None]:
    """Serves while the block lasts; the caller holds the data folder's lock, so a socket that is there is stale.

    Raises:
        ConfigError: the socket can't be made.
    """
    server = _ControlServer(commands)
    path = data_dir / SOCKET_NAME
    folder = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        # By its folder's descriptor: a socket's path may have 107 bytes only.
        listener.bind(f"/proc/self/fd/{folder}/{SOCKET_NAME}" if len(os.fsencode(path)) > 100 else str(path))
        path.chmod(0o600)
        listener.listen(MAX_CONNECTIONS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"The socket {path} can't be made ({error.strerror}); name another folder with DATA_DIR."
        ) from error
    finally:
        os.close(folder)
    serving = await asyncio.start_unix_server(server.serve, sock=listener, limit=MAX_REQUEST_BYTES)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        serving.close()
        await server.hang_up()


class _ControlServer:
    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        try:
            if len(self._tasks) <= MAX_CONNECTIONS and _is_allowed(writer):
                await self._converse(reader, writer)
        except (OSError, ValueError, asyncio.CancelledError) as error:
            log.debug("A control connection ended: %s", error)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def hang_up(self) -> None:
        """Closes what is open: for `stop`, that is how a client learns that the worker is gone."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=5.0)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            answer = await self._answer(line)
            writer.write(json.dumps({"v": PROTOCOL_VERSION, **answer}).encode() + b"\n")
            await writer.drain()

    async def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request: object = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "The request is not JSON."}
        if not isinstance(request, dict):
            return {"ok": False, "error": "The request is no JSON object."}
        arguments = cast("dict[str, object]", request)
        if arguments.get("v") != PROTOCOL_VERSION:
            return {"ok": False, "error": "The worker is of another version than this command; restart the worker."}
        command = self._commands.get(str(arguments.get("command")))
        if command is None:
            return {"ok": False, "error": f"The worker knows no command {str(arguments.get('command'))[:40]!r}."}
        try:
            return {"ok": True, "result": await command(arguments)}
        except HypernodeError as error:
            return {"ok": False, "error": str(error)}
        except Exception:
            log.exception("A control command failed")
            return {"ok": False, "error": "The worker failed to answer; its log says why."}


def _is_allowed(writer: asyncio.StreamWriter) -> bool:
    connection = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return uid in (0, os.getuid())
