"""What a transaction offers: a compute-unit limit from its simulation, and a priority fee under a cap."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from solders.pubkey import Pubkey

from hypernode_worker.errors import EndpointDown, RateLimited
from hypernode_worker.solana.rpc import Rpc
from hypernode_worker.solana.transport import RpcRefused

MAX_UNITS = 1_400_000
UNITS_FACTOR = 1.1
UNITS_MARGIN = 1_000
LAMPORTS_PER_SIGNATURE = 5_000
_MICRO = 1_000_000
_KEEP_S = 60.0
_SHARE = 0.75


def unit_limit(consumed: int | None) -> int:
    """Compute units to ask for when the simulation consumed so many (None: it didn't say)."""
    return MAX_UNITS if consumed is None else min(math.ceil(consumed * UNITS_FACTOR) + UNITS_MARGIN, MAX_UNITS)


def fee_lamports(*, signatures: int, units: int, price: int) -> int:
    """The whole fee of a transaction: signatures, and `price` micro-lamports for each unit of the limit."""
    return signatures * LAMPORTS_PER_SIGNATURE + math.ceil(units * price / _MICRO)


class PriorityFee:
    """The price of a compute unit: what most of recent transactions on these accounts paid, up to a cap.

    Args:
        cap_lamports: most that one transaction pays beside its signatures. 0: nothing, and nothing is asked.
    """

    def __init__(self, rpc: Rpc, cap_lamports: int) -> None:
        self._rpc = rpc
        self._cap = cap_lamports
        self._price = 0
        self._until: float | None = None

    async def price(self, units: int, writable: Sequence[Pubkey]) -> int:
        """Micro-lamports a unit for a transaction with this limit."""
        if self._cap <= 0:
            return 0
        now = asyncio.get_running_loop().time()
        if self._until is None or now >= self._until:
            self._price = await self._recent(writable)
            self._until = now + _KEEP_S
        return min(self._price, self._cap * _MICRO // units)

    async def _recent(self, writable: Sequence[Pubkey]) -> int:
        try:
            fees = sorted(await self._rpc.prioritization_fees(writable[:128]))
        except (EndpointDown, RateLimited, RpcRefused):
            # An endpoint that doesn't offer it must not stop a settlement; the last price is a fair guess.
            return self._price
        return fees[int(len(fees) * _SHARE)] if fees else 0
