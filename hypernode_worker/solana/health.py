"""How an endpoint has been doing: for how long it is left alone, where it stands, which chain it serves."""

from __future__ import annotations

from hypernode_worker.core.ports import EndpointState
from hypernode_worker.solana.pace import jittered

FIRST_REST_S = 5.0
MAX_REST_S = 300.0
STALLED_S = 20.0
"""A slot that hasn't moved for so long is a reason to ask the others; slots follow each other every 0.4 s."""
GONE_AFTER_S = 600.0
"""An endpoint that hasn't answered for so long isn't waited for when a second opinion is wanted."""


class EndpointHealth:
    """One endpoint's record. Times are the event loop's.

    Attributes:
        slot: the newest slot that it has answered from; 0 before the first.
        genesis: genesis hash of its chain; None before it has told.
        other_chain: its chain isn't that of the others: it is never used.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.slot = 0
        self.genesis: str | None = None
        self.other_chain = False
        self._failures = 0
        self._failed_at = -1.0
        self._rest_s = 0.0
        self._rests_until = 0.0
        self._down_since: float | None = None
        self._moved_at: float | None = None
        self._trouble: str | None = None

    def failed(
        self, now: float, why: str, *, down: bool = True, asked_at: float | None = None, at_least_s: float = 0.0
    ) -> None:
        """Leaves it alone from now on: longer after each failure, with jitter, and as long as it asked for.

        Args:
            down: it gave no answer; False: it gave one that isn't believed.
            asked_at: when what failed was asked. What was under way when it failed before is that same failure.
        """
        self._trouble = why
        if down and self._down_since is None:
            self._down_since = now
        if asked_at is None or asked_at >= self._failed_at:
            self._failures += 1
            self._rest_s = jittered(min(FIRST_REST_S * 2 ** min(self._failures - 1, 16), MAX_REST_S))
        self._failed_at = now
        self._rests_until = max(self._rests_until, now + max(self._rest_s, at_least_s))

    def succeeded(self, now: float) -> None:
        """It has answered. Its failures count until it has been well for twice as long as it was left alone."""
        self._down_since = None
        if now >= self._rests_until + 2 * self._rest_s:
            self._failures, self._trouble = 0, None

    def saw(self, slot: int, now: float) -> bool:
        """Notes the slot of an answer; True when it hasn't moved for STALLED_S."""
        if slot > self.slot or self._moved_at is None:
            self.slot, self._moved_at = slot, now
        return now - self._moved_at > STALLED_S

    def rests(self, now: float) -> bool:
        return self.other_chain or now < self._rests_until

    def rest_ends(self) -> float:
        return self._rests_until

    def gone(self, now: float) -> bool:
        """It can't be asked, or hasn't answered for long."""
        return self.other_chain or (self._down_since is not None and now - self._down_since > GONE_AFTER_S)

    def state(self, now: float, *, in_use: bool, listening: bool) -> EndpointState:
        rests_s = None if self.other_chain else round(max(0.0, self._rests_until - now), 1)
        trouble = self._trouble if self.rests(now) or self._down_since is not None else None
        return EndpointState(self.name, in_use, listening, rests_s, trouble, self.slot)
