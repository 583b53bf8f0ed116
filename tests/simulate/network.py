"""What the simulated network and chain do to a message: the assumptions, in one place."""

from __future__ import annotations

import random
from dataclasses import dataclass

SLOT_S = 0.4


@dataclass(frozen=True, slots=True)
class Network:
    """Times in seconds.

    Attributes:
        fastest_s, slowest_s: a request, there and back, is uniform between them; half of it is each way. A push takes
            one way.
        lost: share of messages that never arrive. A lost push is made up for by the catch-up read, a lost request or
            broadcast is repeated.
        processed_s, confirmed_s: from a transaction's execution until an endpoint shows it at that commitment.
        catch_up_s: between two reads of the whole queue.
        repeat_s: after which a lost request or broadcast is sent again.
    """

    fastest_s: float = 0.02
    slowest_s: float = 0.3
    lost: float = 0.01
    processed_s: float = 0.2
    confirmed_s: float = 0.8
    catch_up_s: float = 60.0
    repeat_s: float = 2.0

    def round_trip(self, chance: random.Random) -> float:
        """Of a request; `repeat_s` more for each that was lost, either way."""
        again = 0.0
        while chance.random() < 1 - (1 - self.lost) ** 2:
            again += self.repeat_s
        return again + chance.uniform(self.fastest_s, self.slowest_s)

    def one_way(self, chance: random.Random) -> float:
        """Of a broadcast; `repeat_s` more for each that was lost."""
        again = 0.0
        while chance.random() < self.lost:
            again += self.repeat_s
        return again + chance.uniform(self.fastest_s, self.slowest_s) / 2

    def heard_after(self, chance: random.Random) -> float:
        """From a job's execution until a node that subscribes knows of it."""
        if chance.random() < self.lost:
            return self.confirmed_s + chance.uniform(0, self.catch_up_s)
        return self.confirmed_s + chance.uniform(self.fastest_s, self.slowest_s) / 2
