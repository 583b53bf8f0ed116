"""The providers under test, each behind a harness, and a check that each test leaves nothing behind."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hypernode_worker.core.foreign_tree import delete_tree
from hypernode_worker.core.ports import ContainerProvider
from hypernode_worker.providers import process_sandbox
from hypernode_worker.providers.docker_provider import DockerProvider
from hypernode_worker.providers.mock import MockEngine, MockProvider
from hypernode_worker.providers.process_provider import ProcessProvider
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
        return DockerProvider(max_workspace_files=2000, local_images=[IMAGE])

    def leftovers(self, node: str) -> list[str]:
        return docker_leftovers(node)


class ProcessHarness:
    """Processes in a sandbox, or without one."""

    image: str | None = None

    def __init__(self, folder: Path, *, kind: str) -> None:
        self.kind = kind
        self._folder = folder

    def open(self) -> ContainerProvider:
        return ProcessProvider(
            state_dir=self._folder, allow_unisolated=self.kind == "unisolated", max_workspace_files=2000
        )

    def leftovers(self, node: str) -> list[str]:
        supervisors = [
            f"process {process.pid}"
            for process in psutil.process_iter(["cmdline"])
            if str(self._folder) in " ".join(process.info["cmdline"] or [])
        ]
        return supervisors + [entry.name for entry in self._folder.glob("hypernode-*")]


HARNESSES: dict[str, Callable[[Path], Harness]] = {
    "mock": MockHarness,
    "docker": DockerHarness,
    "process": lambda folder: ProcessHarness(folder, kind="process"),
    "unisolated": lambda folder: ProcessHarness(folder, kind="unisolated"),
}


@pytest.fixture(scope="session")
def busybox() -> str:
    import_busybox()
    return IMAGE


def _not_found(program: str) -> None:
    """shutil.which where nothing is installed."""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own: an unprivileged job without a sandbox must."""
    folder = Path(tempfile.mkdtemp(prefix="hypernode-runs-"))
    folder.chmod(0o755)
    yield folder
    delete_tree(folder)


@pytest.fixture(
    params=[
        "mock",
        "unisolated",
        pytest.param("process", marks=pytest.mark.bubblewrap),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    kind: str = request.param
    if kind == "docker":
        request.getfixturevalue("busybox")
    harness = HARNESSES[kind](tmp_path / "state")
    provider = harness.open()
    if kind == "unisolated":
        monkeypatch.setattr(process_sandbox.shutil, "which", _not_found)  # as on a machine without bubblewrap
    await provider.check()
    bench = Bench(harness, provider, open_folder)
    if harness.image is not None:
        bench.image = await provider.prepare(harness.image, timeout_s=10)
    yield bench
    for handle in bench.made:
        await bench.provider.remove(handle)
    left = harness.leftovers(bench.node)
    await bench.provider.close()
    assert not left, f"left behind: {left}"
    threads = [t.name for t in threading.enumerate() if t.name.startswith(("follow-", "pull-"))]
    assert not threads, f"threads left behind: {threads}"
