"""The providers under test, each behind a harness, and a check that each test leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hypernode_worker.core.ports import ContainerProvider
from hypernode_worker.providers.docker_provider import DockerProvider
from hypernode_worker.providers.mock import MockEngine, MockProvider
from hypernode_worker.providers.workspace import delete_tree
from tests.support.providers import IMAGE, PROGRAMS, Bench, Harness, docker_leftovers, import_busybox, script_of


class MockHarness:
    kind = "mock"
    image: str | None = IMAGE

    def __init__(self, folder: Path) -> None:
        self._engine = MockEngine()
        self._engine.images[IMAGE] = "hypernode-test/busybox@sha256:" + "1" * 64

    def open(self) -> ContainerProvider:
        return MockProvider(lambda spec: script_of(spec, PROGRAMS), engine=self._engine)

    def leftovers(self, node: str) -> list[str]:
        return [key for key, held in self._engine.held.items() if held.spec.node == node]


class DockerHarness:
    kind = "docker"
    image: str | None = IMAGE

    def __init__(self, folder: Path) -> None:
        pass

    def open(self) -> ContainerProvider:
        return DockerProvider(max_workspace_files=2000)

    def leftovers(self, node: str) -> list[str]:
        return docker_leftovers(node)


HARNESSES: dict[str, Callable[[Path], Harness]] = {"mock": MockHarness, "docker": DockerHarness}


@pytest.fixture(scope="session")
def busybox() -> str:
    import_busybox()
    return IMAGE


@pytest.fixture(
    params=["mock", pytest.param("docker", marks=pytest.mark.docker)],
)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    kind: str = request.param
    if kind == "docker":
        request.getfixturevalue("busybox")
    harness = HARNESSES[kind](tmp_path / "state")
    provider = harness.open()
    bench = Bench(harness, provider, tmp_path / "runs")
    if harness.image is not None:
        bench.image = await provider.prepare(harness.image, timeout_s=10)
    yield bench
    for handle in bench.made:
        await bench.provider.remove(handle)
    left = harness.leftovers(bench.node)
    await bench.provider.close()
    if bench.folder.exists():
        delete_tree(bench.folder)
    assert not left, f"left behind: {left}"
    threads = [t.name for t in threading.enumerate() if t.name.startswith(("follow-", "pull-"))]
    assert not threads, f"threads left behind: {threads}"
