"""A pinning service that speaks Pinata's file endpoint: files up as one form, its CID compared with ours."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlencode, urlsplit

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, EndpointDown
from hypernode_worker.ipfs.reader import DagReader, Node
from hypernode_worker.ipfs.source import BlockSource
from hypernode_worker.ipfs.transport import JSON_BYTES, Reply, Transport, parse_endpoint, refuse

FILE_ENDPOINT = "/pinFileToIPFS"
JSON_ENDPOINT = "/pinJSONToIPFS"
_LIST_TIMEOUT_S = 30.0
_UNBOUNDED = 1 << 60
_SETTING = "IPFS_UPLOAD_URL"
_TOKEN = "the token of IPFS_UPLOAD_URL"  # noqa: S105 -- a setting's name


class PinningService:
    """Publisher over `POST .../pinning/pinFileToIPFS` with a bearer token.

    The service makes the CID itself, from files and not from blocks: it must be cut by the same profile as ours
    (kubo-cid-v1), it knows no empty directories, and what it answers is checked.
    """

    def __init__(self, url: str, token: str, *, transport: Transport) -> None:
        """`url`: the file endpoint, or the JSON endpoint beside it. Raises ConfigError."""
        self._endpoint = parse_endpoint(url, _SETTING)
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigError(f"{_TOKEN.capitalize()} has characters that no token has; copy it again.")
        self._url = _file_endpoint(self._endpoint.url)
        self._headers = {"authorization": f"Bearer {token}"}
        self._transport = transport

    @property
    def label(self) -> str:
        return f"pinning service at {self._endpoint.label}"

    async def publish(self, root: Cid, blocks: BlockSource) -> None:
        boundary = f"hypernode-worker-{secrets.token_hex(16)}"
        form = await _lay_out(root, blocks, boundary)
        reply = await self._transport.request(
            "POST",
            self._url,
            label=self.label,
            max_bytes=JSON_BYTES,
            timeout_s=None,
            headers={
                **self._headers,
                "content-type": f"multipart/form-data; boundary={boundary}",
                "content-length": str(form.length),
            },
            content=form.stream(),
        )
        if reply.status not in (200, 201):
            raise self._trouble(reply)
        self._compare(root, reply)

    async def holds(self, root: Cid) -> bool:
        parts = urlsplit(self._url)
        query = urlencode({"hashContains": str(root), "status": "pinned"})
        reply = await self._transport.request(
            "GET",
            f"{parts.scheme}://{parts.netloc}/data/pinList?{query}",
            label=self.label,
            max_bytes=JSON_BYTES,
            timeout_s=_LIST_TIMEOUT_S,
            headers=self._headers,
        )
        if reply.status != 200:
            raise self._trouble(reply)
        rows = _json(reply.body).get("rows")
        if not isinstance(rows, list):
            return False
        return any(_is_row_of(row, root) for row in cast("list[object]", rows))

    def _compare(self, root: Cid, reply: Reply) -> None:
        answered = _json(reply.body).get("IpfsHash")
        if not isinstance(answered, str):
            raise EndpointDown(
                f"{self.label} answered without an IpfsHash; check that {_SETTING} is its file endpoint."
            )
        try:
            same = Cid.parse(answered) == root
        except ValueError:
            same = False
        if not same:
            raise ContentInvalid(
                f"{self.label} made {answered[:80]!r} of what is {root} here; "
                "set the IPFS profile that it uses, and give files plain names."
            )

    def _trouble(self, reply: Reply) -> EndpointDown:
        refuse(reply, self.label, _TOKEN)
        return EndpointDown(f"{self.label} refused the request (HTTP {reply.status}); check {_SETTING} and your plan.")


def _file_endpoint(url: str) -> str:
    if url.endswith(JSON_ENDPOINT):
        return url.removesuffix(JSON_ENDPOINT) + FILE_ENDPOINT
    return url


def _is_row_of(row: object, root: Cid) -> bool:
    try:
        return isinstance(row, dict) and Cid.parse(str(cast("dict[str, object]", row).get("ipfs_pin_hash"))) == root
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class _Form:
    """A multipart body whose length is known before it is read: not every service takes a chunked upload."""

    reader: DagReader
    files: tuple[tuple[bytes, Cid], ...]
    tail: bytes
    length: int

    async def stream(self) -> AsyncIterator[bytes]:
        for head, cid in self.files:
            yield head
            async for chunk in _bytes_of(self.reader, await self.reader.node(cid)):
                yield chunk
            yield b"\r\n"
        yield self.tail


async def _lay_out(root: Cid, blocks: BlockSource, boundary: str) -> _Form:
    """Each file with its path below the root's name, then the options."""
    reader = DagReader(blocks, max_bytes=_UNBOUNDED, max_files=_UNBOUNDED)
    name = str(root)
    files: list[tuple[bytes, Cid]] = []
    length = 0
    async for path, node in _files(reader, root, name):
        head = _part(boundary, "file", path)
        files.append((head, node.cid))
        length += len(head) + node.file_bytes + len(b"\r\n")
    options = json.dumps({"cidVersion": 1}).encode()
    metadata = json.dumps({"name": name}).encode()
    tail = (
        _part(boundary, "pinataOptions")
        + options
        + b"\r\n"
        + _part(boundary, "pinataMetadata")
        + metadata
        + f"\r\n--{boundary}--\r\n".encode()
    )
    return _Form(reader, tuple(files), tail, length + len(tail))


def _part(boundary: str, field: str, filename: str | None = None) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"'
    if filename is not None:
        # Quoted pairs, as form parsers read them. Whatever one makes of a name, its CID shows it.
        quoted = filename.replace("\\", "\\\\").replace('"', '\\"')
        head += f'; filename="{quoted}"\r\nContent-Type: application/octet-stream'
    return f"{head}\r\n\r\n".encode()


async def _files(reader: DagReader, root: Cid, name: str) -> AsyncIterator[tuple[str, Node]]:
    waiting = [(name, root)]
    while waiting:
        path, cid = waiting.pop()
        node = await reader.node(cid)
        if any(char < " " or char == "\x7f" for char in path):
            raise ContentInvalid(
                f"{path[:80]!r} can't be sent to a pinning service; rename it without control characters."
            )
        if node.is_file:
            yield path, node
        else:
            waiting.extend((f"{path}/{entry.name}", entry.cid) for entry in reversed(await reader.entries(node)))


async def _bytes_of(reader: DagReader, node: Node) -> AsyncIterator[bytes]:
    """Turns the reader's pushing into pulling, one chunk at a time."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)

    async def work() -> None:
        try:
            await reader.stream(node, queue.put)
        finally:
            await queue.put(None)

    task = asyncio.create_task(work(), name="read a file to upload")
    try:
        while (chunk := await queue.get()) is not None:
            yield chunk
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _json(data: bytes) -> dict[str, object]:
    try:
        value: object = json.loads(data)
    except ValueError:
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
