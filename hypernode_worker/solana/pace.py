"""How fast an endpoint is asked."""

from __future__ import annotations

import random


def jittered(seconds: float) -> float:
    """A tenth more or less: many workers that lost the same endpoint must not come back in the same moment."""
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 -- nothing secret depends on it


class Pace:
    """A token bucket, and a pause for when the endpoint asks for one. Times are the event loop's."""

    def __init__(self, requests_per_s: float | None, burst: int = 40) -> None:
        self._rate = requests_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at: float | None = None
        self._not_before = 0.0

    def wait_s(self, now: float) -> float:
        """Takes a token and says how long to wait before using it."""
        wait = max(self._not_before - now, 0.0)
        if self._rate is None:
            return wait
        since = now - (self._filled_at if self._filled_at is not None else now)
        self._tokens = min(self._tokens + since * self._rate, self._burst) - 1.0
        self._filled_at = now
        return max(wait, -self._tokens / self._rate)

    def give_back(self) -> None:
        """Returns a token that wasn't used."""
        self._tokens += 1.0

    def pause_until(self, when: float) -> None:
        self._not_before = max(self._not_before, when)
