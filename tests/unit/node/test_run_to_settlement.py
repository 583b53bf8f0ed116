"""A job from the queue to its settlement: the good way, and each way in which a client's mistake ends it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.events import RunClaimed, RunSettled
from hypernode_worker.core.manifest import Manifest
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import ContainerSpec
from hypernode_worker.errors import StartFailed
from hypernode_worker.providers.mock import MockRun
from tests.support.worker import LIMITS, MIB, World, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]


async def settle(world: World, folder: Path, **definition: Any) -> tuple[Job, Manifest]:
    """Posts a job to a new worker and gives it with its verified manifest; nothing may be left behind."""
    async with worker(world, allow_network=True) as node:
        posted = await world.post(definition)
        job = await world.until(posted.address, JobState.SETTLED, timeout_s=3600)
        manifest = await world.manifest(job, node.chain, folder)
        await node.until_said(RunSettled)
    assert not world.engine.held
    assert list((world.data_dir / "runs").iterdir()) == []
    assert job.paid + job.fee + job.refunded == job.deposit
    assert job.result_hash == manifest.result_hash
    assert manifest.exit_status == job.exit_status
    return job, manifest


async def test_a_job_is_run_and_paid(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=3, output=b"hello\n", files={"output/a.txt": b"result"})
        job, manifest = await settle(world, tmp_path / "result")
    assert job.exit_status == 0
    assert 2 <= job.used <= 5  # the chain counts whole seconds, slot by slot
    assert manifest.outcome is RunOutcome.COMPLETED
    assert manifest.image is not None
    assert "@sha256:" in manifest.image.resolved
    assert (tmp_path / "result" / "output" / "a.txt").read_bytes() == b"result"
    assert (tmp_path / "result" / "logs" / "00.log").read_bytes() == b"hello\n"


async def test_what_is_here_already_is_claimed_and_begun_in_one_transaction(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        first = await world.post()
        await world.until(first.address, JobState.SETTLED)
        second = await world.post()
        await world.until(second.address, JobState.SETTLED)
        assert [event.begun for event in node.said(RunClaimed)] == [False, True]
        assert len(world.engine.pulled) == 1


async def test_a_run_sees_files_input_and_environment(worlds: Worlds, tmp_path: Path) -> None:
    seen: list[ContainerSpec] = []

    def look(spec: ContainerSpec) -> MockRun:
        seen.append(spec)
        assert (spec.workspace / "inference.py").read_text() == "print(1)"
        assert (spec.workspace / "input.json").read_text() == '{"prompt": "ä"}'
        assert (spec.workspace / "output").is_dir()
        assert (spec.workspace / "deep" / "er").is_dir()
        return MockRun()

    async with worlds() as world:
        world.behave = look
        cid = await world.files(tmp_path / "files", inference__py="print(1)")
        await settle(
            world,
            tmp_path / "result",
            files=str(cid),
            input={"prompt": "ä"},
            model="llama",
            env={"A": "job", "B": "job"},
            operations=[
                {"command": "python inference.py", "env": {"B": "operation"}},
                {"command": ["python", "-V"], "workdir": "/workspace/deep/er"},
            ],
        )
    first, second = seen
    assert first.command == ("/bin/sh", "-c", "python inference.py")
    assert second.command == ("python", "-V")
    assert second.workdir == "/workspace/deep/er"
    assert first.env["A"] == "job"
    assert first.env["B"] == "operation"
    assert second.env["B"] == "job"
    assert first.env["OUTPUT_DIR"] == "/workspace/output"
    assert first.env["HYPERNODE_JOB"] == first.job
    assert first.env["HYPERNODE_MODEL"] == "llama"
    assert first.limits == LIMITS
    assert not first.network


@pytest.mark.parametrize(("allowed", "wanted", "expected"), [(True, True, True), (True, False, False)])
async def test_network_needs_market_operator_and_job(
    worlds: Worlds, allowed: bool, wanted: bool, expected: bool
) -> None:
    seen: list[ContainerSpec] = []

    def look(spec: ContainerSpec) -> MockRun:
        seen.append(spec)
        return MockRun()

    async with worlds() as world:
        world.behave = look
        async with worker(world, allow_network=allowed):
            job = await world.post(requirements={"network": wanted})
            await world.until(job.address, JobState.SETTLED)
    assert seen[0].network is expected


async def test_a_failing_operation_ends_the_run_with_its_exit_code(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        world.behave = lambda spec: MockRun(exit_code=7 if spec.operation == 1 else 0, output=b"x")
        job, manifest = await settle(
            world, tmp_path / "result", operations=[{"command": "a"}, {"command": "b"}, {"command": "c"}]
        )
    assert (job.exit_status, manifest.outcome) == (7, RunOutcome.FAILED)
    assert [operation.exit_code for operation in manifest.operations] == [0, 7]
    assert "Operation 1" in manifest.message
    assert sorted(file.path for file in manifest.files) == ["logs/00.log", "logs/01.log"]


MISTAKES: list[tuple[MockRun | Exception, dict[str, Any], RunOutcome, int]] = [
    (MockRun(math.inf), {"timeout": 30}, RunOutcome.TIMED_OUT, 124),
    (MockRun(math.inf), {"operations": [{"command": "x", "timeout": 5}]}, RunOutcome.TIMED_OUT, 124),
    (MockRun(math.inf, memory_bytes=10**12), {}, RunOutcome.OUT_OF_MEMORY, 137),
    (MockRun(math.inf, output=b"x" * (2 * MIB)), {}, RunOutcome.LOG_LIMIT, 153),
    (MockRun(files={"big": b"x" * (20 * MIB)}), {}, RunOutcome.WORKSPACE_FULL, 154),
    (StartFailed("no such command: nope"), {}, RunOutcome.COMMAND_MISSING, 127),
    (MockRun(), {"image": "missing/image"}, RunOutcome.IMAGE_UNAVAILABLE, 125),
]


@pytest.mark.parametrize(("does", "definition", "outcome", "exit_status"), MISTAKES)
async def test_a_clients_mistake_ends_with_a_result_that_says_so(
    worlds: Worlds,
    tmp_path: Path,
    does: MockRun | Exception,
    definition: dict[str, Any],
    outcome: RunOutcome,
    exit_status: int,
) -> None:
    async with worlds() as world:
        if isinstance(does, Exception):
            world.engine.fail("start", does)
        else:
            world.behave = lambda _: does
        job, manifest = await settle(world, tmp_path / "result", **definition)
    assert manifest.outcome is outcome
    assert job.exit_status == exit_status
    assert manifest.message.endswith((".", "nope", "public"))
    if outcome is RunOutcome.IMAGE_UNAVAILABLE:
        assert job.used == 1


async def test_files_that_are_no_directory_end_the_job(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        cid = await world.store.add_bytes(b"a file")
        job, manifest = await settle(world, tmp_path / "result", files=str(cid))
    assert (job.exit_status, manifest.outcome) == (126, RunOutcome.FILES_INVALID)


async def test_links_and_special_files_are_left_out_of_a_result(worlds: Worlds, tmp_path: Path) -> None:
    def leave_links(spec: ContainerSpec) -> MockRun:
        (spec.workspace / "output" / "link").symlink_to("/etc/passwd")
        (spec.workspace / "output" / "good").write_text("good")
        return MockRun()

    async with worlds() as world:
        world.behave = leave_links
        _, manifest = await settle(world, tmp_path / "result")
    assert [file.path for file in manifest.files] == ["logs/00.log", "output/good"]
    assert "1 links" in manifest.message


async def test_an_output_that_became_a_link_is_not_followed(worlds: Worlds, tmp_path: Path) -> None:
    def swap(spec: ContainerSpec) -> MockRun:
        (spec.workspace / "output").rmdir()
        (spec.workspace / "output").symlink_to("/etc")
        return MockRun()

    async with worlds() as world:
        world.behave = swap
        _, manifest = await settle(world, tmp_path / "result")
    assert [file.path for file in manifest.files] == ["logs/00.log"]


async def test_too_much_output_leaves_the_logs(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(files={"output/big": b"x" * 2000}, output=b"log")
        async with worker(world, result_max_bytes=1000) as node:
            posted = await world.post()
            job = await world.until(posted.address, JobState.SETTLED)
            manifest = await world.manifest(job, node.chain, tmp_path / "result")
    assert (job.exit_status, manifest.outcome) == (155, RunOutcome.RESULT_TOO_LARGE)
    assert [file.path for file in manifest.files] == ["logs/00.log"]


async def test_several_jobs_are_run_within_the_capacity(worlds: Worlds) -> None:
    running: list[int] = []

    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=20)
        async with worker(world, capacity=2) as node:
            posted = [await world.post(price=100 + n) for n in range(5)]
            for job in posted:
                await world.until(job.address, JobState.SETTLED)
                running.append(len(node.manager.status()["runs"]))  # pyright: ignore[reportArgumentType]
            counts = node.manager.status()["counts"]
    assert max(running) <= 2
    assert counts == {"settled": 5, "failed": 0, "released": 0, "lost": 0, "not_claimed": 0}
