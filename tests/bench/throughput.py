"""Jobs settled a second: containers cost nothing here (mock runtime), so what is left is ours."""

from __future__ import annotations

import asyncio
import contextlib
import time

from solders.pubkey import Pubkey

from hypernode_worker.client import Client
from hypernode_worker.core.accounts import JobState
from tests.bench.figure import Figure
from tests.bench.world import World, open_world

JOBS = 200
POSTED_AT_ONCE = 8
DEFINITION: dict[str, object] = {
    "framework": "custom",
    "image": "busybox",
    "operations": [{"type": "run", "command": ["true"]}],
    "timeout": 60,
    "requirements": {"trust": "low"},
}


def measure() -> list[Figure]:
    """One worker, then four on one localnet."""
    figures: list[Figure] = []
    for workers in (1, 4):
        with open_world() as world:
            rate = asyncio.run(_rate(world, workers))
        name = f"jobs settled by {workers} worker{'s' * (workers > 1)}, mock runtime, through the localnet"
        figures.append(Figure(name, rate, "jobs/s"))
    return figures


async def _rate(world: World, workers: int) -> float:
    market = await world.market()
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(world.client())
        for number in range(workers):
            told = {"CONTAINER_RUNTIME": "mock", "ALLOW_MOCK": "true", "CAPACITY": "8"}
            await stack.enter_async_context(world.worker(f"node{number}", **told))
        start = time.perf_counter()
        await _post(client, market)
        while len(await client.chain.jobs(market, state=JobState.SETTLED)) < JOBS:  # noqa: ASYNC110 -- the chain knows
            await asyncio.sleep(0.05)
        return JOBS / (time.perf_counter() - start)


async def _post(client: Client, market: Pubkey) -> None:
    prepared = await client.prepare(DEFINITION, market=market)
    room = asyncio.Semaphore(POSTED_AT_ONCE)

    async def one() -> None:
        async with room:
            await client.post(prepared)

    async with asyncio.TaskGroup() as group:
        for _ in range(JOBS):
            group.create_task(one())
