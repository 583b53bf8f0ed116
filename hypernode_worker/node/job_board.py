"""Queued jobs on their way from first sight to an offer that can be claimed.

Seen -> (account fits) -> definition fetched and checked, a few at a time -> ready. A definition that can't be had or is
invalid is found out here, before any claim: it costs nobody anything. All of it is bounded, for strangers fill it.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import OrderedDict
from dataclasses import replace

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, QueuedJob
from hypernode_worker.core.claim_window import open_slot
from hypernode_worker.core.deadlines import SLOT_S
from hypernode_worker.core.definition import MAX_BYTES, JobDefinition
from hypernode_worker.core.events import CandidateFound, JobSkipped
from hypernode_worker.core.types import Cid, Slot
from hypernode_worker.errors import HypernodeError, PermanentError, TransientError
from hypernode_worker.node.memory import Resting
from hypernode_worker.node.offer import Offer
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.selection import why_not_definition, why_not_job
from hypernode_worker.node.settings import WorkerSettings

log = logging.getLogger(__name__)

FETCHERS = 4
POOL = 1_000
READY = 16
READY_WHEN_ASKED = 256
DEFINITIONS = 64
SLOTS_A_MINUTE = 150

Key = tuple[Pubkey, Slot]
Worth = tuple[int, int, int, int]


class JobBoard:
    """Jobs that could be run. `changed` is set when an offer has become ready."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._pool: dict[Pubkey, tuple[Worth, QueuedJob]] = {}
        self._fetching: set[Pubkey] = set()
        self._more = asyncio.Event()
        self._definitions: OrderedDict[Cid, JobDefinition] = OrderedDict()
        self._resting: Resting[Pubkey] = Resting(first_s=30.0, most_s=900.0)
        self._told: Resting[Key] = Resting(first_s=1e9, most_s=1e9)
        self.ready: dict[Pubkey, Offer] = {}
        self.changed = asyncio.Event()

    def saw(self, job: QueuedJob) -> None:
        """A queued job was seen, perhaps again."""
        ready = self.ready.get(job.address)
        if ready is not None and ready.job.queued_slot == job.queued_slot:
            return
        if job.address in self._fetching or self._resting.rests(job.address):
            return
        context = self._context
        why = why_not_job(job, context.node, context.settings, context.chain_clock.now(), context.store.reach)
        if why is not None:
            self._skip(job, why)
            return
        self._pool[job.address] = self._worth(job), job
        if len(self._pool) > POOL:
            del self._pool[min(self._pool, key=lambda address: self._pool[address][0])]
        self._more.set()

    def too_early(self, offer: Offer) -> bool:
        """Puts an offer back whose window isn't open yet, by the chain's time; False where it should be by now."""
        early = self._opens_in_slots(offer) > 0
        if early:
            self.ready[offer.job.address] = offer
        return early

    def leave(self, job: QueuedJob | Job) -> None:
        """Lets a job rest, longer each time: its claim failed, or its run was given back."""
        self.ready.pop(job.address, None)
        self._resting.rest(job.address)

    def best(self) -> Offer | None:
        """The best-paid offer whose claim window is open; its place is then free for another."""
        self._drop_expired()
        open_now = [offer for offer in self.ready.values() if self._opens_in_slots(offer) <= 0]
        if not open_now:
            return None
        found = max(open_now, key=lambda offer: self._worth(offer.job))
        return self.take(found.job.address)

    def take(self, address: Pubkey) -> Offer | None:
        offer = self.ready.pop(address, None)
        self._more.set()
        return offer

    def opens_in(self) -> float | None:
        """Seconds until the next claim window opens; None when no offer waits for one."""
        waits = [self._opens_in_slots(offer) for offer in self.ready.values()]
        return max(SLOT_S, min(waits) * SLOT_S) if waits else None

    def _opens_in_slots(self, offer: Offer) -> int:
        # The clock estimates, and may be a slot behind; the one in which a job was queued has come in any case.
        slot = max(self._context.chain_clock.slot(), offer.job.queued_slot)
        return open_slot(offer.job, self._context.node.address) - slot

    async def fetch(self) -> None:
        """One of the fetchers: makes offers of seen jobs until the worker drains."""
        context = self._context
        most = READY if context.settings.auto_accept else READY_WHEN_ASKED
        with context.stop.listening(self._more.set):
            while not context.stop.draining:
                if not self._pool or len(self.ready) >= most:
                    self._more.clear()
                    await self._more.wait()
                    continue
                address = max(self._pool, key=lambda address: self._pool[address][0])
                _, job = self._pool.pop(address)
                self._fetching.add(job.address)
                try:
                    await self._make_ready(job)
                finally:
                    self._fetching.discard(job.address)

    async def examine(self, address: Pubkey) -> Offer:
        """An offer of this very job, for an operator who asks for it; its price isn't looked at.

        Raises:
            PermanentError: it doesn't fit, and why.
            TransientError: it can't be read now.
        """
        job = await self._context.chain.job(address)
        offer = Offer(job, await self._definition(job.definition_cid))
        why = self._why_not(offer, replace(self._context.settings, min_price=0))
        if why is not None:
            raise PermanentError(f"Job {address} can't be taken: {why}.")
        return offer

    async def _make_ready(self, job: QueuedJob) -> None:
        try:
            read, definition = await asyncio.gather(
                self._context.chain.job(job.address), self._definition(job.definition_cid)
            )
        except TransientError as error:
            rests = self._resting.rest(job.address)
            self._skip(job, f"its definition can't be read for now ({error}); it is looked for again in {rests:.0f} s")
            return
        except HypernodeError as error:
            self._resting.rest(job.address)
            self._skip(job, str(error))
            return
        if read.queued_slot != job.queued_slot or read.definition_cid != job.definition_cid:
            return  # queued anew meanwhile: it is seen again
        offer = Offer(read, definition)
        why = self._why_not(offer, self._context.settings)
        if why is not None:
            self._skip(job, why)
            return
        self.ready[job.address] = offer
        if not self._context.settings.auto_accept:
            self._context.announce(CandidateFound(job.address, job.price, job.timeout, definition.framework.value))
        self.changed.set()

    def _why_not(self, offer: Offer, settings: WorkerSettings) -> str | None:
        context = self._context
        if context.chain.may_land(offer.job.address):
            return "a transaction of this node about it, from before a restart, may still land"
        own = frozenset({context.chain.wallet, context.node.payout})
        now, reach = context.chain_clock.now(), context.store.reach
        return why_not_job(offer.job, context.node, settings, now, reach) or why_not_definition(
            offer.definition, offer.job, context.node, settings, context.provider.capabilities, own
        )

    async def _definition(self, cid: Cid) -> JobDefinition:
        known = self._definitions.get(cid)
        if known is not None:
            self._definitions.move_to_end(cid)
            return known
        data = await self._context.store.read(
            cid, max_bytes=MAX_BYTES, timeout_s=self._context.settings.definition_timeout_s
        )
        definition = JobDefinition.from_bytes(data)
        self._definitions[cid] = definition
        while len(self._definitions) > DEFINITIONS:
            self._definitions.popitem(last=False)
        return definition

    def _skip(self, job: QueuedJob, why: str) -> None:
        key = (job.address, job.queued_slot)
        if not self._told.rests(key):  # once for each, although it is seen each minute
            self._told.rest(key)
            self._context.announce(JobSkipped(job.address, why))

    def _drop_expired(self) -> None:
        now = self._context.chain_clock.now()
        for address in [offer.job.address for offer in self.ready.values() if now >= offer.job.deadline]:
            del self.ready[address]

    def _worth(self, job: QueuedJob | Job) -> Worth:
        """Better paid first, then by the minute in which it was queued; among those the one for which this node's
        window opens soonest after the queueing, for others then still wait. Without windows each node has an order of
        its own, so that many idle nodes don't all run for the same job."""
        node = self._context.node.address
        own_order = zlib.crc32(bytes(job.address) + bytes(node))
        return job.price, -(job.queued_slot // SLOTS_A_MINUTE), job.queued_slot - open_slot(job, node), own_order
