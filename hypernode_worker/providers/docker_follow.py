"""One thread that follows one container: writes its log, sees its end, and says why it ended.

The thread blocks in the engine's streaming calls, so that an end is known within milliseconds and without polling.
A worker that starts anew follows a container again by the engine's own log, from the beginning.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from hypernode_worker.core.ports import Exit, ExitReason
from hypernode_worker.errors import PermanentError, ProviderDown
from hypernode_worker.providers.bounded_log import BoundedLog, log_offset
from hypernode_worker.providers.docker_client import Stream, api_status
from hypernode_worker.providers.docker_engine import DockerEngine
from hypernode_worker.providers.docker_settings import Watched
from hypernode_worker.providers.process_tree import deleted_bytes, descendants, sees_workspace
from hypernode_worker.providers.workspace import WorkspaceUse, measure_workspace

WAIT_S = 2.0
"""Seconds of one blocking wait; between two of them a closed provider is noticed."""

OOM_SETTLE_S = 0.2
"""Seconds for which the engine's word that memory ran out may come after the exit of a killed container."""

KILLED = 137
_TIME = re.compile(r"(?P<day>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)")


class DockerFollower:
    """Follows one container until it has ended. `ended` gives its Exit, or the error that broke the following."""

    def __init__(
        self, engine: DockerEngine, ident: str, watched: Watched, *, max_files: int, stream: Stream | None = None
    ) -> None:
        """
        Args:
            stream: output attached before the start; None: read the engine's log from its beginning.
        """
        self.ident = ident
        self.watched = watched
        self.ended: Future[Exit] = Future()
        self._engine = engine
        self._max_files = max_files
        self._stream = stream
        self._reason: ExitReason | None = None
        self._overflowed = False
        self._first_pid: int | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follow-{ident[:12]}", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> asyncio.Future[Exit]:
        """`ended` for the running event loop. Don't cancel it: shield it, or wait for it with asyncio.wait."""
        future = asyncio.wrap_future(self.ended)
        future.add_done_callback(_seen)
        return future

    @property
    def broken(self) -> bool:
        """The connection was lost before the container ended."""
        return self.ended.done() and isinstance(self.ended.exception(), ProviderDown)

    def measure(self) -> WorkspaceUse:
        """What the workspace holds now, deleted files that are still open included; blocks for the walk."""
        watched = self.watched
        use = measure_workspace(watched.workspace, max_bytes=watched.workspace_bytes, max_files=self._max_files)
        hidden = self._deleted_bytes() if use.over is None else 0
        if use.bytes + hidden < watched.workspace_bytes:
            return replace(use, bytes=use.bytes + hidden)
        return replace(use, bytes=use.bytes + hidden, over=use.over or "deleted files that are still open")

    def _deleted_bytes(self) -> int:
        """Nothing where the engine runs on another machine, or its processes may not be looked at."""
        if self._first_pid is None:
            state = self._engine.client().inspect_container(self.ident)["State"]
            pid = int(state.get("Pid") or 0)
            self._first_pid = pid if pid and sees_workspace(pid, self.watched.workspace) else 0
        if not self._first_pid or not sees_workspace(self._first_pid, self.watched.workspace):
            return 0
        return deleted_bytes(descendants(self._first_pid), self.watched.workspace)

    def kill(self, reason: ExitReason, signal: str = "SIGKILL") -> None:
        """Sends a signal for a reason that will be the exit's, unless the container had ended or another came first.

        Raises:
            ProviderDown: the engine can't be reached.
        """
        first = self._reason is None
        if first:
            self._reason = reason
        try:
            self._engine.call_here(lambda client: client.kill(self.ident, signal))
        except Exception as error:
            if first:
                self._reason = None
            status = api_status(error)
            if status in (404, 409):
                return  # gone; not running
            if status is not None:
                raise self._engine.refused(error, f"end container {self.ident[:12]}") from error
            raise

    def close(self) -> None:
        """Stops following; the container goes on."""
        self._closed.set()
        self._let_go()

    def _let_go(self) -> None:
        stream = self._stream
        if stream is not None:
            with suppress(OSError, AttributeError):  # it had ended
                stream.close()

    def join(self, timeout_s: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self.ended.set_result(self._follow())
        except Exception as error:  # noqa: BLE001 -- it is handed to whoever waits
            self.ended.set_exception(self._explained(error))

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, (ProviderDown, PermanentError)):
            return error
        status = api_status(error)
        if status == 404:
            return PermanentError(
                f"container {self.ident[:12]} is gone, removed by something other than this worker: end its run"
            )
        if status is not None:
            return self._engine.refused(error, f"follow container {self.ident[:12]}")
        if isinstance(error, OSError) and error.filename is not None:
            return ProviderDown(f"the log {self.watched.log_path} can't be written ({error.strerror}): free disk space")
        return self._engine.translate(error)

    def _follow(self) -> Exit:
        self._copy_log()
        code = self._wait()
        state = self._engine.client().inspect_container(self.ident)["State"]
        reason = self._reason_of(code, state)
        started_at = _unix_time(state.get("StartedAt"))
        return Exit(
            exit_code=code & 0xFF,
            reason=reason,
            started_at=started_at,
            ended_at=max(started_at, _unix_time(state.get("FinishedAt"))),  # the engine notes a start only afterwards
        )

    def _copy_log(self) -> None:
        watched = self.watched
        if self._stream is None and log_offset(watched.log_path) - watched.log_offset >= watched.log_bytes:
            self._overflowed = True  # in an earlier life; the engine may have dropped the beginning since
            return self.kill(ExitReason.LOG_LIMIT)
        if self._stream is None:
            self._stream = self._engine.client().logs(self.ident, stdout=True, stderr=True, stream=True, follow=True)
        with BoundedLog(watched.log_path, limit=watched.log_bytes, offset=watched.log_offset) as log:
            try:
                self._overflowed = not all(log.write(chunk) for chunk in self._stream)
            finally:
                # Before the kill: the engine doesn't see an end while output waits for a reader.
                self._let_go()
        return self.kill(ExitReason.LOG_LIMIT) if self._overflowed else None

    def _wait(self) -> int:
        """The exit code, once there is one: the output may end long before the container does."""
        while not self._closed.is_set():
            try:
                return int(self._engine.client().wait(self.ident, timeout=WAIT_S)["StatusCode"])
            except Exception as error:
                if not _is_timeout(error):
                    raise
        raise ProviderDown("the provider was closed while the container ran: open a new one and wait again")

    def _reason_of(self, code: int, state: dict[str, Any]) -> ExitReason:
        if self._overflowed:
            return ExitReason.LOG_LIMIT
        watched = self.watched
        full = self._reason is ExitReason.WORKSPACE_FULL
        if (
            full
            or measure_workspace(watched.workspace, max_bytes=watched.workspace_bytes, max_files=self._max_files).over
        ):
            return ExitReason.WORKSPACE_FULL
        if self._reason is not None:
            return self._reason
        return ExitReason.OUT_OF_MEMORY if self._out_of_memory(code, state) else ExitReason.EXITED

    def _out_of_memory(self, code: int, state: dict[str, Any]) -> bool:
        deadline = time.monotonic() + OOM_SETTLE_S
        while True:
            if state.get("OOMKilled"):
                return code != 0  # a job that survived the loss of a child has not failed
            if code != KILLED or time.monotonic() > deadline:
                return False
            time.sleep(OOM_SETTLE_S / 8)
            state = self._engine.client().inspect_container(self.ident)["State"]


def _seen(future: asyncio.Future[Exit]) -> None:
    """An error that nobody waits for is no reason for asyncio to complain."""
    if not future.cancelled():
        future.exception()


def _is_timeout(error: BaseException) -> bool:
    """A wait that found no end in time: requests says so in two ways, by whether the headers had come."""
    return any("timed out" in str(part).lower() for part in (error, *error.args)) or "Timeout" in type(error).__name__


def _unix_time(text: object) -> float:
    """An engine's RFC 3339 time with nanoseconds as unix seconds; 0.0 for 'never' (year 1)."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["day"].startswith("0001-"):
        return 0.0
    zone = "+00:00" if match["zone"] == "Z" else match["zone"]
    return datetime.fromisoformat(match["day"] + zone).timestamp() + float(f"0{match['fraction'] or ''}")
