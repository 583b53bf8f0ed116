"""A disk that fills up while a job runs, on a small disk of its own: the job goes back, and nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hypernode_worker.core.accounts import Job, JobState, Reason
from hypernode_worker.core.events import OperationStarted, RunReleased
from hypernode_worker.hardware.host import HostHardware
from hypernode_worker.providers.process_provider import ProcessProvider
from tests.support.worker import Worker, World, open_world, worker

pytestmark = pytest.mark.bubblewrap

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=755", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a file system can be mounted by root only ({mounted.stderr.decode().strip()[:100]})")
    yield folder
    subprocess.run(["umount", folder], check=True)


@asynccontextmanager
async def running(small_disk: Path, command: str, reserve: int) -> AsyncGenerator[tuple[World, Worker, Job]]:
    """A worker on the small disk with a job that has begun."""
    async with open_world(small_disk / "data") as world:
        runtime = world.runtime = ProcessProvider(state_dir=small_disk.parent / "provider")
        hardware = HostHardware(small_disk)
        world.hardware.disk_free = hardware.disk_free
        try:
            async with worker(world, disk_reserve_bytes=reserve) as node:
                needs = {"requirements": {"trust": "low"}, "image": None, "timeout": 120}
                posted = await world.post({**needs, "operations": [{"command": command}]})
                await node.until_said(OperationStarted, timeout_s=30)
                yield world, node, posted
        finally:
            await runtime.close()
            await hardware.close()


def fill(disk: Path) -> Path:
    """Takes all that is free."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(MIB))
        except OSError:
            pass
    assert os.statvfs(disk).f_bavail == 0
    return ballast


async def test_a_job_that_fails_for_want_of_disk_is_not_billed(small_disk: Path) -> None:
    command = "sleep 2; dd if=/dev/zero of=big bs=65536 count=64"
    async with running(small_disk, command, 0) as (world, node, posted):
        ballast = fill(small_disk)
        released = await node.until_said(RunReleased, timeout_s=30)
        assert released.reason is Reason.NODE_FAULT
        seen = await world.client.job(posted.address)
        assert (seen.state, seen.paid) == (JobState.QUEUED, 0)
        await asyncio.sleep(0.5)
        assert list((world.data_dir / "runs").iterdir()) == []
        assert not await world.provider().containers(str(node.node))
        ballast.unlink()


async def test_a_run_ends_before_the_disk_is_full_and_claims_are_refused_until_there_is_room(small_disk: Path) -> None:
    async with running(small_disk, "sleep 100", 8 * MIB) as (world, node, posted):
        ballast = fill(small_disk)
        released = await node.until_said(RunReleased, timeout_s=30)
        assert released.reason is Reason.NODE_FAULT
        await asyncio.sleep(0.5)
        assert list((world.data_dir / "runs").iterdir()) == []
        assert "reserve" in str(node.manager.status()["refuses"])
        ballast.unlink()
        assert node.manager.status()["refuses"] is None
        assert (await world.client.job(posted.address)).attempts == 1
