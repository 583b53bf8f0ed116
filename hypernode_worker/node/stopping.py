"""What the operator asked for: go on, drain, or give up now. Stopping is not cancelling: each loop ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator

from hypernode_worker.core.lifecycle import StopRequest


class StopSignal:
    """Rises from NONE to DRAIN to NOW and never falls."""

    def __init__(self) -> None:
        self._request = StopRequest.NONE
        self._draining = asyncio.Event()
        self._now = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def request(self) -> StopRequest:
        return self._request

    def drain(self) -> None:
        if self._request is StopRequest.NONE:
            self._request = StopRequest.DRAIN
        self._draining.set()
        self._tell()

    def now(self) -> None:
        self._request = StopRequest.NOW
        self._draining.set()
        self._now.set()
        self._tell()

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    @contextlib.contextmanager
    def listening(self, listener: Callable[[], None]) -> Generator[None]:
        """Calls `listener` at each request to stop, while the block lasts."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Until the worker drains; False when timeout_s passed first. Every pause of a loop is this."""
        return await wait_for_event(self._draining, timeout_s)

    async def wait_now(self, timeout_s: float | None = None) -> bool:
        """Until running jobs are to be given up; False when timeout_s passed first."""
        return await wait_for_event(self._now, timeout_s)


async def wait_for_event(event: asyncio.Event, timeout_s: float | None) -> bool:
    """Until the event is set (True), at most timeout_s (False)."""
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
