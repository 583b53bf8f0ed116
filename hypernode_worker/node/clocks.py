"""Wall time, and the chain's own time as far as it is known between two looks at it."""

from __future__ import annotations

import asyncio
import logging
import time

from hypernode_worker.core.deadlines import SLOT_S
from hypernode_worker.core.ports import ChainReader, ChainTime
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.errors import HypernodeError
from hypernode_worker.node.stopping import StopSignal

log = logging.getLogger(__name__)

LOOK_EVERY_S = 300.0
BELIEVED_JUMP_S = 60.0
"""An account's time that is further ahead isn't taken for the chain's: one endpoint may have made it up."""


class SystemClock:
    """The machine's clock."""

    def unix_time(self) -> float:
        return time.time()


class ChainClock:
    """The chain's time, carried on by the event loop's from the last time that was seen.

    The chain's clock may run behind the machine's; deadlines are the chain's, so nothing here asks the machine.
    """

    def __init__(self) -> None:
        self._unix = 0.0
        self._slot = 0
        self._seen_at: float | None = None

    def see(self, time: ChainTime) -> None:
        """Sets the time to what the chain has just said."""
        self._unix, self._slot = float(time.unix_time), time.slot
        self._seen_at = asyncio.get_running_loop().time()

    def see_at_least(self, unix_time: UnixTime) -> None:
        """A block with this time exists: the chain can't be earlier."""
        behind = unix_time - self.now()
        if 0 < behind <= BELIEVED_JUMP_S:
            self._unix += behind

    def now(self) -> float:
        return self._unix + self._elapsed()

    def slot(self) -> Slot:
        """An estimate, at 400 ms a slot."""
        return Slot(self._slot + int(self._elapsed() / SLOT_S))

    def _elapsed(self) -> float:
        return 0.0 if self._seen_at is None else asyncio.get_running_loop().time() - self._seen_at


async def follow_chain_time(chain: ChainReader, clock: ChainClock, stop: StopSignal) -> None:
    """Compares with the chain now and then, until runs are to be given up or the worker drains."""
    while not await stop.wait(LOOK_EVERY_S):
        try:
            clock.see(await chain.time())
        except HypernodeError as error:
            log.warning("The chain's time couldn't be read: %s", error)
