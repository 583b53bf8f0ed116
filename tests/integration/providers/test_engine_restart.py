"""The engine goes away while a job runs and comes back: the run goes on, and its log has neither gap nor repeat.

A proxy in front of the engine's socket cuts every connection and refuses new ones, as a restart with live-restore does;
the engine itself is shared, and stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.events import OperationStarted
from hypernode_worker.errors import ProviderDown
from hypernode_worker.providers.docker_provider import DockerProvider
from tests.support.providers import IMAGE, Bench, Program, docker_leftovers, until_logged
from tests.support.worker import open_world, worker

pytestmark = pytest.mark.docker

ENGINE = "/var/run/docker.sock"
SLOW_COUNT = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; sleep 0.1; done; exit 5"


class Proxy:
    """A unix socket that passes all on to the engine's, until it is cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self.path)

    async def cut(self) -> None:
        """Ends every connection, and takes no more."""
        assert self._server is not None
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            there_reader, there_writer = await asyncio.open_unix_connection(ENGINE)
            both = [self._pipe(reader, there_writer), self._pipe(there_reader, writer)]
            tasks = [asyncio.create_task(each) for each in both]
            self._pipes.update(tasks)
            await asyncio.wait(tasks)
            for end in (writer, there_writer):
                end.close()
            self._pipes.difference_update(tasks)

    @staticmethod
    async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


@pytest.fixture
async def proxy(open_folder: Path, busybox: str) -> AsyncIterator[Proxy]:
    opened = Proxy(open_folder / "engine.sock")
    await opened.open()
    yield opened
    await opened.cut()


class ThroughProxy:
    kind = "docker"
    image: str | None = IMAGE

    def __init__(self, url: str) -> None:
        self.url = url

    def open(self) -> DockerProvider:
        return DockerProvider(url=self.url, local_images=[IMAGE])

    def leftovers(self, node: str) -> list[str]:
        return docker_leftovers(node)


async def test_the_provider_says_that_the_engine_is_gone_and_finds_the_container_again(
    proxy: Proxy, open_folder: Path
) -> None:
    harness = ThroughProxy(proxy.url)
    bench = Bench(harness, harness.open(), open_folder)
    bench.image = await bench.provider.prepare(IMAGE, timeout_s=10)
    spec = bench.spec(Program(SLOW_COUNT))
    handle = await bench.start(spec)
    try:
        await until_logged(spec, b"line 3\n")
        await proxy.cut()
        with pytest.raises(ProviderDown):
            await asyncio.wait_for(bench.provider.wait(handle), 10)
        with pytest.raises(ProviderDown):
            await bench.provider.containers(bench.node)
        await asyncio.sleep(1)
        await proxy.open()
        ended = await asyncio.wait_for(bench.provider.wait(handle), 20)
        assert ended.exit_code == 5
        assert spec.log_path.read_text() == "".join(f"line {number}\n" for number in range(1, 31))
    finally:
        await bench.provider.remove(handle)
        await bench.provider.close()
    assert not docker_leftovers(bench.node)


async def test_a_job_is_settled_although_the_engine_was_away_while_it_ran(proxy: Proxy, tmp_path: Path) -> None:
    async with open_world(tmp_path / "data") as world:
        runtime = world.runtime = DockerProvider(url=proxy.url, local_images=[IMAGE])
        try:
            async with worker(world) as node:
                operations = [{"command": "sleep 3; echo done"}, {"command": "echo second"}]
                posted = await world.post(operations=operations, image=IMAGE, timeout=120)
                await node.until_said(OperationStarted, timeout_s=30)
                await asyncio.sleep(0.5)
                await proxy.cut()
                await asyncio.sleep(5)  # it ends meanwhile
                await proxy.open()
                job = await world.until(posted.address, JobState.SETTLED, timeout_s=40)
                assert job.exit_status == 0
                manifest = await world.manifest(job, node.chain, tmp_path / "result")
                assert [operation.exit_code for operation in manifest.operations] == [0, 0]
                assert (tmp_path / "result" / "logs" / "00.log").read_text() == "done\n"
                node_address = str(node.node)
            assert not docker_leftovers(node_address)
        finally:
            await runtime.close()
