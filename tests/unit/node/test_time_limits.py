"""Every step has a deadline: the table in docs/operating.md says what happens then. A client's word counts at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from hypernode_worker.core.accounts import Job, JobState, Reason
from hypernode_worker.core.events import JobSkipped, RunReleased, RunStarted
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ImageUnavailable, ProviderDown
from hypernode_worker.node.execution import START_PATIENCE_S, WAIT_PATIENCE_S
from hypernode_worker.providers.mock import MockRun
from tests.support.inprocess import SLOT_S
from tests.support.worker import Worker, World, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]


async def started(world: World, node: Worker, **definition: Any) -> Job:
    posted = await world.post(definition)
    await node.until_said(RunStarted)
    return await world.until(posted.address, JobState.RUNNING)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_definition_is_looked_for_in_vain_only_for_so_long(worlds: Worlds) -> None:
    async with worlds() as world, worker(world, definition_timeout_s=20) as node:
        begun = now()
        await world.post(lost=True)
        skipped = await node.until_said(JobSkipped)
        assert 20 <= now() - begun < 23
        assert "30 s" in skipped.reason


async def test_an_image_may_take_what_the_market_gives_for_setting_up(worlds: Worlds) -> None:
    async with worlds(setup_timeout=1800) as world:
        world.runtime = world.mock(pull_seconds=1700)
        async with worker(world):
            posted = await world.post()
            job = await world.until(posted.address, JobState.SETTLED, timeout_s=2000)
            assert (job.exit_status, job.used) == (0, 1)


async def test_setting_up_ends_before_the_markets_deadline(worlds: Worlds) -> None:
    async with worlds(setup_timeout=600) as world:
        world.runtime = world.mock(pull_seconds=math.inf)
        async with worker(world) as node:
            begun = now()
            await world.post()
            released = await node.until_said(RunReleased, timeout_s=700)
            assert released.reason is Reason.IMAGE_UNAVAILABLE
            assert 580 <= now() - begun < 590


async def test_files_that_nobody_has_are_given_up_with_time_to_spare(worlds: Worlds) -> None:
    async with worlds(setup_timeout=600) as world, worker(world) as node:
        begun = now()
        await world.post(files=str(Cid.of(b"nowhere", 0x70)))
        released = await node.until_said(RunReleased)
        assert released.reason is Reason.DEFINITION_UNAVAILABLE
        assert 440 <= now() - begun < 470


async def test_a_job_runs_for_its_timeout_and_no_longer(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(math.inf)
        async with worker(world) as node:
            job = await started(world, node, timeout=40)
            ended = await world.until(job.address, JobState.SETTLED)
            assert ended.exit_status == RunOutcome.TIMED_OUT.fixed_exit_status
            assert 40 <= ended.used <= 41


async def test_a_deaf_job_is_killed_after_the_grace(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(math.inf, ignores_term=True)
        async with worker(world, stop_grace_s=5) as node:
            job = await started(world, node, timeout=40)
            begun = now()
            await world.until(job.address, JobState.SETTLED)
            assert 44 <= now() - begun < 50


async def test_an_endpoint_that_swallows_transactions_is_noticed(worlds: Worlds) -> None:
    """The blockhash's end is the deadline of a confirmation; then the state is read and the transaction made anew."""
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=10)
        transport = world.chain.transport()
        sent: list[str] = []

        def swallow(method: str, params: Any) -> Any:
            if method == "sendTransaction" and len(set(sent)) < 2:
                sent.append(params[0])
                return "1" * 64
            return None

        async with worker(world, wallet=world.chain.client(transport=transport)) as node:
            job = await started(world, node, timeout=600)
            transport.intercept = swallow
            ended = await world.until(job.address, JobState.SETTLED, timeout_s=400)
            assert ended.exit_status == 0


async def test_an_engine_that_is_down_before_the_start_costs_the_client_seconds(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        world.engine.fail("start", *[ProviderDown("the engine is gone")] * 99)
        begun = now()
        await world.post()
        released = await node.until_said(RunReleased)
        assert released.reason is Reason.NODE_FAULT
        assert now() - begun < START_PATIENCE_S + 5


async def test_an_engine_that_restarts_for_two_minutes_loses_no_run(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=150)
        async with worker(world) as node:
            world.engine.fail("wait", *[ProviderDown("restarting")] * 30)
            begun = now()
            job = await started(world, node)
            assert not world.engine.faults["wait"] or now() - begun < WAIT_PATIENCE_S
            assert (await world.until(job.address, JobState.SETTLED)).exit_status == 0
            assert not world.engine.faults["wait"]


@pytest.mark.parametrize("code", [137, 143, 255])
async def test_a_container_that_ended_with_its_engine_is_the_nodes_trouble(worlds: Worlds, code: int) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=5, exit_code=code)
        async with worker(world) as node:
            world.engine.fail("wait", *[ProviderDown("restarting")] * 4)
            posted = await world.post()
            released = await node.until_said(RunReleased)
            assert released.reason is Reason.NODE_FAULT
            assert (await world.client.job(posted.address)).paid == 0


async def test_the_same_exit_code_of_a_job_under_a_steady_engine_is_its_own(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=5, exit_code=137)
        async with worker(world):
            posted = await world.post()
            assert (await world.until(posted.address, JobState.SETTLED)).exit_status == 137


async def test_an_image_that_the_registry_refuses_is_said_at_once(worlds: Worlds) -> None:
    async with worlds() as world, worker(world):
        world.engine.fail("prepare", *[ImageUnavailable("no such image")] * 3)
        begun = now()
        posted = await world.post()
        job = await world.until(posted.address, JobState.SETTLED)
        assert job.exit_status == RunOutcome.IMAGE_UNAVAILABLE.fixed_exit_status
        assert now() - begun < 15


# --- the client's word -------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_s", [0.0, 0.7, 1.1, 20.0])
async def test_a_stop_is_followed_within_two_slots(worlds: Worlds, after_s: float) -> None:
    stopped: list[float] = []
    async with worlds() as world:
        world.behave = lambda _: MockRun(math.inf)
        runtime = world.runtime = world.mock()
        original = runtime.stop

        async def stop(container: Any, *, grace_s: float) -> None:
            stopped.append(now())
            await original(container, grace_s=grace_s)

        runtime.stop = stop  # pyright: ignore[reportAttributeAccessIssue]
        async with worker(world) as node:
            job = await started(world, node)
            await asyncio.sleep(after_s)
            await world.client.stop_job(job)
            confirmed = now()
            await world.until(job.address, JobState.SETTLED)
    assert stopped[0] - confirmed <= 2 * SLOT_S


async def test_an_extension_is_followed_up_to_two_slots_before_the_end(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=50)
        async with worker(world) as node:
            job = await started(world, node, timeout=30)
            await asyncio.sleep(job.started_at + 30 - 3 * SLOT_S - world.clock.unix_time())
            await world.client.extend_job(await world.client.job(job.address), 60)
            ended = await world.until(job.address, JobState.SETTLED)
        assert (ended.exit_status, ended.used >= 49) == (0, True)
