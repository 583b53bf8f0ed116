"""A worker with real containers and the embedded store: every way in which a job ends, and nothing left behind."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.events import RunStarted
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import ContainerProvider
from hypernode_worker.ipfs import open_store
from hypernode_worker.providers.docker_provider import DockerProvider
from hypernode_worker.providers.process_provider import ProcessProvider
from tests.support.providers import IMAGE, docker_leftovers, import_busybox
from tests.support.worker import World, open_world, worker

Opener = Callable[[], AbstractAsyncContextManager[World]]


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("process", marks=pytest.mark.bubblewrap),
    ]
)
def real_world(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """A world whose containers and content are real."""

    def provider() -> ContainerProvider:
        if request.param == "docker":
            import_busybox()
            return DockerProvider(local_images=[IMAGE])
        return ProcessProvider(state_dir=tmp_path / "provider")

    @asynccontextmanager
    async def opened() -> AsyncGenerator[World]:
        async with open_world(tmp_path / "data") as world:
            runtime = provider()
            world.runtime, world.store = runtime, open_store(blocks_dir=tmp_path / "blocks")
            try:
                yield world
            finally:
                await runtime.close()
                await world.store.close()

    return opened


def definition(world: World, *commands: Any, **more: Any) -> dict[str, Any]:
    assert world.runtime is not None
    image = {"image": IMAGE} if world.runtime.capabilities.images else {"image": None}
    operations = [{"command": command} for command in commands]
    needs = {"trust": "low"}  # without images and a kernel boundary a node has no more
    return {"operations": operations, "timeout": 120, "requirements": needs, **image, **more}


async def leftovers(world: World, node: Pubkey) -> list[str]:
    assert world.runtime is not None
    found = [container.id for container in await world.runtime.containers(str(node))]
    return found + (docker_leftovers(str(node)) if world.runtime.name == "docker" else [])


async def test_jobs_of_every_kind_are_settled(real_world: Opener, tmp_path: Path) -> None:
    commands: dict[str, tuple[list[Any], RunOutcome, int]] = {
        "good": (["cat input.json; cat given; echo made > $OUTPUT_DIR/made", "test -f given"], RunOutcome.COMPLETED, 0),
        "failing": (["echo before; exit 9", "echo never"], RunOutcome.FAILED, 9),
        "missing": ([["/no/such/command"]], RunOutcome.COMMAND_MISSING, 127),
        "chatty": (["yes"], RunOutcome.LOG_LIMIT, 153),
        "greedy": (["dd if=/dev/zero of=/workspace/big bs=65536 count=4096"], RunOutcome.WORKSPACE_FULL, 154),
    }
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "given").write_text("given\n")
    async with real_world() as world, worker(world) as node:
        files = str(await world.store.add_path(folder))
        for name, (lines, outcome, exit_status) in commands.items():
            given = definition(world, *lines, files=files, input={"n": 1})
            posted = await world.post(given)
            job = await world.until(posted.address, JobState.SETTLED, timeout_s=60)
            manifest = await world.manifest(job, node.chain, tmp_path / name)
            if manifest.outcome is RunOutcome.FAILED and name in ("missing", "greedy"):
                # By its exit code: the runtime started before it looked for the command, and a limit for one file's
                # size ended dd before the watchdog looked.
                assert job.exit_status == 127 if name == "missing" else job.exit_status != 0
                continue
            assert (manifest.outcome, job.exit_status) == (outcome, exit_status), (name, manifest.message)
            assert job.paid + job.fee + job.refunded == job.deposit
        assert (tmp_path / "good" / "output" / "made").read_text() == "made\n"
        assert (tmp_path / "good" / "logs" / "00.log").read_text() == '{"n": 1}given\n'
        await asyncio.sleep(0.5)
        assert await leftovers(world, node.node) == []
        assert list((world.data_dir / "runs").iterdir()) == []


async def test_a_run_that_is_given_up_leaves_nothing(real_world: Opener) -> None:
    async with real_world() as world:
        async with worker(world) as node:
            posted = await world.post(definition(world, "sleep 600"))
            await node.until_said(RunStarted, timeout_s=30)
            await asyncio.sleep(1)
            await node.stop(now=True, timeout_s=60)
            assert (await world.client.job(posted.address)).state is JobState.QUEUED
        assert await leftovers(world, node.node) == []
        shutil.rmtree(world.data_dir / "runs")
