"""What a Docker engine's troubles are called, and what cure each names; no engine is needed."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from hypernode_worker.core.ports import ContainerSpec, Limits
from hypernode_worker.errors import ConfigError, ImageUnavailable, ProviderDown, StartFailed
from hypernode_worker.providers.docker_engine import DockerEngine
from hypernode_worker.providers.docker_follow import _unix_time  # pyright: ignore[reportPrivateUsage]
from hypernode_worker.providers.docker_provider import DockerProvider
from hypernode_worker.providers.docker_refusal import not_started
from hypernode_worker.providers.factory import open_provider

SPEC = ContainerSpec(
    "job", "node", "run", 0, "image", ("x",), "/workspace", Path("/w"), Path("/l"), Limits(1, 1.0, 1, 1, 1),
    gpus=("GPU-00000000-1111-2222-3333-444444444444",),
)  # fmt: skip


def refusal(status: int, words: str) -> Exception:
    from docker.errors import APIError

    class Response:
        status_code = status
        reason = "x"
        url = "x"

    make: Any = APIError
    return make("refused", response=Response(), explanation=words)


@pytest.mark.parametrize(
    ("status", "words", "expected", "cure"),
    [
        (404, "No such image: a:b", ImageUnavailable, "prepare it again"),
        (400, 'OCI runtime create failed: exec: "nope": executable file not found in $PATH', StartFailed, "command"),
        (500, 'OCI runtime create failed: exec: "/x": permission denied: unknown', StartFailed, "command"),
        (500, "exec format error", StartFailed, "image"),
        (500, 'could not select device driver "nvidia" with capabilities: [[gpu]]', ConfigError, "Toolkit"),
        (500, 'exec: "docker-init": executable file not found in $PATH', ConfigError, "tini"),
        (500, "no space left on device", ProviderDown, "no space left"),
        (409, "something else", ProviderDown, "something else"),
    ],
)
def test_why_a_container_did_not_start(status: int, words: str, expected: type[Exception], cure: str) -> None:
    found = not_started(DockerEngine(), refusal(status, words), SPEC)
    assert type(found) is expected
    assert cure in str(found)


async def test_no_engine(tmp_path: Path) -> None:
    provider = DockerProvider(url=f"unix://{tmp_path}/none.sock")
    with pytest.raises(ProviderDown, match="install Docker"):
        await provider.check()
    await provider.close()
    with pytest.raises(ProviderDown, match="closed"):
        await provider.check()


async def test_an_engine_that_does_not_listen(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "dead.sock"))
    provider = DockerProvider(url=f"unix://{tmp_path}/dead.sock")
    with pytest.raises(ProviderDown, match="systemctl start docker"):
        await provider.check()
    await provider.close()


def test_a_socket_that_denies_access() -> None:
    error = ConnectionError("Connection aborted.", PermissionError(13, "Permission denied"))
    assert "usermod -aG docker" in str(DockerEngine().translate(error))


async def test_an_engine_that_answers_nonsense(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, str(tmp_path / "odd.sock")):
        provider = DockerProvider(url=f"unix://{tmp_path}/odd.sock")
        with pytest.raises(ProviderDown, match="failed"):
            await provider.check()
        await provider.close()


@pytest.mark.parametrize("network", ["host", "", "container:x", "a b", "-x", "../x"])
def test_networks_that_jobs_never_get(network: str) -> None:
    with pytest.raises(ConfigError, match="network"):
        DockerProvider(network=network)


def test_times_of_engines() -> None:
    assert _unix_time("2026-11-22T18:00:00.5Z") == _unix_time("2026-11-22T20:00:00.500000000+02:00")
    assert _unix_time("2026-11-22T18:00:00Z") == 1795370400.0
    assert _unix_time("0001-01-01T00:00:00Z") == _unix_time(None) == _unix_time("soon") == 0.0


async def test_auto_takes_processes_where_no_engine_answers(tmp_path: Path) -> None:
    provider = await open_provider("auto", state_dir=tmp_path, docker_url=f"unix://{tmp_path}/none.sock")
    assert provider.name == "process"
    await provider.close()


async def test_kinds(tmp_path: Path) -> None:
    for kind in ("docker", "process", "mock"):
        provider = await open_provider(kind, state_dir=tmp_path)
        assert provider.name == kind
        await provider.close()
    odd: Any = "lxc"
    with pytest.raises(ConfigError, match="container runtime"):
        await open_provider(odd, state_dir=tmp_path)
