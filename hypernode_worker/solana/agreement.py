"""What several endpoints say, weighed against each other: pure functions.

Endpoints stand in the operator's order. Most decide; where no side has more than the others, the order does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

MAX_LAG_SLOTS = 75
"""Half a minute: endpoints that work differ by a few slots."""
MAX_BELIEVED_LAG = 216_000
"""A day. Of two endpoints the one that is further on counts, unless it is so far on that it must be lying."""


def chosen_chain(genesis_hashes: Sequence[str | None]) -> str | None:
    """The genesis hash of most endpoints; of as many for each of two, the one named first. None: nobody has told."""
    votes = Counter(genesis for genesis in genesis_hashes if genesis is not None)
    # most_common keeps the order of first sight among equals, and that is the operator's.
    return votes.most_common(1)[0][0] if votes else None


def odd_slots(slots: Mapping[int, int]) -> frozenset[int]:
    """Which endpoints are too far from the others: at most half of them, none where no more are near each other.

    Args:
        slots: by the endpoint's place in the operator's order, asked at the same moment.
    """
    if len(slots) < 2:
        return frozenset()
    ordered = sorted(slots.values())
    middle = ordered[len(ordered) // 2]
    if len(slots) == 2 and ordered[1] - ordered[0] > MAX_BELIEVED_LAG:
        middle = slots[min(slots)]
    odd = frozenset(place for place, slot in slots.items() if abs(slot - middle) > MAX_LAG_SLOTS)
    return odd if 2 * len(odd) <= len(slots) else frozenset()


def majority(answers: Mapping[int, T]) -> T:
    """What more than half of the endpoints say. Raises LookupError when no side has so many."""
    for candidate in answers.values():
        if 2 * sum(answer == candidate for answer in answers.values()) > len(answers):
            return candidate
    raise LookupError("no majority")
