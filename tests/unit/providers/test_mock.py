"""The mock: hours pass at once in virtual time, and each call fails when it is told to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hypernode_worker.core.ports import ContainerSpec, ExitReason, Limits
from hypernode_worker.errors import ImageUnavailable, ProviderDown
from hypernode_worker.providers.mock import MockProvider, MockRun

pytestmark = pytest.mark.looptime


def spec_in(folder: Path) -> ContainerSpec:
    (folder / "workspace").mkdir(exist_ok=True)
    limits = Limits(1000, 1.0, 1, 1000, 1000)
    command = ("python", "train.py")
    return ContainerSpec(
        "job", "node", "run", 0, "image", command, "/workspace", folder / "workspace", folder / "log", limits
    )


async def test_an_hour_of_work(tmp_path: Path) -> None:
    provider = MockProvider(lambda _: MockRun(seconds=3600, files={"output/a": b"done"}), unix_time=lambda: 1000.0)
    spec = spec_in(tmp_path)
    handle = await provider.start(spec)
    await asyncio.sleep(3599)
    assert [found.running for found in await provider.containers("node")] == [True]
    assert not (spec.workspace / "output").exists()
    ended = await provider.wait(handle)
    assert (ended.exit_code, ended.started_at, ended.ended_at) == (0, 1000.0, 4600.0)
    assert (spec.workspace / "output/a").read_bytes() == b"done"


async def test_the_default_prints_its_command_and_succeeds(tmp_path: Path) -> None:
    provider = MockProvider()
    ended = await provider.wait(await provider.start(spec_in(tmp_path)))
    assert (ended.exit_code, (tmp_path / "log").read_text()) == (0, "python train.py\n")


async def test_stop_takes_the_grace_of_what_does_not_listen(tmp_path: Path) -> None:
    provider = MockProvider(lambda _: MockRun(seconds=3600, ignores_term=True))
    handle = await provider.start(spec_in(tmp_path))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await provider.stop(handle, grace_s=30)
    assert loop.time() - begun == pytest.approx(30)
    assert (await provider.wait(handle)).reason is ExitReason.STOPPED


async def test_a_stop_wakes_those_who_wait(tmp_path: Path) -> None:
    provider = MockProvider(lambda _: MockRun(seconds=float("inf")))
    handle = await provider.start(spec_in(tmp_path))
    waiting = asyncio.create_task(provider.wait(handle))
    await asyncio.sleep(10)
    await provider.stop(handle, grace_s=0)
    assert (await waiting).exit_code == 143


@pytest.mark.parametrize("method", ["check", "has_image", "prepare", "start", "wait", "stop", "remove", "containers"])
async def test_each_call_fails_once_when_told_to(tmp_path: Path, method: str) -> None:
    provider = MockProvider()
    spec = spec_in(tmp_path)
    handle = await provider.start(spec)
    calls = {
        "check": provider.check,
        "has_image": lambda: provider.has_image("a"),
        "prepare": lambda: provider.prepare("a", timeout_s=1),
        "start": lambda: provider.start(spec),
        "wait": lambda: provider.wait(handle),
        "stop": lambda: provider.stop(handle, grace_s=0),
        "remove": lambda: provider.remove(handle),
        "containers": lambda: provider.containers("node"),
    }
    provider.engine.fail(method, ProviderDown("the engine is away: wait"))
    with pytest.raises(ProviderDown):
        await calls[method]()
    await calls[method]()


async def test_images(tmp_path: Path) -> None:
    provider = MockProvider(pull_seconds=60)
    assert not await provider.has_image("a/b:1")
    pinned = await provider.prepare("a/b:1", timeout_s=600)
    assert await provider.prepare("a/b:1", timeout_s=600) == pinned
    assert provider.engine.pulled == ["a/b:1"]
    with pytest.raises(ImageUnavailable):
        await provider.prepare("missing/image", timeout_s=600)
