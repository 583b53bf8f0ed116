"""Results on their way: queued, tried again, taken up after a restart; and what is posted when a market wants pins."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hypernode_worker.core.accounts import FLAG_PINNED, Job, JobState, Reason
from hypernode_worker.core.events import JobSkipped, RunEnded, RunReleased, RunStarted, WarningRaised
from hypernode_worker.core.ports import ContainerSpec, Reach
from hypernode_worker.core.runs import RunState
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, EndpointDown
from hypernode_worker.ipfs import EmbeddedStore
from hypernode_worker.ipfs import blocks as blocks_module
from hypernode_worker.node.uploads import AT_ONCE, Uploads
from hypernode_worker.providers.mock import MockRun
from tests.support.shelf import Shelf, store_with
from tests.support.worker import MemoryStore, Worker, World, crash, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]
DOWN = EndpointDown("the shelf is away")


@asynccontextmanager
async def shelf_world(worlds: Worlds, folder: Path, **terms: Any) -> AsyncGenerator[tuple[World, Shelf, list[int]]]:
    """A world whose results go to a shelf by way of real blocks on disk; and the operations that were started."""
    starts: list[int] = []

    def behave(spec: ContainerSpec) -> MockRun:
        starts.append(spec.operation)
        return MockRun(seconds=20, files={"output/made": b"x" * 600_000})

    async with worlds(**terms) as world:
        shelf = Shelf()
        world.store = store_with(shelf, folder / "blocks")
        world.behave = behave
        yield world, shelf, starts


async def started(world: World, node: Worker, **definition: Any) -> Job:
    posted = await world.post(definition)
    await node.until_said(RunStarted)
    return await world.until(posted.address, JobState.RUNNING)


def queued(folder: Path) -> list[str]:
    return [str(cid) for cid in EmbeddedStore(folder / "blocks").uploads()]


# --- tried again


@pytest.mark.parametrize("flags", [0, FLAG_PINNED])
async def test_an_upload_is_tried_until_the_place_is_back(worlds: Worlds, tmp_path: Path, flags: int) -> None:
    async with shelf_world(worlds, tmp_path, flags=flags) as (world, shelf, starts), worker(world) as node:
        job = await started(world, node, timeout=3600)
        shelf.broken = DOWN
        await asyncio.sleep(1500)
        assert (await world.client.job(job.address)).state is JobState.RUNNING
        assert len(queued(tmp_path)) == 1
        shelf.broken = None
        settled = await world.until(job.address, JobState.SETTLED, timeout_s=70)
        assert settled.result_cid in shelf.taken
        assert 20 < len(shelf.tried) < 60
        assert (starts, queued(tmp_path)) == ([0], [])


async def test_refused_credentials_are_told_and_waited_for(worlds: Worlds, tmp_path: Path) -> None:
    async with shelf_world(worlds, tmp_path, flags=FLAG_PINNED) as (world, shelf, _), worker(world) as node:
        job = await started(world, node, timeout=3600)
        shelf.broken = ConfigError("the shelf refuses the credentials (HTTP 401); check the token.")
        warned = await node.until_said(WarningRaised, timeout_s=200)
        assert "refuses the credentials" in warned.message
        assert "No job is taken" in warned.message
        shelf.broken = None
        assert (await world.until(job.address, JobState.SETTLED, timeout_s=200)).exit_status == 0


async def test_a_registered_node_starts_while_its_store_is_down(worlds: Worlds, tmp_path: Path) -> None:
    async with shelf_world(worlds, tmp_path) as (world, shelf, _):
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as first:
            specs = (await wallet.node(first.node)).specs
        shelf.broken = DOWN
        async with worker(world, wallet=wallet) as second:
            assert "takes nothing now" in second.said(WarningRaised)[0].message
            assert (await wallet.node(second.node)).specs == specs
        async with worker(world, wait=False) as stranger:
            with pytest.raises(EndpointDown):
                await stranger.task


async def test_few_uploads_go_on_at_once(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.seconds = 10.0
    store = MemoryStore()
    under_way = most = 0

    async def publish(cid: object) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(10)
        under_way -= 1

    store.publish = publish  # pyright: ignore[reportAttributeAccessIssue]
    cids: list[Cid] = []
    for number in range(7):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "file").write_text(f"{number}")
        cids.append(await store.import_path(tmp_path / f"{number}"))
    async with Uploads(store, lambda _: None) as uploads:  # pyright: ignore[reportArgumentType]
        await asyncio.gather(*(uploads.confirmed(cid) for cid in cids))
    assert most == AT_ONCE


async def test_while_uploads_fail_nothing_is_claimed(worlds: Worlds, tmp_path: Path) -> None:
    async with shelf_world(worlds, tmp_path, flags=FLAG_PINNED) as (world, shelf, _), worker(world, capacity=2) as node:
        await started(world, node, timeout=60)
        waiting = await world.post(model="another", timeout=60)
        await world.until(waiting.address, JobState.RUNNING)
        third = await world.post(model="third", price=50)
        shelf.broken = DOWN
        await node.until_said(RunReleased, timeout_s=400)
        await asyncio.sleep(400)
        assert "the shelf is away" in str(node.manager.status()["refuses"])
        assert (await world.client.job(third.address)).attempts == 0
        assert queued(tmp_path) == []  # what was given back needs no upload
        shelf.broken = None
        assert (await world.until(third.address, JobState.SETTLED, timeout_s=2000)).exit_status == 0


# --- what a market demands


async def test_without_the_pin_that_a_market_demands_the_job_is_given_back_in_time(
    worlds: Worlds, tmp_path: Path
) -> None:
    async with shelf_world(worlds, tmp_path, flags=FLAG_PINNED) as (world, shelf, _), worker(world) as node:
        job = await started(world, node, timeout=60)
        shelf.broken = DOWN
        released = await node.until_said(RunReleased, timeout_s=400)
        assert released.reason is Reason.RESULT_UNAVAILABLE
        seen = await world.client.job(job.address)
        assert (seen.state, seen.paid) == (JobState.QUEUED, 0)
        assert seen.queued_slot > job.queued_slot


async def test_where_no_pin_is_demanded_the_result_is_posted_in_time_and_goes_on_its_way(
    worlds: Worlds, tmp_path: Path
) -> None:
    async with shelf_world(worlds, tmp_path) as (world, shelf, starts):
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as node:
            job = await started(world, node, timeout=60)
            shelf.broken = DOWN
            settled = await world.until(job.address, JobState.SETTLED, timeout_s=300)
            assert settled.ended_at < job.started_at + 60 + job.finish_grace
            assert settled.result_cid not in shelf.taken
            assert "before its upload is confirmed" in node.said(WarningRaised)[-1].message
            await asyncio.sleep(5)
            await crash(node)
        assert queued(tmp_path) == [str(settled.result_cid)]
        shelf.broken = None
        world.store = store_with(shelf, tmp_path / "blocks")
        async with worker(world, wallet=wallet):
            await asyncio.sleep(5)
        assert shelf.taken[-1] == settled.result_cid
        assert (starts, queued(tmp_path)) == ([0], [])
        await world.manifest(settled, wallet, tmp_path / "result")


async def test_a_market_that_demands_pins_gets_no_claim_from_a_store_of_this_machine(
    worlds: Worlds, tmp_path: Path
) -> None:
    async with worlds(flags=FLAG_PINNED) as world:
        assert isinstance(world.store, MemoryStore)
        world.store.reach = Reach.MACHINE
        async with worker(world) as node:
            assert "demands that results are pinned" in node.said(WarningRaised)[0].message
            posted = await world.post()
            skipped = await node.until_said(JobSkipped)
            assert "must be pinned" in skipped.reason
            await asyncio.sleep(60)
            assert (await world.client.job(posted.address)).attempts == 0
            assert "IPFS_UPLOAD_TOKEN" in str(node.manager.status()["refuses"])


async def test_a_store_that_can_no_longer_pin_gives_the_job_back(worlds: Worlds, tmp_path: Path) -> None:
    async with shelf_world(worlds, tmp_path, flags=FLAG_PINNED) as (world, _, _):
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as first:
            job = await started(world, first)
            await crash(first)
        world.store = store_with(None, tmp_path / "blocks")
        async with worker(world, wallet=wallet) as second:
            released = await second.until_said(RunReleased)
            assert released.reason is Reason.RESULT_UNAVAILABLE
            assert (await world.client.job(job.address)).paid == 0


async def test_a_place_that_confirms_another_cid_gives_the_job_back_at_once(worlds: Worlds, tmp_path: Path) -> None:
    async with shelf_world(worlds, tmp_path) as (world, shelf, _), worker(world) as node:
        await started(world, node)
        shelf.broken = ContentInvalid("the shelf made another CID of it")
        assert (await node.until_said(RunReleased, timeout_s=60)).reason is Reason.RESULT_UNAVAILABLE
        assert queued(tmp_path) == []


# --- restarts


@pytest.mark.parametrize("folder_is_gone", [False, True])
async def test_a_restart_between_cid_known_and_upload_confirmed(
    worlds: Worlds, tmp_path: Path, folder_is_gone: bool
) -> None:
    async with shelf_world(worlds, tmp_path, flags=FLAG_PINNED) as (world, shelf, starts):
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as first:
            job = await started(world, first)
            shelf.broken = DOWN
            await first.until_said(RunEnded)
            await asyncio.sleep(10)
            record = first.journal.run(job.address, job.queued_slot)
            assert record is not None
            assert (record.state, [str(record.result_cid)]) == (RunState.ENDED, queued(tmp_path))
            await crash(first)
        if folder_is_gone:
            shutil.rmtree(world.data_dir / "runs")
        shelf.broken = None
        world.store = store_with(shelf, tmp_path / "blocks")
        async with worker(world, wallet=wallet):
            settled = await world.until(job.address, JobState.SETTLED, timeout_s=60)
            assert (settled.result_cid, settled.result_hash) == (record.result_cid, record.result_hash)
            await world.manifest(settled, wallet, tmp_path / "result")
    assert starts == [0]
    assert shelf.taken[-1] == record.result_cid
    assert queued(tmp_path) == []


async def test_a_result_that_comes_after_the_deadline_is_posted_while_nobody_has_timed_the_job_out(
    worlds: Worlds, tmp_path: Path
) -> None:
    async with shelf_world(worlds, tmp_path, flags=FLAG_PINNED) as (world, shelf, starts):
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as first:
            job = await started(world, first, timeout=60)
            shelf.broken = DOWN
            await first.until_said(RunEnded)
            await asyncio.sleep(5)
            await crash(first)
        await asyncio.sleep(600)
        world.store = store_with(shelf, tmp_path / "blocks")
        async with worker(world, wallet=wallet):
            await asyncio.sleep(30)
            shelf.broken = None
            settled = await world.until(job.address, JobState.SETTLED, timeout_s=100)
    assert settled.paid > 0
    assert starts == [0]


async def test_blocks_that_were_lost_meanwhile_are_made_anew_from_the_files(worlds: Worlds, tmp_path: Path) -> None:
    async with shelf_world(worlds, tmp_path, flags=FLAG_PINNED) as (world, shelf, starts):
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as first:
            job = await started(world, first)
            shelf.broken = DOWN
            await first.until_said(RunEnded)
            await asyncio.sleep(10)
            await crash(first)
        for block in (tmp_path / "blocks" / "blocks").rglob("*"):
            if block.is_file() and block.stat().st_size > 200_000:
                block.unlink()
        shelf.broken = None
        world.store = store_with(shelf, tmp_path / "blocks")
        async with worker(world, wallet=wallet):
            settled = await world.until(job.address, JobState.SETTLED, timeout_s=60)
            await world.manifest(settled, wallet, tmp_path / "result")
    assert starts == [0]
    assert settled.result_cid in shelf.taken


async def test_a_stop_during_an_upload_leaves_it_to_the_next_start(worlds: Worlds, tmp_path: Path) -> None:
    async with shelf_world(worlds, tmp_path, flags=FLAG_PINNED) as (world, shelf, starts):
        wallet = world.chain.client()
        async with worker(world, wallet=wallet, settle_timeout_s=10) as first:
            job = await started(world, first)
            shelf.broken = DOWN
            await first.until_said(RunEnded)
            await asyncio.sleep(5)
            await first.stop(now=True)
            assert (await world.client.job(job.address)).state is JobState.RUNNING
        shelf.broken = None
        world.store = store_with(shelf, tmp_path / "blocks")
        async with worker(world, wallet=wallet):
            assert (await world.until(job.address, JobState.SETTLED, timeout_s=60)).exit_status == 0
    assert starts == [0]


# --- a full disk


def full_disk(monkeypatch: pytest.MonkeyPatch, *, after_bytes: int = 0) -> None:
    """The store's folder takes so many bytes more."""
    left = after_bytes
    write = os.write

    def write_some(handle: int, data: Any) -> int:
        nonlocal left
        if len(data) > left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left -= len(data)
        return write(handle, data)

    monkeypatch.setattr(blocks_module.os, "write", write_some)


async def test_a_disk_that_fills_up_while_the_result_is_kept_gives_the_job_back(
    worlds: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shelf_world(worlds, tmp_path) as (world, shelf, _), worker(world) as node:
        job = await started(world, node)
        with monkeypatch.context() as patch:
            full_disk(patch, after_bytes=300_000)
            released = await node.until_said(RunReleased, timeout_s=200)
        assert released.reason is Reason.RESULT_UNAVAILABLE
        assert "No space left on device" in node.said(RunEnded)[-1].message
        assert (await world.client.job(job.address)).paid == 0
        assert list((tmp_path / "blocks" / "tmp").iterdir()) == []
        assert queued(tmp_path) == []
        assert shelf.tried == shelf.taken  # nothing that is half there was sent


async def test_a_disk_with_room_again_costs_nothing(
    worlds: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shelf_world(worlds, tmp_path) as (world, _, starts), worker(world) as node:
        job = await started(world, node)
        with monkeypatch.context() as patch:
            full_disk(patch)
            await node.until_said(RunEnded)
            await asyncio.sleep(1)
        assert (await world.until(job.address, JobState.SETTLED, timeout_s=60)).exit_status == 0
        assert starts == [0]


@pytest.mark.parametrize("call", ["collect_output", "write_manifest"])
async def test_a_disk_that_is_full_before_the_result_is_whole_gives_the_job_back(
    worlds: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"hypernode_worker.node.run_folder.RunFolder.{call}", full)
    async with shelf_world(worlds, tmp_path) as (world, _, _), worker(world) as node:
        await started(world, node)
        assert (await node.until_said(RunReleased, timeout_s=100)).reason is Reason.RESULT_UNAVAILABLE
        assert "No space left on device" in node.said(RunEnded)[-1].message
