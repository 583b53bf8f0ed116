"""The windows of recent slots: their blockhashes, each valid for 150 slots, and their times."""

from __future__ import annotations

import bisect
import secrets
from collections import deque
from collections.abc import Iterable

from solders.hash import Hash

MAX_AGE_SLOTS = 150
"""A transaction may land while its blockhash is at most this many slots old."""

_KEPT = 512
"""SlotHashes holds this many."""


class Blockhashes:
    """Blockhashes of the newest slots. They are random, so no two chains ever share one."""

    def __init__(self, slot: int, kept: Iterable[tuple[int, Hash]] = ()) -> None:
        self._hashes: deque[tuple[int, Hash]] = deque(kept, maxlen=_KEPT)
        self._slots = {blockhash: at for at, blockhash in self._hashes}
        if not self._hashes or self._hashes[-1][0] < slot:
            self.advance_to(slot)

    @property
    def latest(self) -> Hash:
        return self._hashes[-1][1]

    @property
    def first_slot(self) -> int:
        """The oldest slot in the window."""
        return self._hashes[0][0]

    def advance_to(self, slot: int) -> None:
        """Makes a blockhash for each slot up to this one, as far as the window reaches back."""
        first = max(self._hashes[-1][0] + 1 if self._hashes else slot, slot - _KEPT + 1)
        for at in range(first, slot + 1):
            if len(self._hashes) == _KEPT:
                del self._slots[self._hashes[0][1]]
            blockhash = Hash(secrets.token_bytes(32))
            self._hashes.append((at, blockhash))
            self._slots[blockhash] = at

    def last_valid_slot(self, blockhash: Hash) -> int | None:
        """The last slot in which a transaction with this blockhash can land; None for an unknown hash."""
        at = self._slots.get(blockhash)
        return None if at is None else at + MAX_AGE_SLOTS

    def of_slot(self, slot: int) -> Hash | None:
        """The slot's blockhash, while it is in the window."""
        back = self._hashes[-1][0] - slot
        if 0 <= back < len(self._hashes) and self._hashes[-1 - back][0] == slot:
            return self._hashes[-1 - back][1]
        return None

    def newest_first(self) -> list[tuple[int, Hash]]:
        """(slot, blockhash) in the order of the SlotHashes sysvar."""
        return list(reversed(self._hashes))

    def oldest_first(self) -> list[tuple[int, Hash]]:
        """(slot, blockhash) in the order in which they can be restored."""
        return list(self._hashes)


class SlotTimes:
    """When recent slots began, seconds since 1970. Slots that were jumped over began with the one after them."""

    def __init__(self, slot: int, unix_time: int) -> None:
        self._times: deque[tuple[int, int]] = deque([(slot, unix_time)], maxlen=_KEPT)

    def add(self, slot: int, unix_time: int) -> None:
        self._times.append((slot, unix_time))

    def of_slot(self, slot: int) -> int:
        """The time of this slot, or of the nearest one that is known."""
        at = bisect.bisect_left(self._times, (slot, 0))
        return self._times[min(at, len(self._times) - 1)][1]
