"""The node's own trouble gives a job back; the client's stops and cancellations are obeyed; no money is ever stuck."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from hypernode_worker.core.accounts import Job, JobState, Reason
from hypernode_worker.core.events import (
    ClaimLost,
    JobSkipped,
    RunClaimed,
    RunLost,
    RunReleased,
    RunSettled,
    RunStarted,
    WorkerStarted,
)
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ContentInvalid, EndpointDown, ProviderDown
from hypernode_worker.providers.mock import MockRun
from tests.support.worker import Worker, World, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]


async def started(world: World, node: Worker, **definition: Any) -> Job:
    posted = await world.post(definition)
    await node.until_said(RunStarted)
    return await world.until(posted.address, JobState.RUNNING)


def clean(world: World) -> bool:
    return not world.engine.held and list((world.data_dir / "runs").iterdir()) == []


async def test_a_runtime_that_is_down_gives_the_job_back(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        world.engine.fail("start", *[ProviderDown("the engine is gone")] * 99)
        posted = await world.post()
        released = await node.until_said(RunReleased)
        job = await world.until(posted.address, JobState.QUEUED)
        assert released.reason is Reason.NODE_FAULT
        assert job.reason is Reason.NODE_FAULT
        assert job.paid == 0


async def test_a_runtime_that_comes_back_costs_nothing(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        world.engine.fail("start", ProviderDown("restarting"), ProviderDown("restarting"))
        world.engine.fail("wait", ProviderDown("restarting"))
        posted = await world.post()
        job = await world.until(posted.address, JobState.SETTLED)
        assert job.exit_status == 0
        assert len(node.said(RunSettled)) == 1


async def test_files_that_nobody_has_give_the_job_back(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        posted = await world.post(files=str(Cid.of(b"nowhere", 0x70)))
        released = await node.until_said(RunReleased, timeout_s=2000)
        assert released.reason is Reason.DEFINITION_UNAVAILABLE
        assert (await world.client.job(posted.address)).state is JobState.QUEUED


async def test_setup_that_takes_too_long_is_given_up_before_its_deadline(worlds: Worlds) -> None:
    async with worlds(setup_timeout=60) as world:
        world.runtime = world.mock(pull_seconds=10_000)
        async with worker(world) as node:
            posted = await world.post()
            released = await node.until_said(RunReleased)
            job = await world.client.job(posted.address)
        assert released.reason is Reason.IMAGE_UNAVAILABLE
        assert job.state is JobState.QUEUED


async def test_a_store_that_loses_the_result_gives_the_job_back(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        world.faults["publish"] = [ContentInvalid("the store confirmed another CID")]
        posted = await world.post()
        released = await node.until_said(RunReleased)
        assert released.reason is Reason.RESULT_UNAVAILABLE
        assert (await world.client.job(posted.address)).paid == 0
        assert clean(world)


async def test_a_store_that_is_down_for_a_while_is_waited_for(worlds: Worlds) -> None:
    async with worlds() as world, worker(world):
        world.faults["publish"] = [EndpointDown("Kubo restarts")] * 4
        posted = await world.post()
        assert (await world.until(posted.address, JobState.SETTLED)).exit_status == 0


async def test_the_client_stops_a_run_and_gets_what_there_is(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        world.behave = lambda spec: (spec.workspace / "output" / "part").write_text("so far") and MockRun(math.inf)
        async with worker(world) as node:
            job = await started(world, node)
            await asyncio.sleep(20)
            await world.client.stop_job(job)
            settled = await world.until(job.address, JobState.SETTLED, timeout_s=60)
            manifest = await world.manifest(settled, node.chain, tmp_path / "result")
        assert manifest.outcome is RunOutcome.STOPPED
        assert settled.exit_status == 143
        assert 19 <= settled.used <= 22
        assert [file.path for file in manifest.files] == ["logs/00.log", "output/part"]


async def test_the_client_extends_a_run(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=50)
        async with worker(world) as node:
            job = await started(world, node, timeout=30)
            await asyncio.sleep(5)
            await world.client.extend_job(await world.client.job(job.address), 60)
            settled = await world.until(job.address, JobState.SETTLED, timeout_s=200)
        assert settled.exit_status == 0
        assert settled.used >= 49


async def test_the_client_cancels_during_setup(worlds: Worlds) -> None:
    async with worlds() as world:
        world.runtime = world.mock(pull_seconds=300)
        async with worker(world) as node:
            posted = await world.post()
            await node.until_said(RunClaimed)
            await asyncio.sleep(5)
            await world.client.cancel_job(await world.client.job(posted.address))
            lost = await node.until_said(RunLost, timeout_s=120)
            assert lost.outcome is RunOutcome.CANCELLED
            job = await world.client.job(posted.address)
            assert job.refunded == job.deposit
            await asyncio.sleep(1)
            assert clean(world)


async def test_signs_of_life_keep_a_long_run_alive(worlds: Worlds) -> None:
    async with worlds(heartbeat_timeout=30) as world:
        world.behave = lambda _: MockRun(seconds=200)
        async with worker(world):
            posted = await world.post()
            job = await world.until(posted.address, JobState.SETTLED)
        assert job.exit_status == 0
        assert job.checkpoint_at - job.started_at >= 180


async def test_a_market_without_a_limit_gets_no_signs_of_life(worlds: Worlds) -> None:
    async with worlds(heartbeat_timeout=0) as world:
        world.behave = lambda _: MockRun(seconds=200)
        async with worker(world):
            posted = await world.post()
            job = await world.until(posted.address, JobState.SETTLED)
        assert job.checkpoint_at <= job.started_at


async def test_a_result_is_posted_once_the_endpoint_is_back(worlds: Worlds) -> None:
    async with worlds(heartbeat_timeout=0) as world:
        world.behave = lambda _: MockRun(seconds=10)
        transport = world.chain.transport()
        async with worker(world, wallet=world.chain.client(transport=transport)) as node:
            job = await started(world, node)
            transport.down = True
            transport.drop()
            await asyncio.sleep(60)
            assert (await world.client.job(job.address)).state is JobState.RUNNING
            transport.down = False
            settled = await world.until(job.address, JobState.SETTLED, timeout_s=120)
            assert settled.exit_status == 0


async def test_a_finish_whose_answer_was_lost_is_not_paid_twice(worlds: Worlds) -> None:
    async with worlds() as world:
        transport = world.chain.transport()
        wallet = world.chain.client(transport=transport)
        async with worker(world, wallet=wallet) as node:
            original = wallet.finish_job

            async def finish_and_lose(*args: Any, **kwargs: Any) -> Any:
                await original(*args, **kwargs)
                raise EndpointDown("the answer was lost")

            wallet.finish_job = finish_and_lose  # pyright: ignore[reportAttributeAccessIssue]
            posted = await world.post()
            settled = await node.until_said(RunSettled)
            assert settled.signature is None
            assert (await world.client.job(posted.address)).state is JobState.SETTLED


async def test_a_claim_whose_answer_was_lost_is_found_on_chain(worlds: Worlds) -> None:
    async with worlds() as world:
        wallet = world.chain.client()
        async with worker(world, wallet=wallet):
            original = wallet.work_job

            async def claim_and_lose(*args: Any, **kwargs: Any) -> Any:
                await original(*args, **kwargs)
                raise EndpointDown("the answer was lost")

            wallet.work_job = claim_and_lose  # pyright: ignore[reportAttributeAccessIssue]
            posted = await world.post()
            assert (await world.until(posted.address, JobState.SETTLED)).exit_status == 0


async def test_of_two_workers_one_gets_the_job(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world, worker(world) as one:
        world.data_dir = tmp_path / "other"
        async with worker(world) as two:
            posted = await world.post()
            await world.until(posted.address, JobState.SETTLED)
            await asyncio.sleep(5)
            assert len(one.said(RunSettled)) + len(two.said(RunSettled)) == 1
            assert len(one.said(RunClaimed)) + len(two.said(RunClaimed)) == 1
            assert len(one.said(ClaimLost)) + len(two.said(ClaimLost)) <= 1


BAD: Sequence[bytes] = (
    b"not json",
    b"{}",
    b'{"framework":"custom","operations":[{"command":"x","workdir":"/etc"}]}',
    b"x" * 300_000,
)


@pytest.mark.parametrize("data", BAD)
async def test_an_invalid_definition_is_never_claimed(worlds: Worlds, data: bytes) -> None:
    async with worlds(queue_timeout=600) as world, worker(world) as node:
        posted = await world.post(data)
        await node.until_said(JobSkipped)
        await asyncio.sleep(700)
        job = await world.client.job(posted.address)
        assert job.state is JobState.QUEUED
        assert job.attempts == 0
        await world.client.timeout_job(job)
        expired = await world.client.job(posted.address)
        assert (expired.state, expired.refunded) == (JobState.EXPIRED, expired.deposit)
        assert len(node.said(JobSkipped)) == 1


async def test_a_definition_that_nobody_has_does_not_hold_up_others(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        wanted = await world.post(price=10_000, model="lost", lost=True)
        other = await world.post(price=100, model="other")
        await world.until(other.address, JobState.SETTLED, timeout_s=20)
        assert (await world.client.job(wanted.address)).attempts == 0
        assert node.said(RunSettled)[0].job == other.address


async def test_a_start_survives_an_endpoint_that_fails_now_and_then(worlds: Worlds) -> None:
    async with worlds() as world:
        transport = world.chain.transport()
        failing = {"getBalance": 2, "getMultipleAccounts": 1, "getAccountInfo": 2}

        def intercept(method: str, params: Sequence[Any]) -> Any:
            if failing.get(method, 0):
                failing[method] -= 1
                raise EndpointDown("The endpoint cut the connection.")

        transport.intercept = intercept
        async with worker(world, wallet=world.chain.client(transport=transport)) as node:
            assert not failing["getBalance"]
            assert node.said(WorkerStarted)
