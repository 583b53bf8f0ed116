"""Follows one signed transaction to its end: broadcast, push and poll together, repeat until it can't land any more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from solders.signature import Signature

from hypernode_worker.errors import EndpointDown, RateLimited, TransactionExpired
from hypernode_worker.solana.rpc import Rpc, SignatureStatus
from hypernode_worker.solana.transport import Json, RpcRefused, json_object

FIRST_POLL_S = 0.4
POLL_S = 2.0
REPEAT_S = 2.0
"""A leader drops what it has no room for: the same bytes are sent again at this interval."""
HEIGHT_AFTER_S = 20.0
HEIGHT_EVERY_S = 5.0
GIVE_UP_S = 180.0
"""Twice the life of a blockhash: an endpoint that is silent for so long is given up on."""

_NOT_FINAL = ("AlreadyProcessed", "BlockhashNotFound")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a transaction that is in a block; err is the transaction error's JSON or None."""

    slot: int
    err: Json


class Confirmation:
    """One transaction, from its first broadcast to its end."""

    def __init__(
        self, rpc: Rpc, signature: Signature, wire: bytes, last_valid_block_height: int, *, sent_before: bool = False
    ) -> None:
        self._rpc = rpc
        self._signature = signature
        self._wire = wire
        self._last_valid = last_valid_block_height
        self._sent_before = sent_before
        self._sent_at: float | None = None
        self._height_at: float | None = None

    async def run(self) -> Outcome:
        """Returns when it is confirmed, with an error or without.

        Raises:
            TransactionExpired: its last valid block height has passed and no endpoint knows it.
            RpcRefused: the endpoint didn't take it, so that it never was on its way.
            EndpointDown, RateLimited: nobody could be asked for GIVE_UP_S.
        """
        push = asyncio.create_task(self._push(), name=f"signature {self._signature}")
        poll = asyncio.create_task(self._poll(push), name=f"confirm {self._signature}")
        try:
            await asyncio.wait({push, poll}, return_when=asyncio.FIRST_COMPLETED)
            pushed = push.result() if push.done() else None
            return pushed or await self._first(push, poll)
        finally:
            push.cancel()
            poll.cancel()
            await asyncio.gather(push, poll, return_exceptions=True)

    async def _first(self, push: asyncio.Task[Outcome | None], poll: asyncio.Task[Outcome]) -> Outcome:
        """The poll's end, unless the push brings one before."""
        while not poll.done() and not push.done():
            await asyncio.wait({push, poll}, return_when=asyncio.FIRST_COMPLETED)
        pushed = push.result() if push.done() else None
        return pushed or await poll

    async def _push(self) -> Outcome | None:
        """The end as the signature subscription tells it; None when there is no subscription."""
        try:
            subscription = await self._rpc.subscribe_signature(self._signature)
        except (EndpointDown, RpcRefused):
            return None
        try:
            while True:
                value, slot = self._rpc.read_notification(await subscription.next(), lambda v: v)
                if "err" in json_object(value):
                    return Outcome(slot, value["err"])
        except EndpointDown:
            return None
        finally:
            subscription.close()

    async def _poll(self, push: asyncio.Task[Outcome | None]) -> Outcome:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + GIVE_UP_S
        pause_s = FIRST_POLL_S
        alive = True
        while True:
            try:
                if alive:
                    await self._broadcast()
                # While the subscription is well it answers first, and a poll would be a wasted request.
                await self._pause(POLL_S if not push.done() else pause_s, push)
                outcome = await self._ask(history=not alive)
                if outcome is not None:
                    return outcome
                alive = alive and not await self._too_late()
            except (EndpointDown, RateLimited) as error:
                if loop.time() >= give_up:
                    raise
                await asyncio.sleep(min(error.retry_after_s or POLL_S, POLL_S * 5))
            pause_s = min(pause_s * 1.5, POLL_S)

    async def _pause(self, seconds: float, push: asyncio.Task[Outcome | None]) -> None:
        if push.done():
            await asyncio.sleep(seconds)
        else:
            await asyncio.wait({push}, timeout=seconds)

    async def _broadcast(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._sent_at is not None and now - self._sent_at < REPEAT_S:
            return
        first, self._sent_at = self._sent_at is None and not self._sent_before, now
        try:
            await self._rpc.send(self._wire)
        except RpcRefused as error:
            err = json_object(error.data).get("err")
            # A refusal of a repeated broadcast says nothing: the first one may have landed and changed the state.
            if first and err not in _NOT_FINAL:
                raise

    async def _ask(self, *, history: bool) -> Outcome | None:
        status: SignatureStatus | None = await self._rpc.signature_status(self._signature, history=history)
        if status is not None and status.confirmed:
            return Outcome(status.slot, status.err)
        if status is None and history:
            raise TransactionExpired(f"The transaction {self._signature} can no longer land.")
        return None

    async def _too_late(self) -> bool:
        """Its last valid block height has passed. Asked only once that is possible."""
        now = asyncio.get_running_loop().time()
        if self._height_at is None:
            self._height_at = now + HEIGHT_AFTER_S
        if now < self._height_at:
            return False
        self._height_at = now + HEIGHT_EVERY_S
        return await self._rpc.block_height() > self._last_valid
