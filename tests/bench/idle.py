"""What a worker costs while it waits, and what a job costs its RPC endpoint, alone and beside 10,000 foreign jobs."""

from __future__ import annotations

import asyncio
import collections
import json
import subprocess
from dataclasses import dataclass, replace

import psutil
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.client import Client
from hypernode_worker.config import LOCALNET_PROGRAM_ID
from hypernode_worker.core.accounts import JobState
from hypernode_worker.localnet import Localnet, LocalnetConfig
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.solana.artifact import program_elf
from tests.bench.figure import Figure
from tests.bench.throughput import DEFINITION
from tests.bench.world import COMMAND, World, scratch

FOREIGN_JOBS = 10_000
IDLE_S = 120
JOBS = 10
_STATE_OFFSET, _MARKET_OFFSET = 15, 16


@dataclass(frozen=True, slots=True)
class _Seen:
    idle_calls_per_minute: float
    calls_per_job: float
    scans_per_job: float
    memory_bytes: int


def measure() -> list[Figure]:
    """Two worlds: one with this market alone, one with a crowd of foreign jobs."""
    alone, crowded = (asyncio.run(_observe(jobs)) for jobs in (0, FOREIGN_JOBS))
    figures: list[Figure] = []
    for seen, where in ((alone, ""), (crowded, f", beside {FOREIGN_JOBS:,} foreign queued jobs")):
        figures += [
            Figure(f"idle worker, resident memory{where}", seen.memory_bytes / 1e6, "MB", target=80),
            Figure(f"idle worker, RPC calls a minute{where}", seen.idle_calls_per_minute, "calls", target=4),
            Figure(f"RPC calls a job{where}", seen.calls_per_job, "calls", target=10),
            Figure(f"getProgramAccounts a job{where}", seen.scans_per_job, "calls", target=0),
        ]
    return figures


async def _observe(foreign: int) -> _Seen:
    program = Pubkey.from_string(LOCALNET_PROGRAM_ID)
    config = LocalnetConfig(port=0, programs={program: program_elf()})
    with scratch() as home:
        async with Localnet(config) as net:
            world = World(home, net.rpc_url, net.ws_url)
            market = await world.market()
            async with world.client() as client:
                await _crowd(net, client, market, foreign)
                told = {"CONTAINER_RUNTIME": "mock", "ALLOW_MOCK": "true"}
                async with world.worker("node", **told) as pid:
                    return await _count(world, client, market, pid)


async def _crowd(net: Localnet, client: Client, market: Pubkey, count: int) -> None:
    """Copies one real queued job under other addresses into another market."""
    if not count:
        return
    posted = await client.post(await client.prepare(DEFINITION, market=market))
    model = net.bank.account(posted.job)
    assert model is not None
    data = bytearray(model.data)
    data[_MARKET_OFFSET : _MARKET_OFFSET + 32] = bytes(Keypair().pubkey())
    assert data[_STATE_OFFSET] == JobState.QUEUED
    copy: ChainAccount = replace(model, data=bytes(data))
    for _ in range(count):
        net.bank.set_account(Keypair().pubkey(), copy)
    await client.cancel(posted.job)


async def _count(world: World, client: Client, market: Pubkey, pid: int) -> _Seen:
    await asyncio.sleep(5)  # what starting asks for isn't idling
    before = await _calls(world)
    await asyncio.sleep(IDLE_S)
    idle = await _calls(world) - before
    memory = psutil.Process(pid).memory_info().rss

    prepared = await client.prepare(DEFINITION, market=market)
    before = await _calls(world)
    for _ in range(JOBS):
        posted = await client.post(prepared)
        async for _job in client.follow(posted.job):
            pass
    jobs = await _calls(world) - before
    return _Seen(idle.total() * 60 / IDLE_S, jobs.total() / JOBS, jobs["getProgramAccounts"] / JOBS, memory)


async def _calls(world: World) -> collections.Counter[str]:
    """The worker's own count of requests and subscriptions, by method."""
    command = [COMMAND, "status", "--json"]
    environment = world.environment(DATA_DIR=str(world.home / "node"))
    asked = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, check=True)
    return collections.Counter(json.loads(asked.stdout)["rpc"]["calls"])
