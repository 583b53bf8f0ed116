"""Servers for the IPFS clients: one that answers whatever bytes a test wants, and a pinning service."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aiohttp import BodyPartReader, web

from hypernode_worker.core.types import Cid
from hypernode_worker.ipfs.blocks import EmbeddedStore
from hypernode_worker.ipfs.importer import Importer
from hypernode_worker.ipfs.unixfs import PROFILES


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent. Header names in lower case; the body without its chunks' lengths."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class RawServer:
    """A running server; `requests` is each request in order."""

    url: str
    requests: list[Request] = field(default_factory=list[Request])


@contextlib.asynccontextmanager
async def raw_server(answer: Answer) -> AsyncGenerator[RawServer]:
    """Answers each connection's one request with what `answer` writes, then closes it."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read_request(reader)
            running.requests.append(request)
            await answer(request, writer)
            await writer.drain()
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    running = RawServer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield running
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding") == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def answering(body: bytes, status: str = "200 OK", **headers: str) -> Answer:
    """One plain answer. Header names are given with underscores."""

    async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
        lines = {"Content-Length": str(len(body)), "Connection": "close"}
        lines.update({name.replace("_", "-"): value for name, value in headers.items()})
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

    return answer


@dataclass(slots=True)
class FakePinning:
    """Speaks Pinata's file endpoint and list. `cid_of` makes the CID of a folder or file, `None`: ours.

    `lie` is answered in place of the true CID; `pinned` are the roots it keeps, in `blocks`. While `refusing`, uploads
    get a 503; `refused` are their names.
    """

    token: str
    blocks: EmbeddedStore
    cid_of: Callable[[Path], str] | None = None
    lie: object = None
    url: str = ""
    pinned: set[Cid] = field(default_factory=set[Cid])
    uploads: list[list[str]] = field(default_factory=list[list[str]])
    refusing: bool = False
    refused: list[str] = field(default_factory=list[str])

    async def pin(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"error": {"reason": "INVALID_CREDENTIALS"}}, status=401)
        if request.content_length is None:
            return web.json_response({"error": "length required"}, status=411)
        folder = Path(tempfile.mkdtemp())
        try:
            names = await _store_files(request, folder)
            if self.refusing:
                self.refused.append(names[0])
                return web.json_response({"error": "come back later"}, status=503)
            root = folder / PurePosixPath(names[0]).parts[0]
            part = await asyncio.to_thread(Importer(PROFILES["kubo-cid-v1"], self._keep).add_path, root)
            text = str(part.cid) if self.cid_of is None else await asyncio.to_thread(self.cid_of, root)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)
        self.uploads.append(names)
        self.pinned.add(Cid.parse(text))
        return web.json_response({"IpfsHash": text if self.lie is None else self.lie, "PinSize": part.tsize})

    async def list(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({}, status=401)
        wanted = request.query["hashContains"]
        rows = [{"ipfs_pin_hash": str(cid)} for cid in self.pinned if wanted in str(cid)]
        return web.json_response({"count": len(rows), "rows": rows})

    def _keep(self, cid: Cid, block: bytes) -> None:
        self.blocks.put(cid, block)


async def _store_files(request: web.Request, folder: Path) -> list[str]:
    """Writes the form's files below `folder`, as their names say; and checks the options."""
    names: list[str] = []
    options = b""
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        if part.name == "file":
            assert part.filename is not None
            path = folder / part.filename
            assert folder in path.parents
            assert ".." not in path.parts
            data = bytes(await part.read())
            await asyncio.to_thread(_write, path, data)
            names.append(part.filename)
        elif part.name == "pinataOptions":
            options = bytes(await part.read())
    assert options == b'{"cidVersion": 1}'
    return names


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@contextlib.asynccontextmanager
async def pinning_service(
    folder: Path, *, token: str = "secret-token", cid_of: Callable[[Path], str] | None = None
) -> AsyncGenerator[FakePinning]:
    """A pinning service on loopback; `url` is its file endpoint."""
    service = FakePinning(token, EmbeddedStore(folder), cid_of)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/pinning/pinFileToIPFS", service.pin)
    app.router.add_get("/data/pinList", service.list)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/pinning/pinFileToIPFS"
        yield service
    finally:
        await runner.cleanup()
