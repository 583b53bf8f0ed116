"""The lots that all nodes draw for one job, smallest first, drawn only as far as somebody looks."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypernode_worker.core.claim_window import opens_after


def openings(nodes: int, spread: int, chance: random.Random) -> Iterator[tuple[int, int]]:
    """(slots after the queueing, node) of every node, about in order: nodes of one doubling are out of it by one slot.

    Uniform lots stand for the hash. Their order statistics are drawn one from the other, so that ten thousand nodes
    cost nothing for a job that the third one takes; the lowest bit, which has no part in the order, is drawn apart.
    """
    taken: dict[int, int] = {}
    smallest = 0.0
    for number in range(nodes):
        smallest += (1.0 - smallest) * (1.0 - chance.random() ** (1.0 / (nodes - number)))
        lot = int(smallest * 2.0**64) & ~1 | chance.getrandbits(1)
        yield opens_after(min(lot, 2**64 - 1), spread), _another(taken, number, nodes, chance)


def _another(taken: dict[int, int], number: int, nodes: int, chance: random.Random) -> int:
    """The next of a random permutation, of which only what was drawn is kept (Fisher and Yates)."""
    drawn = chance.randrange(number, nodes)
    node = taken.get(drawn, drawn)
    taken[drawn] = taken.get(number, number)
    return node
