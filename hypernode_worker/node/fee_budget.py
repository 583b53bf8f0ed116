"""How much a worker may pay in transaction fees a day before it takes no more jobs."""

from __future__ import annotations

from collections.abc import Callable

from hypernode_worker.core.amounts import sol

DAY_S = 86_400.0


class FeeBudget:
    """Fees of the last 24 hours against a limit. It stops claims and nothing else: what is held is always brought to
    its end, whatever that costs.

    Args:
        spent_since: lamports of fees of all transactions that were sent after a unix time and may have landed, from
            where a restart finds them again.
        lamports_a_day: 0: no limit.
    """

    def __init__(self, spent_since: Callable[[float], int], *, lamports_a_day: int) -> None:
        self._spent_since = spent_since
        self._limit = lamports_a_day

    def spent(self, now: float) -> int:
        """Lamports in the 24 hours before `now`, in unix seconds."""
        return self._spent_since(now - DAY_S)

    def refuses(self, now: float) -> str | None:
        """Why no job should be claimed now; None while there is something left."""
        if not self._limit or (spent := self.spent(now)) < self._limit:
            return None
        return (
            f"Fees: {sol(spent)} SOL went into transactions within 24 hours, DAILY_FEE_BUDGET is {sol(self._limit)}; "
            "see why that many were sent, or raise it. No job is taken until enough of them are a day old."
        )
