"""Wall time, and the chain's own time as far as it is known between two looks at it."""

from __future__ import annotations

import asyncio
import logging
import time

from hypernode_worker.core.deadlines import SLOT_S
from hypernode_worker.core.ports import ChainReader, ChainTime, Clock
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.errors import HypernodeError
from hypernode_worker.node.stopping import StopSignal

log = logging.getLogger(__name__)

LOOK_EVERY_S = 300.0
BELIEVED_JUMP_S = 60.0
"""An account's time that is further ahead isn't taken for the chain's: one endpoint may have made it up."""
COMPARE_EVERY_S = 5.0
TRY_AGAIN_S = 30.0
JUMP_S = 2.0
"""The machine's clock moved by so much more or less than the loop's: it was set, or the machine slept."""
LAG_SLOTS = 150
SKEW_S = 60.0
"""How far the machine's clock may be from the chain's without a word; the chain's own may be off by some seconds."""


class SystemClock:
    """The machine's clock."""

    def unix_time(self) -> float:
        return time.time()


class ChainClock:
    """The chain's time, carried on by the event loop's from the last time that was seen.

    The chain's clock may run behind the machine's; deadlines are the chain's, so nothing here asks the machine.

    Attributes:
        skew_s: by how much the machine's clock was ahead of the chain's when they were last compared.
    """

    def __init__(self) -> None:
        self._unix = 0.0
        self._slot = 0
        self._seen_at: float | None = None
        self.skew_s = 0.0

    def see(self, time: ChainTime) -> None:
        """Sets the time to what the chain has just said.

        What an endpoint says that lags a little behind the last is passed over. One that is far behind it is believed:
        else a single answer from the future would stop the clock.
        """
        if self._slot - LAG_SLOTS <= time.slot < self._slot:
            return
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


async def follow_chain_time(chain: ChainReader, clock: ChainClock, own: Clock, stop: StopSignal) -> None:
    """Compares with the chain now and then, and when the machine's clock has jumped; until runs are to be given up.

    The loop's time stands still while a machine sleeps, so that the chain's would be taken for earlier than it is; a
    clock that was merely set costs one needless look.
    """
    loop = asyncio.get_running_loop()
    look_at, offset = 0.0, own.unix_time() - loop.time()
    while True:
        moved = own.unix_time() - loop.time() - offset
        if abs(moved) > JUMP_S:
            look_at, offset = 0.0, offset + moved
        if loop.time() >= look_at:
            try:
                clock.see(await chain.time())
                clock.skew_s = own.unix_time() - clock.now()
                look_at = loop.time() + LOOK_EVERY_S
            except HypernodeError as error:
                log.warning("The chain's time couldn't be read: %s", error)
                look_at = loop.time() + TRY_AGAIN_S
        if await stop.wait_now(COMPARE_EVERY_S):
            return
