"""The control socket: what `status`, `stop`, `jobs` and `take` say to a worker, and who may."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from hypernode_worker.cli.status_text import status_text
from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.events import CandidateFound
from hypernode_worker.errors import ConfigError, PermanentError
from hypernode_worker.node import control_server as server_module
from hypernode_worker.node.control_client import SOCKET_NAME, call, wait_until_gone
from hypernode_worker.node.control_server import control_server
from tests.support.inprocess import NAME, failover
from tests.support.worker import World, open_world, worker

Worlds = Callable[..., AbstractAsyncContextManager[World]]


async def ask(data_dir: Path, command: str, **arguments: Any) -> dict[str, object]:
    return await asyncio.to_thread(lambda: call(data_dir, command, **arguments))


async def echo(arguments: Mapping[str, object]) -> dict[str, object]:
    return {"given": arguments.get("word")}


async def refuse(_: Mapping[str, object]) -> dict[str, object]:
    raise PermanentError("No, for a reason.")


async def fail(_: Mapping[str, object]) -> dict[str, object]:
    raise RuntimeError("a secret detail")


COMMANDS = {"echo": echo, "refuse": refuse, "fail": fail}


@pytest.mark.parametrize("depth", [0, 12])
async def test_commands_are_answered(tmp_path: Path, depth: int) -> None:
    folder = tmp_path.joinpath(*["a-rather-long-name"] * depth)  # longer than the path that a socket may have
    folder.mkdir(parents=True, exist_ok=True)
    async with control_server(folder, COMMANDS):
        assert stat.S_IMODE((folder / SOCKET_NAME).stat().st_mode) == 0o600
        assert await ask(folder, "echo", word="ä") == {"given": "ä"}
        with pytest.raises(PermanentError, match="for a reason"):
            await ask(folder, "refuse")
        with pytest.raises(PermanentError, match="log says why") as error:
            await ask(folder, "fail")
        assert "secret" not in str(error.value)
        with pytest.raises(PermanentError, match="knows no command"):
            await ask(folder, "dance")
    assert not (folder / SOCKET_NAME).exists()


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b'{"v":2,"command":"echo"}\n', b'{"command":"echo"}\n'])
async def test_other_versions_and_nonsense_are_refused(tmp_path: Path, line: bytes) -> None:
    async with control_server(tmp_path, COMMANDS):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(line)
        assert json.loads(await reader.readline())["ok"] is False
        writer.close()
        await writer.wait_closed()


async def test_an_endless_request_is_cut_off(tmp_path: Path) -> None:
    async with control_server(tmp_path, COMMANDS):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(b"x" * 200_000)
        assert await reader.read() == b""
        writer.close()
        assert await ask(tmp_path, "echo", word=1) == {"given": 1}


async def test_another_user_gets_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def nobody(_: object) -> bool:
        return False

    monkeypatch.setattr(server_module, "_is_allowed", nobody)
    async with control_server(tmp_path, COMMANDS):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        assert await reader.read() == b""
        writer.close()


def test_without_a_worker_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hypernode-worker start"):
        call(tmp_path, "status")
    with socket.socket(socket.AF_UNIX) as left:  # as a killed worker leaves it
        left.bind(str(tmp_path / SOCKET_NAME))
    with pytest.raises(ConfigError, match="hypernode-worker start"):
        call(tmp_path, "status")
    assert wait_until_gone(tmp_path, timeout_s=1)


async def test_a_client_waits_until_the_worker_is_gone(tmp_path: Path) -> None:
    async with control_server(tmp_path, COMMANDS):
        assert not await asyncio.to_thread(lambda: wait_until_gone(tmp_path, timeout_s=0.2))
        waiting = asyncio.create_task(asyncio.to_thread(lambda: wait_until_gone(tmp_path, timeout_s=20)))
        await asyncio.sleep(0.1)
    assert await waiting


async def test_a_worker_is_asked_told_and_stopped(tmp_path: Path) -> None:
    """In real time, for the other side is another process's."""
    async with open_world(tmp_path / "data") as world, worker(world, auto_accept=False) as node:
        status = await ask(world.data_dir, "status")
        assert json.loads(json.dumps(status)) == status
        assert status["state"] == "running"
        assert status["wallet"] == str(node.chain.wallet)
        posted = await world.post()
        await node.until_said(CandidateFound)
        listed = await ask(world.data_dir, "jobs")
        await _assert_rpc_is_shown(world)
        assert [job["job"] for job in listed["candidates"]] == [str(posted.address)]  # pyright: ignore[reportIndexIssue,reportGeneralTypeIssues,reportUnknownVariableType]
        assert (await ask(world.data_dir, "take", job=str(posted.address)))["price"] == 100
        await world.until(posted.address, JobState.SETTLED)
        with pytest.raises(PermanentError, match="no address"):
            await ask(world.data_dir, "take", job="nonsense")
        with pytest.raises(PermanentError, match="queued"):
            await ask(world.data_dir, "take", job=str(posted.address))
        assert (await ask(world.data_dir, "stop"))["state"] == "draining"
        assert await asyncio.to_thread(lambda: wait_until_gone(world.data_dir, timeout_s=20))
        await node.task


async def _assert_rpc_is_shown(world: World) -> None:
    status = await ask(world.data_dir, "status")
    rpc: Any = status["rpc"]
    assert (rpc["endpoint"], rpc["subscribed"], rpc["trouble"]) == (NAME, True, None)
    assert rpc["last_slot"] > 0
    assert rpc["calls"]["programSubscribe"] == 1
    chain_line = next(line for line in status_text(status).splitlines() if line.startswith("chain"))
    assert NAME in chain_line
    assert f"{sum(rpc['calls'].values())} calls" in chain_line


@pytest.mark.looptime
async def test_status_tells_which_endpoints_are_left_alone_and_why(worlds: Worlds) -> None:
    async with worlds() as world:
        endpoints = world.chain.endpoints(2)
        async with worker(world, wallet=world.chain.client(transport=failover(endpoints))) as node:
            assert "left alone" not in status_text(json.loads(json.dumps(node.manager.status())))
            endpoints[0].down = True
            await asyncio.sleep(70)
            status = json.loads(json.dumps(node.manager.status()))
            first, second = status["rpc"]["endpoints"]
            assert (first["in_use"], second["in_use"], second["trouble"]) == (False, True, None)
            line = next(line for line in status_text(status).splitlines() if line.startswith("left alone"))
            assert "http://endpoint-1 for " in line
            assert "http://endpoint-1 is down" in line
