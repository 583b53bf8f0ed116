"""Many runs by one worker: what it keeps of them, in memory and in open files."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psutil
from solders.pubkey import Pubkey

from hypernode_worker.client import Client
from hypernode_worker.core.accounts import JobState
from tests.bench.throughput import DEFINITION
from tests.bench.world import World

AT_ONCE = 8
WARM = 0.1
"""Share of the runs after which the worker has what it needs: growth is counted from there."""


@dataclass(slots=True)
class Growth:
    """Bytes of resident memory and open files, when warm and at the end; `rate` in runs a second."""

    runs: int
    rss_warm: int = 0
    rss_end: int = 0
    files_warm: int = 0
    files_end: int = 0
    rate: float = 0.0


async def run_many(world: World, runs: int) -> Growth:
    """The runtime is the mock: what grows is ours."""
    market = await world.market()
    growth = Growth(runs)
    told = {"CONTAINER_RUNTIME": "mock", "ALLOW_MOCK": "true", "CAPACITY": "8", "DAILY_FEE_BUDGET": "0"}
    async with world.client() as client, world.worker("node", **told) as pid:
        worker = psutil.Process(pid)
        start = time.perf_counter()
        await _post_and_wait(client, market, round(runs * WARM))
        growth.rss_warm, growth.files_warm = worker.memory_info().rss, worker.num_fds()
        await _post_and_wait(client, market, runs - round(runs * WARM))
        growth.rss_end, growth.files_end = worker.memory_info().rss, worker.num_fds()
        growth.rate = runs / (time.perf_counter() - start)
    return growth


async def _post_and_wait(client: Client, market: Pubkey, count: int) -> None:
    """Posts and closes them, so that the chain keeps few at a time."""
    prepared = await client.prepare(DEFINITION, market=market)
    left = iter(range(count))

    async def one_after_the_other() -> None:
        for _ in left:
            job = (await client.post(prepared)).job
            while (await client.chain.job(job)).state is not JobState.SETTLED:  # noqa: ASYNC110 -- the chain knows
                await asyncio.sleep(0.05)
            await client.close(job)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())
