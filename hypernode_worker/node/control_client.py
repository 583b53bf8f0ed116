"""Asks a running worker over its Unix socket. Standard library only, so that `status` starts fast.

One JSON object a line in each direction: {"v": 1, "command": "status"} -> {"v": 1, "ok": true, "result": {...}} or
{"v": 1, "ok": false, "error": "one sentence"}.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import cast

from hypernode_worker.errors import ConfigError, PermanentError, TransientError

PROTOCOL_VERSION = 1
SOCKET_NAME = "worker.sock"
MAX_ANSWER_BYTES = 16 << 20


def call(data_dir: Path, command: str, *, timeout_s: float = 10.0, **arguments: object) -> dict[str, object]:
    """Sends one command ("status", "stop", "jobs", "take") and gives its result. Blocking.

    Raises:
        ConfigError: no worker of this data_dir is running, or it isn't this user's.
        TransientError: it doesn't answer in time.
        PermanentError: it refused; the message is its own.
    """
    request = json.dumps({"v": PROTOCOL_VERSION, "command": command, **arguments}).encode() + b"\n"
    with _connect(data_dir, timeout_s) as connection:
        try:
            connection.sendall(request)
            line = _read_line(connection)
        except TimeoutError:
            raise TransientError(
                f"The worker of {data_dir} doesn't answer within {timeout_s:g} s; try again."
            ) from None
        except OSError as error:
            raise TransientError(f"The worker of {data_dir} hung up ({error}); it may just be ending.") from error
    return _result(line, data_dir)


def wait_until_gone(data_dir: Path, *, timeout_s: float | None) -> bool:
    """Waits until no worker answers on this data_dir; False when one still does after timeout_s. Blocking."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        try:
            connection = _connect(data_dir, 5.0)
        except ConfigError:
            return True
        with connection:
            # The worker closes its connections as the last thing it does; it never speaks unasked.
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            connection.settimeout(left)
            try:
                connection.recv(1)
            except TimeoutError:
                return False
            except OSError:
                continue


def _connect(data_dir: Path, timeout_s: float) -> socket.socket:
    path = data_dir / SOCKET_NAME
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        with _ShortPath(path) as short:
            connection.connect(short)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        raise ConfigError(
            f"No worker is running with the data folder {data_dir}; start one with 'hypernode-worker start', or name "
            "its folder with DATA_DIR."
        ) from None
    except OSError as error:
        connection.close()
        raise ConfigError(f"The worker's socket {path} can't be used ({error.strerror or error}).") from error
    return connection


class _ShortPath:
    """A path under /proc/self/fd for a socket whose real one is longer than the 107 bytes a socket address holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) <= 100:
            return str(self._path)
        self._descriptor = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._descriptor}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _read_line(connection: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        chunk = connection.recv(65_536)
        if not chunk or len(data) > MAX_ANSWER_BYTES:
            break
        data += chunk
    return bytes(data)


def _result(line: bytes, data_dir: Path) -> dict[str, object]:
    try:
        parsed: object = json.loads(line)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise TransientError(f"The worker of {data_dir} ended before it answered; try again.")
    answer = cast("dict[str, object]", parsed)
    result = answer.get("result")
    if answer.get("ok") is True and isinstance(result, dict):
        return cast("dict[str, object]", result)
    raise PermanentError(str(answer.get("error") or "The worker speaks another version; restart it."))
