"""What a worker takes and what it leaves: price, needs, trust, the operator's word, the claim window."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import JobState, Requirements, Trust
from hypernode_worker.core.claim_window import open_slot
from hypernode_worker.core.definition import JobDefinition
from hypernode_worker.core.events import CandidateFound, JobSkipped, RunClaimed, RunSettled, WarningRaised
from hypernode_worker.core.ports import Capabilities, HostUsage
from hypernode_worker.core.types import Slot
from hypernode_worker.errors import PermanentError
from hypernode_worker.node.selection import why_not_definition, why_not_job
from hypernode_worker.node.settings import WorkerSettings
from hypernode_worker.providers.mock import EVERYTHING
from tests.support.accounts import make_job, make_market, make_node, make_specs
from tests.support.worker import DEFINITION, LIMITS, World, worker

Worlds = Callable[..., AbstractAsyncContextManager[World]]
MARKET = make_market()
NODE = make_node(MARKET, Pubkey.new_unique())
SETTINGS = WorkerSettings(MARKET.address, data_dir=None, limits=LIMITS, min_price=10, country="de")  # pyright: ignore[reportArgumentType]


def test_a_plain_job_fits() -> None:
    job = make_job(MARKET)
    assert why_not_job(job, NODE, SETTINGS, 0) is None
    definition = JobDefinition.from_dict(DEFINITION)
    assert why_not_definition(definition, job, NODE, SETTINGS, EVERYTHING, frozenset()) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"price": 9}, "MIN_PRICE"),
        ({"state": JobState.CLAIMED}, "queued"),
        ({"market": Pubkey.new_unique()}, "market"),
        ({"attempts": 3}, "attempts"),
        ({"deadline": -1}, "queue time"),
        ({"requirements": Requirements(framework=9)}, "framework 9"),
        ({"requirements": Requirements(gpu_count=1)}, "GPUs"),
        ({"requirements": Requirements(vram_mb=1)}, "VRAM"),
        ({"requirements": Requirements(gpu_vendor=2)}, "vendor"),
        ({"requirements": Requirements(min_trust=Trust.HIGH)}, "high trust"),
    ],
)
def test_what_the_account_speaks_against(change: dict[str, Any], why: str) -> None:
    said = why_not_job(replace(make_job(MARKET), **change), NODE, SETTINGS, 0)
    assert said is not None
    assert why in said


WEAK = replace(EVERYTHING, images=False)
OPEN = replace(EVERYTHING, isolation=False, network_isolation=False)
SANDBOX = replace(EVERYTHING, isolation=False)


@pytest.mark.parametrize(
    ("change", "capabilities", "why"),
    [
        ({"framework": "pytorch"}, EVERYTHING, "account"),
        ({}, WEAK, "image"),
        ({"image": None}, OPEN, "stranger"),
        ({"requirements": {"network": True}}, EVERYTHING, "network"),
        ({"requirements": {"gpu_count": 1}}, EVERYTHING, "GPU"),
        ({"requirements": {"ram_mb": 65}}, EVERYTHING, "memory"),
        ({"requirements": {"disk_gb": 1}}, EVERYTHING, "disk"),
        ({"requirements": {"cpu_cores": 2}}, EVERYTHING, "CPU"),
        ({"requirements": {"country": ["FR", "US"]}}, EVERYTHING, "FR, US"),
    ],
)
def test_what_the_definition_speaks_against(change: dict[str, Any], capabilities: Capabilities, why: str) -> None:
    definition = JobDefinition.from_dict({**DEFINITION, **change})
    said = why_not_definition(definition, make_job(MARKET), NODE, SETTINGS, capabilities, frozenset())
    assert said is not None
    assert why in said


def test_ones_own_jobs_run_without_a_boundary() -> None:
    definition = JobDefinition.from_dict({**DEFINITION, "requirements": {"country": ["DE"]}})
    job = make_job(MARKET)
    assert why_not_definition(definition, job, NODE, SETTINGS, OPEN, frozenset({job.client})) is None
    assert why_not_definition(definition, job, NODE, SETTINGS, SANDBOX, frozenset()) is None
    allowed = replace(SETTINGS, allow_unisolated=True)
    assert why_not_definition(definition, job, NODE, allowed, OPEN, frozenset()) is None


def test_gpus_fit() -> None:
    node = replace(NODE, specs=make_specs(gpu_vendor=1, gpu_count=2, vram_mb=24_000))
    job = make_job(MARKET, requirements=Requirements(gpu_count=2, vram_mb=24_000, gpu_vendor=1))
    assert why_not_job(job, node, SETTINGS, 0) is None


@pytest.mark.looptime
async def test_cheap_jobs_are_left(worlds: Worlds) -> None:
    async with worlds() as world, worker(world, min_price=50) as node:
        cheap = await world.post(price=49)
        good = await world.post(price=50)
        await world.until(good.address, JobState.SETTLED)
        assert (await world.client.job(cheap.address)).attempts == 0
        assert "MIN_PRICE" in node.said(JobSkipped)[0].reason


@pytest.mark.looptime
async def test_the_best_paid_comes_first(worlds: Worlds) -> None:
    async with worlds() as world:
        prices = [10, 500, 100, 300]
        posted = {(await world.post(price=price)).address: price for price in prices}
        async with worker(world) as node:
            for address in posted:
                await world.until(address, JobState.SETTLED)
            assert [posted[event.job] for event in node.said(RunSettled)] == sorted(prices, reverse=True)


@pytest.mark.looptime
async def test_the_claim_window_is_waited_for(worlds: Worlds) -> None:
    async with worlds(claim_spread_slots=100) as world, worker(world) as node:
        posted = await world.post()
        job = await world.until(posted.address, JobState.SETTLED)
        assert job.attempts == 1
        assert len(node.said(RunClaimed)) == 1


@pytest.mark.looptime
async def test_a_claim_before_its_window_waits_for_its_slot(worlds: Worlds) -> None:
    """Slots are longer than 400 ms for a while: the clock here runs ahead of the chain's."""
    async with worlds(claim_spread_slots=100) as world, worker(world) as node:
        context = node.manager._running().context  # pyright: ignore[reportPrivateUsage]
        time = await world.client.time()
        context.chain_clock.see(replace(time, slot=Slot(time.slot + 1_000)))
        posted = await world.post()
        started = asyncio.get_running_loop().time()
        job = await world.until(posted.address, JobState.SETTLED)
        opens_s = (open_slot(replace(posted, node=Pubkey.default()), node.node) - posted.queued_slot) * 0.4
        assert job.attempts == 1
        assert opens_s - 2 <= asyncio.get_running_loop().time() - started <= opens_s + 10


@pytest.mark.looptime
async def test_among_equal_jobs_those_come_first_for_which_others_must_wait(worlds: Worlds) -> None:
    async with worlds(claim_spread_slots=100) as world:
        posted = [await world.post() for _ in range(4)]
        await asyncio.sleep(60)  # all windows are open
        async with worker(world) as node:
            for job in posted:
                await world.until(job.address, JobState.SETTLED)
            waits = {job.address: open_slot(job, node.node) - job.queued_slot for job in posted}
            taken = [waits[event.job] for event in node.said(RunSettled)]
            assert len(set(taken)) > 1
            assert taken == sorted(taken)


@pytest.mark.looptime
async def test_without_auto_accept_the_operator_takes_jobs(worlds: Worlds) -> None:
    async with worlds() as world, worker(world, auto_accept=False, min_price=50) as node:
        posted = await world.post()
        found = await node.until_said(CandidateFound)
        assert found.job == posted.address
        await asyncio.sleep(300)
        assert (await world.client.job(posted.address)).attempts == 0
        parts = node.manager._running()  # pyright: ignore[reportPrivateUsage]
        dispatcher, board = parts.dispatcher, parts.board
        assert list(board.ready) == [posted.address]
        await dispatcher.take(posted.address)
        await world.until(posted.address, JobState.SETTLED)
        cheap = await world.post(price=1)
        await dispatcher.take(cheap.address)
        await world.until(cheap.address, JobState.SETTLED)
        with pytest.raises(PermanentError, match="queued"):
            await dispatcher.take(cheap.address)


@pytest.mark.looptime
async def test_a_poor_or_full_machine_takes_nothing(worlds: Worlds) -> None:
    async with worlds() as world, worker(world, disk_reserve_bytes=1 << 30, health_interval_s=10) as node:
        world.hardware.now = HostUsage(0.1, 1 << 30, 16 << 30, 1 << 20, 100 << 30, ())
        await node.until_said(WarningRaised)
        posted = await world.post()
        await asyncio.sleep(60)
        assert (await world.client.job(posted.address)).attempts == 0
        world.hardware.now = HostUsage(0.1, 1 << 30, 16 << 30, 50 << 30, 100 << 30, ())
        await world.until(posted.address, JobState.SETTLED)
        assert len(node.said(WarningRaised)) == 1


@pytest.mark.looptime
async def test_a_job_that_was_given_back_rests(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        world.faults["import_path"] = [PermanentError("the store is broken")] * 50
        await world.post()
        await asyncio.sleep(1800)
        assert 1 <= len(node.said(RunClaimed)) <= 3


@pytest.mark.looptime
async def test_without_a_window_a_job_is_claimed_at_once(worlds: Worlds) -> None:
    """The chain's slot is only estimated: a job must not wait for the estimate to reach the slot of its queueing."""
    loop = asyncio.get_running_loop()
    async with worlds() as world, worker(world) as node:
        await asyncio.sleep(3)
        parts = node.manager._parts  # pyright: ignore[reportPrivateUsage]
        assert parts is not None
        parts.context.chain_clock._slot -= 2  # pyright: ignore[reportPrivateUsage]
        posted_at = loop.time()
        await world.post()
        await node.until_said(RunClaimed)
        assert loop.time() - posted_at < 0.2
