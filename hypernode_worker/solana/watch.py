"""Push and poll together: queued jobs of a market, and one job's changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence, Set
from typing import TypeVar

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, QueuedJob
from hypernode_worker.errors import AccountInvalid, TransientError
from hypernode_worker.solana.pace import jittered
from hypernode_worker.solana.program import MarketsProgram
from hypernode_worker.solana.reader import ProgramReader, queue_filters
from hypernode_worker.solana.records import QUEUED_BYTES
from hypernode_worker.solana.rpc import AccountInfo, Rpc, account_reader, program_account
from hypernode_worker.solana.slot_watchdog import SlotWatchdog
from hypernode_worker.solana.transport import Json, RpcRefused, Subscription

T = TypeVar("T")

CATCH_UP_S = 60.0
UNTOLD_SLOTS = 50
"""A job that has been queued for so many slots, 20 seconds, and was never told of: the subscription is silent."""
SHORTEST_S = 5.0
"""A subscription that held for less is not renewed at once: each renewal costs a read."""

_TROUBLE = (TransientError, RpcRefused)


class Watcher:
    """Watches that outlive their connection: trouble with endpoints is retried here and never raised.

    Attributes:
        trouble: what the last attempt that failed said; None once a subscription and a read have succeeded since.
        watching, subscribed: watches of the queue, and those of them whose subscription stands.
    """

    def __init__(self, rpc: Rpc, reader: ProgramReader, program: MarketsProgram, *, poll_interval_s: float) -> None:
        self._rpc = rpc
        self._reader = reader
        self._program = program
        self._poll_interval_s = poll_interval_s
        self._watchdog = SlotWatchdog(rpc)
        self.trouble: str | None = None
        self.watching = 0
        self.subscribed = 0

    async def queued(self, market: Pubkey) -> AsyncGenerator[QueuedJob, None]:
        """See ChainReader.watch_queued. An account of another program among the answers counts as trouble."""
        self.watching += 1
        watchdog = asyncio.create_task(self._watchdog.watch(), name="slot watchdog")
        try:
            async with contextlib.aclosing(self._queue_renewed(market)) as batches:
                async for batch in batches:
                    for job in batch:
                        yield job
        finally:
            self.watching -= 1
            watchdog.cancel()

    async def _queue_renewed(self, market: Pubkey) -> AsyncGenerator[list[QueuedJob], None]:
        """Subscribes again whenever that is lost; polls where there is no subscription."""
        filters = queue_filters(market, JobState.QUEUED)
        loop = asyncio.get_running_loop()
        while True:
            subscription = await self._try(self._rpc.subscribe_program(self._program.id, filters, length=QUEUED_BYTES))
            if subscription is None:
                yield (await self._try(self._reader.queued(market)) or ([], 0))[0]
                await self._rest()
                continue
            since = loop.time()
            self.subscribed += 1
            try:
                async with contextlib.aclosing(self._queue_subscribed(market, subscription)) as batches:
                    async for batch in batches:
                        yield batch
            finally:
                self.subscribed -= 1
                subscription.close()
            if loop.time() - since < SHORTEST_S:
                await self._rest()

    async def _queue_subscribed(
        self, market: Pubkey, subscription: Subscription
    ) -> AsyncGenerator[list[QueuedJob], None]:
        """A catch-up read first and once a minute, notifications in between; ends when the subscription is lost."""
        loop = asyncio.get_running_loop()
        catch_up_at = loop.time()
        since = 0
        told: set[tuple[Pubkey, int]] = set()
        while True:
            if loop.time() >= catch_up_at:
                read = await self._try(self._reader.queued(market))
                # Until it has succeeded once, jobs from before the subscription are unknown: no whole minute then.
                catch_up_at = loop.time() + (CATCH_UP_S if read is not None else self._poll_interval_s)
                jobs, slot = read or ([], 0)
                self.trouble = None if read is not None else self.trouble
                yield jobs
                if since and _untold(jobs, told, since, slot - UNTOLD_SLOTS):
                    self._rpc.transport.renew("doesn't tell of new jobs that stand in the queue")
                if read is not None:
                    # Half a minute's jobs stay for the next look: those weren't old enough for this one.
                    since = max(since, slot - UNTOLD_SLOTS) if since else slot
                    told = {key for key in told if key[1] > since}
            try:
                job = await self._next(
                    subscription, catch_up_at, program_account, lambda info, _: self._reader.decode_queued(market, info)
                )
            except TimeoutError:
                catch_up_at = loop.time()  # a timer may fire a hair before its time
                continue
            except _TROUBLE as error:
                self.trouble = str(error)
                return
            except AccountInvalid as error:
                self.trouble = str(error)
                continue
            if job is not None:
                told.add((job.address, job.queued_slot))
                yield [job]

    async def job(self, address: Pubkey) -> AsyncGenerator[Job | None, None]:
        """See ChainReader.watch_job. Raises AccountInvalid when something else is at the address."""
        seen: Job | None = None
        seen_slot = 0
        async with contextlib.aclosing(self._job_renewed(address)) as observations:
            async for job, slot in observations:
                if slot < seen_slot:
                    continue  # push and poll overtake each other
                if job is None and (job := await self._is_gone(address, seen)) is not None:
                    continue  # one endpoint said so, the others contradict
                seen_slot = slot
                if job is None or job != seen:
                    seen = job
                    yield job
                if job is None:
                    return

    async def _is_gone(self, address: Pubkey, seen: Job | None) -> Job | None:
        """None once it is certain that the account is closed; while nobody can tell, what was seen last."""
        try:
            return await self._reader.certain_job(address, None)
        except _TROUBLE as error:
            self.trouble = str(error)
            return seen

    async def _job_renewed(self, address: Pubkey) -> AsyncGenerator[tuple[Job | None, int], None]:
        loop = asyncio.get_running_loop()
        while True:
            subscription = await self._try(self._rpc.subscribe_account(address))
            since = loop.time()
            if subscription is None:
                observed = await self._try(self._reader.job_at(address), keep=(AccountInvalid,))
                if observed is not None:
                    yield observed
            else:
                try:
                    async with contextlib.aclosing(self._job_subscribed(address, subscription)) as observations:
                        async for observed in observations:
                            yield observed
                finally:
                    subscription.close()
            if subscription is None or loop.time() - since < SHORTEST_S:
                await self._rest()

    async def _job_subscribed(
        self, address: Pubkey, subscription: Subscription
    ) -> AsyncGenerator[tuple[Job | None, int], None]:
        """A read first and once a minute, notifications in between; ends when the subscription is lost."""
        loop = asyncio.get_running_loop()
        read_at = loop.time()
        while True:
            if loop.time() >= read_at:
                observed = await self._try(self._reader.job_at(address), keep=(AccountInvalid,))
                read_at = loop.time() + (CATCH_UP_S if observed is not None else self._poll_interval_s)
                if observed is not None:
                    yield observed
            try:
                observed = await self._next(
                    subscription,
                    read_at,
                    account_reader(address),
                    lambda info, slot: (self._reader.job_or_none(info), slot),
                )
            except TimeoutError:
                read_at = loop.time()
                continue
            except _TROUBLE as error:
                self.trouble = str(error)
                return
            yield observed

    async def _next(
        self,
        subscription: Subscription,
        until: float,
        parse: Callable[[Json], AccountInfo],
        decode: Callable[[AccountInfo, int], T],
    ) -> T:
        """The next notification; TimeoutError when there is none until then."""
        async with asyncio.timeout_at(until):
            result = await subscription.next()
        return decode(*self._rpc.read_notification(result, parse))

    async def _try(self, attempt: Awaitable[T], keep: tuple[type[Exception], ...] = ()) -> T | None:
        """None when it failed; why is in `trouble`. Errors in `keep` are raised."""
        try:
            return await attempt
        except (*_TROUBLE, AccountInvalid) as error:
            if isinstance(error, keep):
                raise
            self.trouble = str(error)
            return None

    async def _rest(self) -> None:
        await asyncio.sleep(jittered(self._poll_interval_s))


def _untold(jobs: Sequence[QueuedJob], told: Set[tuple[Pubkey, int]], since: int, until: int) -> bool:
    """Whether one of the jobs queued after slot `since` and before `until` is missing among those told of."""
    return any(since < job.queued_slot < until and (job.address, job.queued_slot) not in told for job in jobs)
