"""Quota and reserve: what goes first, what never goes, and that nothing is claimed while there is no room."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hypernode_worker.core.accounts import JobState, Reason
from hypernode_worker.core.events import RunReleased, RunStarted, WarningEnded, WarningRaised
from hypernode_worker.core.ports import Kept
from hypernode_worker.providers.mock import MockRun
from tests.support.worker import World, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]
GIB = 1 << 30
RESERVE = 4 * GIB


@dataclass(eq=False)
class Shelf:
    """A Keeper whose things are only numbers; what goes makes room on the world's disk."""

    world: World
    place: Path
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    used_at: dict[str, float] = field(default_factory=dict[str, float])
    gone: list[str] = field(default_factory=list[str])

    async def used_bytes(self) -> int:
        return sum(self.sizes.values())

    async def evictable(self, needed: frozenset[str]) -> Sequence[Kept]:
        names = [name for name in self.sizes if name not in needed]
        return [Kept(name, self.sizes[name], self.used_at.get(name, 0.0), self.place) for name in names]

    async def evict(self, names: Sequence[str], needed: frozenset[str]) -> None:
        for name in names:
            assert name not in needed
            set_free(self.world, self.world.hardware.disk_free() + self.sizes.pop(name))
            self.gone.append(name)


def set_free(world: World, free: int) -> None:
    world.hardware.now = replace(world.hardware.now, disk_free_bytes=free)


def shelf(world: World, place: Path, **things: tuple[int, float]) -> Shelf:
    """Things as size in GiB and time of last use."""
    made = Shelf(world, place)
    for name, (size, used_at) in things.items():
        made.sizes[name], made.used_at[name] = size * GIB, used_at
    world.keepers = [*world.keepers, made]
    return made


async def test_the_longest_unused_go_first_wherever_they_are_kept(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        images = shelf(world, tmp_path, old=(5, 10), new=(5, 400))
        content = shelf(world, tmp_path, older=(3, 5), middle=(3, 200), newest=(3, 500))
        async with worker(world, disk_quota_bytes=14 * GIB) as node:
            await asyncio.sleep(1)
            assert (content.gone, images.gone) == (["older"], ["old"]), "19 GiB: 5 over, and a tenth of the quota"
            assert node.manager.status()["disk_used_bytes"] == 11 * GIB
            assert node.manager.status()["refuses"] is None


async def test_within_quota_and_reserve_nothing_goes(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        kept = shelf(world, tmp_path, a=(5, 1), b=(5, 2))
        async with worker(world, disk_quota_bytes=10 * GIB, disk_reserve_bytes=RESERVE):
            await asyncio.sleep(600)
        assert kept.gone == []


async def test_the_reserve_is_freed_only_by_what_lies_on_that_disk(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        here = shelf(world, tmp_path, a=(1, 100), b=(1, 200), c=(1, 300))
        elsewhere = shelf(world, Path("/proc"), d=(50, 1))
        set_free(world, RESERVE - GIB)
        async with worker(world, disk_reserve_bytes=RESERVE):
            await asyncio.sleep(1)
        assert (here.gone, elsewhere.gone) == (["a", "b"], [])


async def test_below_the_reserve_nothing_is_claimed_until_there_is_room(worlds: Worlds) -> None:
    async with worlds() as world:
        set_free(world, RESERVE - 1)
        async with worker(world, disk_reserve_bytes=RESERVE) as node:
            posted = await world.post()
            await asyncio.sleep(200)
            assert (await world.client.job(posted.address)).attempts == 0
            assert "reserve" in str(node.manager.status()["refuses"])
            assert len(node.said(WarningRaised)) == 1
            set_free(world, RESERVE)
            await world.until(posted.address, JobState.SETTLED, timeout_s=15)
            await asyncio.sleep(60)
            assert [event.message for event in node.said(WarningEnded)] == ["Disk"]


async def test_over_a_quota_of_which_all_is_needed_nothing_is_claimed(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        mine = shelf(world, tmp_path)

        async def nothing(needed: frozenset[str]) -> Sequence[Kept]:
            return []

        mine.sizes["the user's"] = 3 * GIB
        mine.evictable = nothing
        async with worker(world, disk_quota_bytes=2 * GIB) as node:
            posted = await world.post()
            await asyncio.sleep(100)
            assert (await world.client.job(posted.address)).attempts == 0
            assert "DISK_QUOTA" in str(node.manager.status()["refuses"])
            mine.sizes.clear()
            await world.until(posted.address, JobState.SETTLED, timeout_s=100)


async def test_what_a_running_or_unpaid_job_needs_stays(worlds: Worlds, tmp_path: Path) -> None:
    seen: list[frozenset[str]] = []
    async with worlds(review_period=36_000) as world:
        things = shelf(world, tmp_path)
        original = things.evictable

        async def evictable(needed: frozenset[str]) -> Sequence[Kept]:
            seen.append(needed)
            return await original(needed)

        things.evictable = evictable
        world.behave = lambda spec: MockRun(math.inf if "long" in spec.command[-1] else 1.0)
        async with worker(world, disk_quota_bytes=GIB, capacity=2) as node:
            unpaid = await world.post(model="unpaid")
            unpaid = await world.until(unpaid.address, JobState.SUBMITTED)
            files = await world.files(tmp_path / "files", a="a")
            running = await world.post(operations=[{"command": "long"}], files=str(files))
            await world.until(running.address, JobState.RUNNING)
            things.sizes["too much"] = 2 * GIB
            await asyncio.sleep(61)
            resolved = world.engine.images["busybox"]
            (needed,) = {frozenset(each) for each in seen}
            assert {
                str(unpaid.definition_cid),
                str(unpaid.result_cid),
                str(running.definition_cid),
                str(files),
                "busybox",
                resolved,
                f"{running.address}-{running.queued_slot}",
            } <= needed
            assert things.gone == ["too much"]
            assert (world.data_dir / "runs" / f"{running.address}-{running.queued_slot}").is_dir()
            assert node.manager.status()["active_jobs"] == 1


async def test_folders_that_runs_have_left_go_first_when_room_is_short(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(math.inf)
        async with worker(world, disk_quota_bytes=4 << 20) as node:
            posted = await world.post()
            await node.until_said(RunStarted)
            left = world.data_dir / "runs" / "left-1"
            (left / "workspace").mkdir(parents=True)
            (left / "workspace" / "big").write_bytes(b"x" * (5 << 20))
            await asyncio.sleep(61)
            assert not left.exists()
            assert (await world.client.job(posted.address)).state is JobState.RUNNING
            assert node.manager.status()["refuses"] is None


async def test_when_running_jobs_fill_the_disk_the_youngest_is_given_back(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        things = shelf(world, tmp_path, cache=(1, 1))
        things.sizes["cache"] = GIB // 4
        world.behave = lambda _: MockRun(math.inf)
        async with worker(world, disk_reserve_bytes=RESERVE, capacity=2) as node:
            first = await world.post(model="first")
            await world.until(first.address, JobState.RUNNING)
            second = await world.post(model="second")
            await world.until(second.address, JobState.RUNNING)
            set_free(world, RESERVE // 8)
            released = await node.until_said(RunReleased, timeout_s=20)
            assert things.gone == ["cache"], "room is made before a job is given up"
            assert (released.job, released.reason) == (second.address, Reason.NODE_FAULT)
            set_free(world, RESERVE)
            await asyncio.sleep(10)
            assert (await world.client.job(first.address)).state is JobState.RUNNING
            (folder,) = (world.data_dir / "runs").iterdir()
            assert folder.name.startswith(str(first.address)), "the other's workspace was deleted"
