"""What is remembered for a while, in bounded room: strangers decide how many keys there are."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Resting(Generic[K]):
    """Keys that are left alone until a time, longer after each failure; the oldest are forgotten first."""

    def __init__(self, *, first_s: float, most_s: float, room: int = 4096) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._room = room
        self._until: OrderedDict[K, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def rests(self, key: K) -> bool:
        found = self._until.get(key)
        return found is not None and asyncio.get_running_loop().time() < found[0]

    def rest(self, key: K) -> float:
        """Leaves a key alone from now on; gives for how many seconds."""
        _, times = self._until.pop(key, (0.0, 0))
        delay = min(self._most_s, self._first_s * 2 ** min(times, 20))
        self._until[key] = (asyncio.get_running_loop().time() + delay, times + 1)
        while len(self._until) > self._room:
            self._until.popitem(last=False)
        return delay

    def forget(self, key: K) -> None:
        self._until.pop(key, None)
