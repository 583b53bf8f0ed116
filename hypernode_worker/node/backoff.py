"""How long to wait before trying again: doubling, with jitter, bounded, and never less than an endpoint asked for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hypernode_worker.errors import TransientError

T = TypeVar("T")


class Backoff:
    """Counts failures in a row. Jitter keeps many workers from coming back in step."""

    def __init__(
        self, *, first_s: float = 0.5, most_s: float = 30.0, random_source: random.Random | None = None
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._random = random_source or random.Random()  # noqa: S311 -- no secret
        self.failures = 0

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self, error: Exception | None = None) -> float:
        """Seconds to wait now."""
        self.failures += 1
        delay = min(self._most_s, self._first_s * 2 ** min(self.failures - 1, 16)) * self._random.uniform(0.5, 1.0)
        asked = error.retry_after_s if isinstance(error, TransientError) else None
        return max(delay, min(asked or 0.0, 300.0))


async def persist(attempt: Callable[[], Awaitable[T]], *, attempts: int, first_s: float = 1.0) -> T:
    """Tries a few times while the error says that it may help; raises the last one."""
    backoff = Backoff(first_s=first_s)
    while True:
        try:
            return await attempt()
        except TransientError as error:
            delay = backoff.failed(error)
            if backoff.failures >= attempts:
                raise
            await asyncio.sleep(delay)
