"""Uploads that fail on the wire, and a disk that fills up: each is one clear error, and the same call then succeeds."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import (
    ConfigError,
    ContentInvalid,
    EndpointDown,
    HypernodeError,
    RateLimited,
    TransientError,
)
from hypernode_worker.ipfs import EmbeddedStore, LayeredStore, blocks, open_store, transport
from tests.support.ipfs_content import pattern
from tests.support.ipfs_servers import Answer, Request, answering, pinning_service, raw_server

MIB = 1 << 20


def result_in(folder: Path) -> Path:
    result = folder / "result"
    (result / "output").mkdir(parents=True)
    (result / "manifest.json").write_bytes(b"{}")
    (result / "output" / "big").write_bytes(pattern(3 * MIB))
    return result


@asynccontextmanager
async def kubo_store(folder: Path, url: str) -> AsyncGenerator[LayeredStore]:
    store = open_store(blocks_dir=folder / "blocks", kubo_url=url)
    try:
        yield store
    finally:
        await store.close()


def kubo(imported: Callable[[Request, asyncio.StreamWriter], Awaitable[None]] | None = None) -> Answer:
    """Kubo's answers to an import and a look at its pins; `imported` instead of the former."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if "dag/import" in request.target and imported is not None:
            await imported(request, writer)
            return
        if "dag/import" in request.target:
            root = Cid.from_bytes(request.body[request.body.index(b"\x58\x25\x00") + 3 :][:36])
            body = {"Root": {"Cid": {"/": str(root)}, "PinErrorMsg": ""}}
        else:
            body = {"Keys": {request.target.split("arg=")[1].split("&")[0]: {"Type": "recursive"}}}
        await answering(json.dumps(body).encode())(request, writer)

    return answer


async def silent(_request: Request, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def half_an_answer(_request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"Root"')


FAILURES: dict[str, tuple[Answer, type[HypernodeError]]] = {
    "500": (answering(b'{"Message":"disk on fire"}', "500 Internal Server Error"), EndpointDown),
    "502": (answering(b"", "502 Bad Gateway"), EndpointDown),
    "503": (answering(b"", "503 Service Unavailable"), EndpointDown),
    "429": (answering(b"", "429 Too Many Requests", Retry_After="7"), RateLimited),
    "401": (answering(b"", "401 Unauthorized"), ConfigError),
    "silence": (silent, EndpointDown),
    "half an answer": (half_an_answer, EndpointDown),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failed_upload_is_said_and_the_next_one_succeeds_from_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    monkeypatch.setattr(transport, "UPLOAD_IDLE_S", 0.5)
    answer, error = FAILURES[failure]
    result = result_in(tmp_path)
    async with raw_server(kubo(answer)) as server, kubo_store(tmp_path, server.url) as store:
        cid = await store.import_path(result)
        (result / "output" / "big").unlink()  # from here on only the blocks count
        with pytest.raises(error):
            await store.publish(cid)
        assert list(await store.unpublished()) == [cid]
    async with raw_server(kubo()) as server, kubo_store(tmp_path, server.url) as store:
        await store.publish(cid)
        assert await store.unpublished() == ()
        assert len(server.requests[0].body) > 3 * MIB


@pytest.mark.parametrize("how", ["reset", "stalled"])
async def test_a_connection_that_breaks_half_way_is_said_and_the_next_upload_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(transport, "UPLOAD_IDLE_S", 0.5)

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(MIB)
        if how == "stalled":
            await reading_goes_on.wait()
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    reading_goes_on = asyncio.Event()
    server = await asyncio.start_server(half, "127.0.0.1", 0, limit=MIB)
    try:
        async with kubo_store(tmp_path, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as store:
            result = result_in(tmp_path)
            (result / "output" / "large").write_bytes(pattern(32 * MIB))  # more than sockets hold
            cid = await store.import_path(result)
            with pytest.raises(EndpointDown, match="breaks off"):
                await store.publish(cid)
    finally:
        reading_goes_on.set()
        server.close()
        await server.wait_closed()
    async with raw_server(kubo()) as whole, kubo_store(tmp_path, whole.url) as store:
        assert list(await store.unpublished()) == [cid]
        await store.publish(cid)
        assert await store.unpublished() == ()


async def test_a_pinning_service_that_refuses_once_gets_the_same_files_later(tmp_path: Path) -> None:
    async with pinning_service(tmp_path / "there", token="right") as service:
        first = open_store(blocks_dir=tmp_path / "here", upload_url=service.url, upload_token="wrong")
        cid = await first.import_path(result_in(tmp_path))
        with pytest.raises(ConfigError, match="credentials"):
            await first.publish(cid)
        await first.close()
        second = open_store(blocks_dir=tmp_path / "here", upload_url=service.url, upload_token="right")
        await second.publish(*await second.unpublished())
        await second.close()
        assert service.pinned == {cid}
        assert len(service.uploads) == 1


async def test_blocks_that_are_gone_end_an_upload_for_good(tmp_path: Path) -> None:
    async with raw_server(kubo()) as server, kubo_store(tmp_path, server.url) as store:
        cid = await store.import_path(result_in(tmp_path))
        for path in (tmp_path / "blocks" / "blocks").rglob("*"):
            if path.is_file() and path.stat().st_size > 100_000:
                path.write_bytes(b"rotten")
        with pytest.raises(ContentInvalid, match="can't be uploaded"):
            await store.publish(cid)


async def test_with_this_machine_only_there_is_nothing_to_upload(tmp_path: Path) -> None:
    store = open_store(blocks_dir=tmp_path / "blocks")
    cid = await store.import_path(result_in(tmp_path))
    assert await store.has(cid)
    assert await store.unpublished() == ()
    await store.publish(cid)


def test_a_kill_after_the_import_leaves_the_upload_to_the_next_process(tmp_path: Path) -> None:
    result_in(tmp_path)
    code = (
        "import asyncio, os, signal, sys; from pathlib import Path; from hypernode_worker.ipfs import open_store\n"
        "folder = Path(sys.argv[1])\n"
        "store = open_store(blocks_dir=folder / 'blocks', kubo_url='http://127.0.0.1:9')\n"
        "print(asyncio.run(store.import_path(folder / 'result')), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    cid = Cid.parse(killed.stdout.strip())

    async def go_on() -> None:
        async with raw_server(kubo()) as server, kubo_store(tmp_path, server.url) as store:
            assert list(await store.unpublished()) == [cid]
            await store.publish(cid)

    asyncio.run(go_on())
    assert list(EmbeddedStore(tmp_path / "blocks").uploads()) == []


@pytest.mark.parametrize("call", ["open", "write", "fsync"])
async def test_a_full_disk_while_the_store_writes_is_said_and_leaves_no_half_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    result = result_in(tmp_path)
    store = open_store(blocks_dir=tmp_path / "blocks", kubo_url="http://127.0.0.1:9")
    original, calls = getattr(os, call), 0

    def full(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += call != "open" or str(tmp_path / "blocks") in str(arguments[0])
        if calls == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(blocks.os, call, full)
        with pytest.raises(TransientError, match="No space left on device; free some space"):
            await store.import_path(result)
    assert list((tmp_path / "blocks" / "tmp").iterdir()) == []
    if call != "fsync":
        assert await store.unpublished() == ()
    assert await store.import_path(result) == (await store.unpublished())[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, where mounting is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting isn't allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_real_full_disk_is_said_and_room_is_enough(tmp_path: Path, small_disk: Path) -> None:
    result = result_in(tmp_path)
    store = open_store(blocks_dir=small_disk / "blocks")
    with pytest.raises(TransientError, match="No space left on device"):
        await store.import_path(result)
    assert list((small_disk / "blocks" / "tmp").iterdir()) == []
    assert list(store.blocks.pins()) == []
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert await store.has(await store.import_path(result))
