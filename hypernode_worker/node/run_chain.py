"""What a job's account is after a transaction of ours was confirmed: known without asking, so that nothing waits.

The watch of a longer run corrects the times; a transaction that failed is followed by a read.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Node, Reason
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.errors import AccountInvalid, AccountMissing, TransientError
from hypernode_worker.node.backoff import Backoff
from hypernode_worker.node.run_context import RunContext

log = logging.getLogger(__name__)

CLAIM_MAY_LAND_S = 120.0
"""A transaction's blockhash lives for 150 slots, about a minute; after this nothing of it can land any more."""


def after_claim(job: Job, node: Node, now: float, *, begin: bool) -> Job:
    claimed = replace(
        job,
        state=JobState.CLAIMED,
        node=node.address,
        payout=node.payout,
        attempts=job.attempts + 1,
        claimed_at=UnixTime(int(now)),
        deadline=UnixTime(int(now) + job.setup_timeout),
        reason=Reason.NONE,
    )
    return after_begin(claimed, now) if begin else claimed


def after_begin(job: Job, now: float) -> Job:
    return replace(
        job,
        state=JobState.RUNNING,
        started_at=UnixTime(int(now)),
        stopped_at=UnixTime(0),
        deadline=UnixTime(int(now) + job.timeout + job.finish_grace),
    )


def after_finish(job: Job) -> Job:
    return replace(job, state=JobState.SUBMITTED if job.review_period else JobState.SETTLED)


def after_release(job: Job, slot: Slot) -> Job:
    return replace(job, state=JobState.QUEUED, queued_slot=Slot(max(slot, job.queued_slot + 1)))


async def read_job(context: RunContext, address: Pubkey) -> Job | None:
    """The account as it is now, None when it is closed; keeps asking while the endpoints don't answer."""
    backoff = Backoff()
    while True:
        try:
            return await context.chain.job(address)
        except AccountMissing:
            return None
        except (TransientError, AccountInvalid) as error:  # whatever stands there isn't what was claimed: a lie
            log.warning("Job %s couldn't be read: %s", address, error)
            await asyncio.sleep(backoff.failed(error))


async def certain_job(context: RunContext, address: Pubkey, seen: Job | None) -> Job | None:
    """What is certain of a job before something is given up for `seen`: asks until endpoints agree.

    Meanwhile the run's container goes on, and its result is kept.
    """
    backoff = Backoff()
    while True:
        try:
            return await context.chain.certain_job(address, seen)
        except TransientError as error:
            log.warning("Job %s isn't certain: %s", address, error)
            await asyncio.sleep(backoff.failed(error))


async def find_claim(context: RunContext, job: Job, *, may_land: bool) -> Job | None:
    """After a claim whose answer was lost: the job when it is ours after all, None once it can't become so.

    Args:
        may_land: the transaction may still find its way into a block.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + (CLAIM_MAY_LAND_S if may_land else 0.0)
    while True:
        found = await read_job(context, job.address)
        if found is None or found.queued_slot != job.queued_slot or found.state is not JobState.QUEUED:
            found = await certain_job(context, job.address, found)
            ours = found is not None and found.node == context.node.address and found.queued_slot == job.queued_slot
            return found if ours else None
        if loop.time() >= until:
            return None
        await asyncio.sleep(2.0)
