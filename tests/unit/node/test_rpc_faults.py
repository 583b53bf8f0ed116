"""A whole worker behind endpoints that fail and lie: no job is forgotten, none is paid twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.events import RunLost, RunPaid, RunReleased, RunResumed, RunSettled, RunStarted
from hypernode_worker.providers.mock import MockRun
from tests.support.inprocess import InProcessTransport, failover
from tests.support.rpc_faults import (
    Fault,
    accounts,
    down,
    heal,
    misbehave,
    mute,
    says_missing,
    says_other_kind,
    says_other_owner,
    says_requeued,
    says_settled,
    stale,
    swallows,
    truncates,
)
from tests.support.worker import World, crash, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]

BAD_NEWS = (says_missing, says_settled, says_requeued, says_other_owner, says_other_kind, truncates)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("lie", BAD_NEWS)
async def test_a_run_outlives_an_endpoint_that_lies_about_its_job(worlds: Worlds, lie: Fault, count: int) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=150)
        endpoints = world.chain.endpoints(count)
        async with worker(world, wallet=world.chain.client(transport=failover(endpoints))) as node:
            posted = await world.post()
            await node.until_said(RunStarted)
            await asyncio.sleep(5)
            lie(endpoints[0])
            endpoints[0].drop()  # what is read now is a lie
            settled = await world.until(posted.address, JobState.SETTLED)
            assert (settled.exit_status, settled.attempts) == (0, 1)
            heal(endpoints[0])  # of two that contradict each other nobody is believed
            await node.until_said(RunSettled)
            assert len(node.said(RunSettled)) == 1
            assert not node.said(RunLost)


@pytest.mark.parametrize("lie", [says_missing, says_settled, says_requeued])
async def test_what_is_due_is_not_forgotten_because_one_endpoint_says_so(worlds: Worlds, lie: Fault) -> None:
    async with worlds(review_period=600, resolve_timeout=600) as world:
        endpoints = world.chain.endpoints(3)
        async with worker(world, wallet=world.chain.client(transport=failover(endpoints))) as node:
            posted = await world.post()
            await world.until(posted.address, JobState.SUBMITTED)
            lie(endpoints[0])
            settled = await world.until(posted.address, JobState.SETTLED, timeout_s=2000)
            await node.until_said(RunPaid)
            assert node.said(RunPaid)[0].paid == settled.paid > 0
            assert not node.said(RunLost)


@pytest.mark.parametrize("lie", [says_missing, says_settled])
async def test_a_restart_takes_up_what_one_endpoint_denies(worlds: Worlds, lie: Fault) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=120)
        endpoints = world.chain.endpoints(3)
        wallet = world.chain.client(transport=failover(endpoints))
        async with worker(world, wallet=wallet) as first:
            posted = await world.post()
            await first.until_said(RunStarted)
            await crash(first)
        lie(endpoints[0])
        async with worker(world, wallet=wallet) as second:
            assert second.said(RunResumed)[0].attached
            assert (await world.until(posted.address, JobState.SETTLED)).attempts == 1
            assert not second.said(RunLost)


def pretends(endpoint: InProcessTransport) -> None:
    """Swallows transactions and says of each that it was confirmed."""
    swallows(endpoint)
    swallow = endpoint.intercept
    assert swallow is not None

    def pretend(method: str, params: Sequence[Any]) -> Any:
        if method != "getSignatureStatuses":
            return swallow(method, params)
        said = endpoint.answer(method, list(params))
        landed = {"slot": said["context"]["slot"], "err": None, "confirmationStatus": "confirmed"}
        return {**said, "value": [landed]}

    endpoint.intercept = pretend


async def test_a_result_that_never_landed_is_posted_again(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=30)
        endpoints = world.chain.endpoints(3)
        async with worker(world, wallet=world.chain.client(transport=failover(endpoints))) as node:
            posted = await world.post()
            await node.until_said(RunStarted)
            pretends(endpoints[0])
            swallows(endpoints[1])
            swallows(endpoints[2])
            await asyncio.sleep(45)
            assert (await world.client.job(posted.address)).state is JobState.RUNNING
            assert not node.said(RunSettled), "most say that it hasn't landed"
            for endpoint in endpoints:
                heal(endpoint)
            assert (await world.until(posted.address, JobState.SETTLED)).paid > 0
            await node.until_said(RunSettled)


async def test_what_stays_running_on_chain_is_finished_again_when_it_is_due(worlds: Worlds) -> None:
    async with worlds(review_period=60, resolve_timeout=60) as world:
        world.behave = lambda _: MockRun(seconds=30)
        transport = world.chain.transport()
        async with worker(world, wallet=world.chain.client(transport=transport)) as node:
            posted = await world.post()
            await node.until_said(RunStarted)
            pretends(transport)
            await node.until_said(RunSettled)
            assert (await world.client.job(posted.address)).state is JobState.RUNNING, "it was a lie"
            transport.intercept = None
            settled = await world.until(posted.address, JobState.SETTLED)
            assert (await node.until_said(RunPaid)).paid == settled.paid > 0


async def test_a_stop_that_only_one_endpoint_knows_of_is_not_followed(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=150)
        endpoints = world.chain.endpoints(3)
        async with worker(world, wallet=world.chain.client(transport=failover(endpoints))) as node:
            posted = await world.post()
            await node.until_said(RunStarted)

            def stopped(account: dict[str, Any], data: bytearray) -> bytearray:
                data[672:680] = data[656:664]  # stopped_at = started_at
                return data

            accounts(endpoints[0], stopped)
            endpoints[0].drop()
            assert (await world.until(posted.address, JobState.SETTLED)).used >= 149


@pytest.mark.parametrize("fault", [down, stale, mute])
async def test_jobs_are_taken_while_the_first_endpoint_is_of_no_use(worlds: Worlds, fault: Fault) -> None:
    async with worlds() as world:
        endpoints = world.chain.endpoints(2)
        async with worker(world, wallet=world.chain.client(transport=failover(endpoints))):
            await asyncio.sleep(30)
            fault(endpoints[0])
            await asyncio.sleep(180)
            for _ in range(3):
                posted = await world.post()
                await world.until(posted.address, JobState.SETTLED, timeout_s=90)


@pytest.mark.parametrize("seed", range(3))
async def test_no_schedule_of_faults_loses_a_job_or_pays_twice(worlds: Worlds, seed: int) -> None:
    chance = random.Random(seed)
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=chance.uniform(0, 60))
        endpoints = world.chain.endpoints(3)
        wallet = world.chain.client(transport=failover(endpoints))
        async with worker(world, wallet=wallet, capacity=3) as node:
            faults = asyncio.create_task(misbehave(endpoints, chance, seconds=600), name="Task-faults")
            jobs = [await world.post(timeout=3_000)]
            for _ in range(11):
                await asyncio.sleep(chance.uniform(0, 80))
                jobs.append(await world.post(timeout=3_000))
            done = await faults
            for endpoint in endpoints:
                heal(endpoint)
            ends = [await world.until(job.address, JobState.SETTLED, timeout_s=1_800) for job in jobs]
            await asyncio.sleep(60)
            told = "\n".join(done)
            assert not node.said(RunLost), told
            assert Counter(event.job for event in node.said(RunSettled)) == Counter(job.address for job in jobs), told
            assert all(job.attempts - 1 <= len(node.said(RunReleased)) for job in ends), told
            for job in ends:
                assert job.paid + job.fee == job.price * job.used, told
                assert job.paid + job.fee + job.refunded == job.deposit, told
            assert not world.engine.held
            assert not node.journal.open_runs()
