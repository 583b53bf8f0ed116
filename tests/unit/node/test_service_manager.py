"""What systemd hears, over a real datagram socket: readiness, state, signs of life, and more time while draining."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.events import RunStarted, WorkerDraining, WorkerStarted
from hypernode_worker.errors import ConfigError
from hypernode_worker.node.service_manager import ServiceManager
from hypernode_worker.providers.mock import MockRun
from tests.support.worker import World, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]


class Systemd:
    """The receiving end, as a service manager has it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        """All messages since the last look."""
        found: list[dict[str, str]] = []
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in text.split("\n")))

    async def listen(self, seconds: int) -> list[dict[str, str]]:
        """All messages of this time; the kernel keeps no more than ten of them."""
        found: list[dict[str, str]] = []
        for _ in range(seconds // 10):
            await asyncio.sleep(10)
            found += self.heard()
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    manager = Systemd(str(tmp_path / "notify") if request.param == "path" else f"@hypernode-test-{uuid.uuid4().hex}")
    yield manager
    manager.close()


def service(systemd: Systemd, watchdog_s: float | None = None) -> ServiceManager:
    environment = {"NOTIFY_SOCKET": systemd.address}
    if watchdog_s is not None:
        environment |= {"WATCHDOG_USEC": str(int(watchdog_s * 1e6)), "WATCHDOG_PID": str(os.getpid())}
    return ServiceManager.of(environment)


def test_the_variables_are_taken_out_of_the_environment() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid()), "PATH": "/"}
    found = ServiceManager.of(environment)
    assert environment == {"PATH": "/"}
    assert found.watchdog_s == 1.0


@pytest.mark.parametrize(
    "asked", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}]
)
def test_without_a_watchdog_for_this_process_none_is_fed(asked: dict[str, str]) -> None:
    assert ServiceManager.of({"NOTIFY_SOCKET": "/run/x", **asked}).watchdog_s is None


def test_a_socket_that_is_none_is_a_mistake_of_the_service() -> None:
    with pytest.raises(ConfigError, match="NOTIFY_SOCKET"):
        ServiceManager.of({"NOTIFY_SOCKET": "vsock:2:1234"})


async def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    alone = ServiceManager.of({"WATCHDOG_USEC": "1000"})
    alone.tell(READY=1)
    alone.hear(WorkerStarted(auto_accept=True, capacity=1))
    await alone.keep_told(dict, lambda: True)  # returns at once


async def test_a_manager_that_is_gone_or_deaf_is_no_trouble(systemd: Systemd) -> None:
    told = service(systemd)
    for _ in range(10_000):  # more than a socket's queue holds
        told.tell(STATUS="x" * 1000)
    systemd.close()
    told.tell(STATUS="x")


async def test_a_value_stays_one_line(systemd: Systemd) -> None:
    service(systemd).tell(STATUS="of a stranger:\nREADY=1")
    assert systemd.heard() == [{"STATUS": "of a stranger: READY=1"}]


async def test_it_is_told_when_a_worker_is_ready_and_when_it_drains(worlds: Worlds, systemd: Systemd) -> None:
    told = service(systemd, watchdog_s=30)
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=300)
        async with worker(world, listeners=[told.hear], drain_timeout_s=None) as node:
            telling = asyncio.create_task(told.keep_told(node.manager.status, node.manager.is_well))
            assert systemd.heard() == [{"READY": "1", "STATUS": "Watching for jobs."}]
            posted = await world.post()
            await node.until_said(RunStarted)
            await asyncio.sleep(25)
            beats = systemd.heard()
            assert len(beats) == 2, "three within the watchdog's time"
            assert beats[-1] == {"STATUS": "running, 1 of 1 jobs", "WATCHDOG": "1"}
            node.manager.request_stop()
            await node.until_said(WorkerDraining)
            assert systemd.heard() == [{"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "60000000"}]
            beats = await systemd.listen(200)
            assert len(beats) == 20
            assert beats[-1] == {
                "STATUS": "draining, 1 of 1 jobs",
                "EXTEND_TIMEOUT_USEC": "60000000",
                "WATCHDOG": "1",
            }
            await world.until(posted.address, JobState.SETTLED)
            await node.task
            telling.cancel()


async def test_the_watchdog_starves_when_an_idle_worker_hears_nothing(worlds: Worlds, systemd: Systemd) -> None:
    told = service(systemd, watchdog_s=60)
    async with worlds() as world:
        transport = world.chain.transport()
        async with worker(world, wallet=world.chain.client(transport=transport), health_interval_s=60) as node:
            telling = asyncio.create_task(told.keep_told(node.manager.status, node.manager.is_well))
            await asyncio.sleep(100)
            assert all("WATCHDOG" in beat for beat in systemd.heard())
            transport.down = True
            beats = await systemd.listen(1000)
            assert "WATCHDOG" in beats[50], "one look that fails isn't the end"
            assert "WATCHDOG" not in beats[-1]
            telling.cancel()


async def test_a_silent_chain_is_no_reason_while_a_job_runs(worlds: Worlds) -> None:
    async with worlds(heartbeat_timeout=0) as world:
        world.behave = lambda _: MockRun(math.inf)
        transport = world.chain.transport()
        async with worker(world, wallet=world.chain.client(transport=transport)) as node:
            await world.post(timeout=36_000)
            await node.until_said(RunStarted)
            transport.down = True
            await asyncio.sleep(3000)
            assert node.manager.is_well(), "without its worker a container has nobody who bounds its disk"


async def test_a_worker_whose_machine_no_longer_answers_is_not_well(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worlds() as world, worker(world) as node:
        await asyncio.sleep(1)
        monkeypatch.setattr(world.hardware, "usage", lambda: asyncio.sleep(math.inf))
        await asyncio.sleep(500)
        assert node.manager.is_well()
        await asyncio.sleep(300)
        assert not node.manager.is_well()
        node.task.cancel()
        await asyncio.wait([node.task])
