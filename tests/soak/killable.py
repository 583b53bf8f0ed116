"""A worker that is killed and started again, many times, with one key and one data folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

STARTS_S = 60.0


class Killable:
    """Starts of one worker, one after the other. `log` has what all of them said."""

    def __init__(self, nursery: asyncio.subprocess.Process, environment: Mapping[str, str], log: Path) -> None:
        self._nursery = nursery
        self._environment = dict(environment)
        self.log = log
        self.pid = 0

    async def start(self, *, die_at: int | None = None, before: bool = False) -> None:
        """Begins one; `die_at`: see nursery."""
        request = {"environment": self._environment, "log": str(self.log), "die_at": die_at, "before": before}
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(json.dumps(request).encode() + b"\n")
        self.pid = (await self._answer())["pid"]

    async def ended(self) -> int:
        """Its exit code, or minus the number of the signal that ended it."""
        return (await self._answer())["ended"]

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """It drains."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def events(self, name: str) -> int:
        """How often an event was told, by all starts."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_text().count(f'"event": "{name}"')
        return 0

    async def _answer(self) -> dict[str, int]:
        assert self._nursery.stdout is not None
        line = await self._nursery.stdout.readline()
        if not line:
            raise RuntimeError(f"the nursery ended; the worker's log: {self.log.read_text()[-2_000:]}")
        return json.loads(line)


@contextlib.asynccontextmanager
async def killable(environment: Mapping[str, str], log: Path) -> AsyncGenerator[Killable]:
    """A worker that isn't started yet; what is left of it ends with the block."""
    nursery = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.soak.nursery",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    worker = Killable(nursery, environment, log)
    try:
        yield worker
    finally:
        if worker.pid:
            worker.kill()
        assert nursery.stdin is not None
        nursery.stdin.close()
        nursery.terminate()
        await nursery.wait()
