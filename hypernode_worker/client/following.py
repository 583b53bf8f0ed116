"""A job's states as they come. Deadlines don't pass by themselves on a chain: somebody must call timeout_job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job
from hypernode_worker.core.deadlines import Exit, Standing, due_exit, until_deadline
from hypernode_worker.core.ports import ClientChain
from hypernode_worker.errors import PermanentError, TransientError

LATE_S = 1.0
"""Between a look that was too early and the next: chain time runs beside ours."""


async def follow(chain: ClientChain, address: Pubkey, *, act: bool) -> AsyncGenerator[Job, None]:
    """The job now and after each change, until it is settled, cancelled or expired, or its account is closed.

    With `act` a job whose deadline has passed is timed out (or settled after its review) by this wallet, so that
    the deposit of a job that no node takes, or whose node went away, comes back.
    """
    seen = chain.watch_job(address)
    coming = asyncio.ensure_future(_next(seen))
    try:
        job: Job | None = None
        while True:
            done, _ = await asyncio.wait([coming], timeout=await _until_deadline(chain, job) if act and job else None)
            if not done:
                if job is not None:
                    await _end(chain, job)
                continue
            latest = coming.result()
            if latest is None:
                return
            if latest != job:
                yield latest
            job = latest
            if job.state.terminal:
                return
            coming = asyncio.ensure_future(_next(seen))
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        if isinstance(seen, AsyncGenerator):
            await seen.aclose()


async def _next(seen: AsyncIterator[Job | None]) -> Job | None:
    return await anext(seen, None)


async def _until_deadline(chain: ClientChain, job: Job) -> float:
    """Seconds until it makes sense to look whether the deadline has passed."""
    try:
        now = await chain.time()
    except TransientError as error:
        return error.retry_after_s or LATE_S
    left = until_deadline(job, now=now.unix_time, slot=now.slot)
    return max(left, LATE_S) if left else 0.0


async def _end(chain: ClientChain, job: Job) -> None:
    """Ends a job whose time is over; somebody else may have been faster, which the next look shows."""
    try:
        due = due_exit(Standing.of(job), await chain.time())
        if due is not None:
            await (chain.timeout_job(job) if due is Exit.TIME_OUT else chain.settle_job(job))
    except (PermanentError, TransientError):
        await asyncio.sleep(LATE_S)
