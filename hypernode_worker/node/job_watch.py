"""The loop that hears of queued jobs and puts them on the board."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from hypernode_worker.errors import HypernodeError
from hypernode_worker.node.backoff import Backoff
from hypernode_worker.node.job_board import JobBoard
from hypernode_worker.node.run_context import RunContext

log = logging.getLogger(__name__)


async def watch_for_jobs(context: RunContext, board: JobBoard) -> None:
    """Until the worker drains. The chain's own watch retries inside; should it end, it is begun again."""
    backoff = Backoff(first_s=1.0)
    watching = asyncio.create_task(_watch(context, board), name="queued jobs")
    try:
        while not context.stop.draining:
            stopped = asyncio.create_task(context.stop.wait(), name="stop of the watch")
            await asyncio.wait([watching, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if context.stop.draining:
                return
            error = watching.exception()
            if error is not None and not isinstance(error, HypernodeError):
                raise error
            log.warning("The watch for jobs ended: %s", error)
            await context.stop.wait(backoff.failed())
            watching = asyncio.create_task(_watch(context, board), name="queued jobs")
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _watch(context: RunContext, board: JobBoard) -> None:
    jobs = context.chain.watch_queued(context.settings.market)
    async with contextlib.AsyncExitStack() as stack:
        if (aclose := getattr(jobs, "aclose", None)) is not None:
            stack.push_async_callback(aclose)
        async for job in jobs:
            board.saw(job)
