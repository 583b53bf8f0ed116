"""Notices a subscription connection that stands, answers pings, and yet tells nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from hypernode_worker.errors import TransientError
from hypernode_worker.solana.agreement import MAX_LAG_SLOTS
from hypernode_worker.solana.pace import jittered
from hypernode_worker.solana.rpc import NONSENSE, Rpc, integer
from hypernode_worker.solana.transport import RpcRefused, Subscription

log = logging.getLogger(__name__)

LOOK_EVERY_S = 120.0
SILENT_S = 10.0
"""Slots follow each other every 0.4 s: after this long without one, either the chain stands still or nobody tells."""

CHAIN_MOVES_S = 4.0


class SlotWatchdog:
    """Asks to be told of slots for a moment now and then, over the connection that all subscriptions share.

    For a moment only: two notifications a second, all day long, are what metered endpoints charge for.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def watch(self) -> None:
        """Until it is cancelled, or the endpoint refuses to tell of slots."""
        while True:
            await asyncio.sleep(jittered(LOOK_EVERY_S))
            if not self._rpc.transport.connected:
                continue  # the watches are at it already
            try:
                why = await self.look()
            except RpcRefused as error:
                log.info("Slots can't be watched: %s", error)
                return
            except TransientError as error:
                log.debug("Slots couldn't be watched: %s", error)
                continue
            if why is not None:
                log.warning("The subscriptions are renewed: they %s", why)
                self._rpc.transport.renew(why)

    async def look(self) -> str | None:
        """What is wrong with the connection, None: nothing. Two requests more where no slot comes.

        Raises RpcRefused, EndpointDown, RateLimited.
        """
        known = self._rpc.read_slot
        subscription = await self._rpc.subscribe_slots()
        try:
            told = await self._next_slot(subscription)
        finally:
            subscription.close()
        if told is None:
            before = await self._rpc.slot()
            await asyncio.sleep(CHAIN_MOVES_S)
            now = await self._rpc.slot()
            return f"fell silent, while the chain has gone on from slot {before} to {now}" if now > before else None
        behind = known - told
        return f"come from slot {told}, {behind} behind what is read" if behind > MAX_LAG_SLOTS else None

    @staticmethod
    async def _next_slot(subscription: Subscription) -> int | None:
        with contextlib.suppress(TimeoutError, *NONSENSE):
            async with asyncio.timeout(SILENT_S):
                return integer((await subscription.next())["slot"])
        return None
