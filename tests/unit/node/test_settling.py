"""What finished runs have earned arrives: after a review, a dispute, a payout that couldn't receive, a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.events import DisputeLost, RunDisputed, RunOwed, RunPaid, RunSettled
from hypernode_worker.core.runs import RunState
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.client import SolanaClient
from hypernode_worker.solana.failure import Intent
from hypernode_worker.solana.program import MarketsProgram
from tests.support.worker import Worker, World, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]
REVIEW_S = 300


def calls(who: SolanaClient) -> int:
    return sum(who.health().calls.values())


async def do(who: SolanaClient, instruction: Instruction) -> None:
    """What no port has: a client's dispute, and an arbiter's decision."""
    await who._sender.send([instruction], Intent("do this"))  # pyright: ignore[reportPrivateUsage]


async def submit(world: World, node: Worker) -> Job:
    """A job whose result is posted."""
    posted = await world.post(price=1_000_000)
    job = await world.until(posted.address, JobState.SUBMITTED)
    settled = await node.until_said(RunSettled)
    assert settled.under_review
    return job


def unpaid(node: Worker) -> object:
    return node.manager.status()["unpaid_jobs"]


async def test_a_result_is_paid_when_its_review_is_over(worlds: Worlds) -> None:
    async with worlds(review_period=REVIEW_S) as world, worker(world) as node:
        job = await submit(world, node)
        await asyncio.sleep(10)
        assert unpaid(node) == 1
        before = calls(node.chain)
        await asyncio.sleep(REVIEW_S - 60)
        assert (calls(node.chain) - before) / (REVIEW_S - 60) * 60 <= 4
        assert (await world.client.job(job.address)).state is JobState.SUBMITTED
        job = await world.until(job.address, JobState.SETTLED, timeout_s=120)
        paid = await node.until_said(RunPaid)
        assert (paid.job, paid.paid) == (job.address, job.paid)
        assert paid.signature is not None
        assert unpaid(node) == 0
        assert node.journal.open_runs() == []
        assert not node.said(DisputeLost)


async def test_a_client_who_settles_early_is_noticed(worlds: Worlds) -> None:
    async with worlds(review_period=REVIEW_S) as world, worker(world) as node:
        job = await submit(world, node)
        await asyncio.sleep(5)
        await world.client.settle_job(job)
        paid = await node.until_said(RunPaid, timeout_s=900)
        assert paid.signature is None
        assert paid.paid == (await world.client.job(job.address)).paid > 0


async def test_a_dispute_that_nobody_decides_is_paid_in_full(worlds: Worlds) -> None:
    async with worlds(review_period=REVIEW_S, resolve_timeout=700) as world, worker(world) as node:
        job = await submit(world, node)
        await do(world.client, MarketsProgram().dispute_result(job, Cid.of(b"why")))
        assert (await node.until_said(RunDisputed, timeout_s=900)).job == job.address
        await asyncio.sleep(REVIEW_S)
        assert len(node.said(RunDisputed)) == 1
        assert not node.said(RunPaid)
        job = await world.until(job.address, JobState.SETTLED, timeout_s=1_000)
        assert (await node.until_said(RunPaid)).paid == job.paid == job.price * job.used - job.fee
        assert not node.said(DisputeLost)


@pytest.mark.parametrize(("pay_bps", "lost"), [(0, True), (6_000, True), (10_000, False)])
async def test_an_arbiters_decision_is_told(worlds: Worlds, pay_bps: int, lost: bool) -> None:
    async with worlds(review_period=REVIEW_S) as world, worker(world) as node:
        job = await submit(world, node)
        await do(world.client, MarketsProgram().dispute_result(job, Cid.of(b"why")))
        await node.until_said(RunDisputed, timeout_s=900)
        disputed = await world.client.job(job.address)
        await do(world.client, MarketsProgram().resolve_dispute(disputed, pay_bps=pay_bps, slash_bps=0))
        await node.until_said(RunPaid, timeout_s=900)
        told = node.said(DisputeLost)
        assert bool(told) == lost
        if told:
            gross = job.price * job.used
            assert (told[0].granted, told[0].gross) == (gross * pay_bps // 10_000, gross)


async def test_pay_that_a_wallet_cant_receive_is_delivered_once_it_can(worlds: Worlds) -> None:
    payout = Keypair().pubkey()
    async with worlds() as world, worker(world, payout=payout) as node:
        posted = await world.post(price=10)  # far below rent exemption
        job = await world.until(posted.address, JobState.SETTLED)
        owed = await node.until_said(RunOwed)
        assert owed.owed == (await world.client.job(job.address)).owed_node > 0
        assert str(payout) in owed.message
        before = calls(node.chain)
        await asyncio.sleep(600)
        assert (calls(node.chain) - before) / 10 <= 4
        assert len(node.said(RunOwed)) == 1
        world.chain.bank.airdrop(payout, 1_000_000)
        paid = await node.until_said(RunPaid, timeout_s=3600)
        assert paid.paid == owed.owed
        assert await node.chain.balance(payout) == 1_000_000 + owed.owed


async def test_a_payout_wallet_that_was_paid_is_no_longer_looked_at(worlds: Worlds) -> None:
    payout = Keypair().pubkey()
    async with worlds() as world, worker(world, payout=payout) as node:
        posted = await world.post(price=1_000_000)
        await world.until(posted.address, JobState.SETTLED)
        await node.until_said(RunPaid)
        assert not node.said(RunOwed)
        assert unpaid(node) == 0


@pytest.mark.parametrize("forgotten", [False, True])
async def test_what_was_due_before_a_restart_is_collected_after_it(worlds: Worlds, forgotten: bool) -> None:
    """By the journal; and where that is lost, by the chain."""
    async with worlds(review_period=REVIEW_S) as world:
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as node:
            job = await submit(world, node)
            await asyncio.sleep(5)
            await node.stop()
            assert [run.state for run in node.journal.open_runs()] == [RunState.DUE]
        if forgotten:
            (world.data_dir / "journal.db").unlink()
        await asyncio.sleep(REVIEW_S + 60)
        async with worker(world, wallet=wallet) as node:
            paid = await node.until_said(RunPaid, timeout_s=120)
            assert paid.job == job.address
            assert node.journal.open_runs() == []


async def test_a_job_closed_meanwhile_is_let_go(worlds: Worlds) -> None:
    async with worlds(review_period=REVIEW_S) as world:
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as node:
            job = await submit(world, node)
        await world.client.settle_job(job)
        await world.client.close_job(await world.client.job(job.address))
        async with worker(world, wallet=wallet) as node:
            await asyncio.sleep(30)
            assert node.journal.open_runs() == []
            assert unpaid(node) == 0


async def test_trouble_with_the_endpoint_delays_and_loses_nothing(worlds: Worlds) -> None:
    async with worlds(review_period=REVIEW_S) as world:
        transport = world.chain.transport()
        wallet = world.chain.client(transport=transport)
        async with worker(world, wallet=wallet) as node:
            job = await submit(world, node)
            await asyncio.sleep(REVIEW_S - 60)
            transport.down = True
            await asyncio.sleep(200)
            assert not node.said(RunPaid)
            transport.down = False
            assert (await node.until_said(RunPaid, timeout_s=1_200)).job == job.address


async def test_many_results_of_one_moment_are_all_paid(worlds: Worlds) -> None:
    async with worlds(review_period=REVIEW_S) as world, worker(world, capacity=8) as node:
        posted: list[Any] = [await world.post(price=1_000_000) for _ in range(20)]
        addresses: set[Pubkey] = {job.address for job in posted}
        for address in addresses:
            await world.until(address, JobState.SUBMITTED)
        await asyncio.sleep(30)
        assert unpaid(node) == 20
        await asyncio.sleep(REVIEW_S)
        for address in addresses:
            await world.until(address, JobState.SETTLED, timeout_s=120)
        await asyncio.sleep(30)
        assert {event.job for event in node.said(RunPaid)} == addresses
