"""Stopping, restarting, and a second worker: nothing is lost, nothing is left running."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from hypernode_worker.core.accounts import Job, JobState, Reason
from hypernode_worker.core.events import (
    NodeDeregistered,
    RunReleased,
    RunResumed,
    RunSettled,
    RunStarted,
    WarningRaised,
    WorkerDraining,
    WorkerStopped,
)
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import ContainerSpec
from hypernode_worker.errors import ConfigError, EndpointDown
from hypernode_worker.node.lock import only_worker
from hypernode_worker.providers.mock import MockRun
from tests.support.worker import LIMITS, Worker, World, crash, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]


async def started(world: World, node: Worker) -> Job:
    posted = await world.post()
    await node.until_said(RunStarted)
    return await world.until(posted.address, JobState.RUNNING)


async def test_the_first_stop_drains(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=60)
        async with worker(world, drain_timeout_s=None) as node:
            job = await started(world, node)
            waiting = await world.post(model="another")
            node.manager.request_stop()
            await asyncio.sleep(30)
            assert node.manager.status()["state"] == "draining"
            await asyncio.wait_for(node.task, 60)
            assert (await world.client.job(job.address)).state is JobState.SETTLED
            assert (await world.client.job(waiting.address)).attempts == 0
            assert node.said(WorkerStopped)[0].settled == 1


async def test_the_second_stop_gives_the_job_back(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(math.inf)
        async with worker(world, drain_timeout_s=None) as node:
            job = await started(world, node)
            node.manager.request_stop()
            await asyncio.sleep(5)
            await node.stop()
            seen = await world.client.job(job.address)
            assert (seen.state, seen.reason, seen.paid) == (JobState.QUEUED, Reason.NODE_SHUTDOWN, 0)
            assert node.said(RunReleased)
            assert [event.now for event in node.said(WorkerDraining)] == [False, True]
    assert not world.engine.held
    assert not list((world.data_dir / "runs").iterdir())


async def test_signs_of_life_go_on_while_draining(worlds: Worlds) -> None:
    async with worlds(heartbeat_timeout=30) as world:
        world.behave = lambda _: MockRun(seconds=200)
        async with worker(world, drain_timeout_s=None) as node:
            job = await started(world, node)
            node.manager.request_stop()
            await asyncio.sleep(180)
            seen = await world.client.job(job.address)
            assert seen.checkpoint_at - seen.started_at >= 150
            await node.task
            assert (await world.client.job(job.address)).exit_status == 0


@pytest.mark.parametrize("now", [False, True])
async def test_the_node_leaves_the_market_when_that_is_asked_for(worlds: Worlds, now: bool) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=30)
        async with worker(world, drain_timeout_s=None) as node:
            job = await started(world, node)
            node.manager.request_stop(now=now, deregister=True)
            await node.task
            assert (await world.client.job(job.address)).state is (JobState.QUEUED if now else JobState.SETTLED)
            assert len(node.said(NodeDeregistered)) == 1
            assert await world.client.node_of(world.market.address, node.chain.wallet) is None


async def test_a_setting_makes_every_stop_leave_the_market(worlds: Worlds) -> None:
    async with worlds() as world, worker(world, deregister_on_stop=True) as node:
        await node.stop()
        assert len(node.said(NodeDeregistered)) == 1


async def test_a_node_that_still_holds_a_job_stays_registered_and_says_so(worlds: Worlds) -> None:
    async with worlds(review_period=3600) as world, worker(world) as node:
        posted = await world.post()
        await world.until(posted.address, JobState.SUBMITTED)
        node.manager.request_stop(deregister=True)
        await node.task
        assert "node deregister" in node.said(WarningRaised)[-1].message
        assert await world.client.node_of(world.market.address, node.chain.wallet) is not None


async def test_draining_has_an_end(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(math.inf)
        async with worker(world, drain_timeout_s=20) as node:
            job = await started(world, node)
            await node.stop(timeout_s=60)
            assert (await world.client.job(job.address)).state is JobState.QUEUED


async def test_a_cancelled_worker_still_gives_the_job_back(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(math.inf)
        async with worker(world) as node:
            job = await started(world, node)
            node.task.cancel()
            await asyncio.wait([node.task])
            assert node.task.cancelled()
            assert (await world.client.job(job.address)).state is JobState.QUEUED


async def test_a_result_that_is_being_stored_is_settled_before_the_end(worlds: Worlds) -> None:
    async with worlds() as world, worker(world, settle_timeout_s=120) as node:
        world.faults["publish"] = [EndpointDown("Kubo restarts")] * 3
        job = await started(world, node)
        await node.stop(now=True)
        seen = await world.client.job(job.address)
        assert (seen.state, seen.exit_status) == (JobState.SETTLED, 0)


async def test_a_stop_that_cannot_be_settled_ends_all_the_same(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(math.inf)
        transport = world.chain.transport()
        async with worker(world, wallet=world.chain.client(transport=transport), settle_timeout_s=30) as node:
            job = await started(world, node)
            transport.down = True
            await node.stop(now=True, timeout_s=120)
            assert (await world.client.job(job.address)).state is JobState.RUNNING


async def test_a_restart_takes_up_what_is_still_running(worlds: Worlds, tmp_path: Path) -> None:
    starts: list[int] = []

    def behave(spec: ContainerSpec) -> MockRun:
        starts.append(spec.operation)
        (spec.workspace / "output" / f"{spec.operation}").write_text("made")
        return MockRun(seconds=60)

    async with worlds() as world:
        world.behave = behave
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as first:
            posted = await world.post(operations=[{"command": "a"}, {"command": "b"}])
            await first.until_said(RunStarted)
            await asyncio.sleep(90)
            await crash(first)
        async with worker(world, wallet=wallet) as second:
            assert second.said(RunResumed)[0].attached
            settled = await world.until(posted.address, JobState.SETTLED)
            manifest = await world.manifest(settled, wallet, tmp_path / "result")
    assert starts == [0, 1]
    assert manifest.outcome is RunOutcome.COMPLETED
    assert [operation.exit_code for operation in manifest.operations] == [0, 0]
    assert [file.path for file in manifest.files if file.path.startswith("output")] == ["output/0", "output/1"]
    assert not world.engine.held


async def test_a_restart_gives_back_what_is_gone(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(math.inf)
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as first:
            job = await started(world, first)
            await crash(first)
        world.engine.held.clear()
        async with worker(world, wallet=wallet) as second:
            assert not second.said(RunResumed)[0].attached
            await second.until_said(RunReleased)
            seen = await world.client.job(job.address)
            assert (seen.state, seen.reason) == (JobState.QUEUED, Reason.NODE_FAULT)


async def test_a_restart_settles_what_was_stored(worlds: Worlds) -> None:
    async with worlds() as world:
        transport = world.chain.transport()
        wallet = world.chain.client(transport=transport)
        world.behave = lambda _: MockRun(seconds=20)
        async with worker(world, wallet=wallet) as first:
            job = await started(world, first)
            await asyncio.sleep(10)
            transport.down = True
            await asyncio.sleep(15)
            await crash(first)
        transport.down = False
        async with worker(world, wallet=wallet) as second:
            settled = await second.until_said(RunSettled)
            assert settled.job == job.address
            assert (await world.client.job(job.address)).paid > 0


async def test_orphans_of_this_node_are_removed_at_the_start(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as first:
            node = str(first.node)
        (tmp_path / "w").mkdir()
        for owner in (node, "another"):
            await world.provider().start(
                ContainerSpec(
                    job="j",
                    node=owner,
                    run="1",
                    operation=0,
                    image=None,
                    command=("x",),
                    workdir="/workspace",
                    workspace=tmp_path / "w",
                    log_path=tmp_path / "log",
                    limits=LIMITS,
                )
            )
        (world.data_dir / "runs" / "old").mkdir(parents=True)
        async with worker(world, wallet=wallet):
            assert [held.spec.node for held in world.engine.held.values()] == ["another"]
            assert not list((world.data_dir / "runs").iterdir())


async def test_a_second_worker_with_the_key_is_refused(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        wallet = world.chain.client()
        async with worker(world, wallet=wallet):
            world.data_dir = tmp_path / "other"
            async with worker(world, wallet=wallet, wait=False) as second:
                with pytest.raises(ConfigError, match=r"pid \d+"):
                    await second.task


async def test_a_second_worker_in_the_folder_is_refused(worlds: Worlds) -> None:
    async with worlds() as world, worker(world), worker(world, wait=False) as second:
        with pytest.raises(ConfigError, match=r"pid \d+"):
            await second.task


async def test_locks_are_free_after_their_holder(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        with only_worker(tmp_path, world.client.wallet):
            pass
        with only_worker(tmp_path, world.client.wallet), socket.socket() as other:
            assert other.fileno() > 0


async def test_a_wallet_without_money_is_told_so(worlds: Worlds) -> None:
    async with worlds() as world, worker(world, wallet=world.chain.client(lamports=0), wait=False) as node:
        with pytest.raises(ConfigError, match="lamports"):
            await node.task
