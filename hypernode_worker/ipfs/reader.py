"""UnixFS back to bytes and files, from any source of blocks and within bounds that hold while it streams."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from hypernode_worker.core.types import RAW, Cid
from hypernode_worker.errors import ContentInvalid, ContentTooLarge
from hypernode_worker.ipfs import dagpb, hamt, unixfs
from hypernode_worker.ipfs.dagpb import Link, PbNode
from hypernode_worker.ipfs.source import BlockSource, verify_block
from hypernode_worker.ipfs.unixfs import FsData, Kind

PARALLEL = 8
_FILE_DEPTH = 32  # inner nodes above a leaf; a file of 2^64 bytes needs fewer
_DECODE_IN_THREAD_BYTES = 64 * 1024
_BLOCKS_FREE = 1_000  # blocks that any DAG may have, beyond those that its bytes and files explain
_SMALL_CHUNK_BYTES = 1024

Sink = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Node:
    """One block, understood. A raw block is a file of its own bytes."""

    cid: Cid
    kind: Kind
    links: tuple[Link, ...]
    fs: FsData

    @property
    def is_file(self) -> bool:
        return self.kind in (Kind.FILE, Kind.RAW)

    @property
    def file_bytes(self) -> int:
        return len(self.fs.data) if self.fs.file_bytes is None else self.fs.file_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory."""

    name: str
    cid: Cid


@dataclass(slots=True)
class _Piece:
    cid: Cid
    size: int
    depth: int
    task: asyncio.Task[Node] | None = None
    holds_permit: bool = False


class DagReader:
    """Reads one DAG; counts what it hands out, so make one for each call.

    Bytes and files are counted as often as they appear, and blocks too: a small DAG that unfolds into a huge tree
    ends with ContentTooLarge. Memory: at most 2 x PARALLEL blocks, and the links of one branch.
    """

    def __init__(self, source: BlockSource, *, max_bytes: int, max_files: int) -> None:
        self._source = source
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._bytes_left = max_bytes
        self._files_left = max_files
        self._blocks_left = _BLOCKS_FREE + 4 * max_files + max_bytes // _SMALL_CHUNK_BYTES
        self._permits = PARALLEL  # prefetched blocks, over all files being read

    async def node(self, cid: Cid) -> Node:
        """One block of the DAG, decoded. Raises what the source raises, ContentInvalid, ContentTooLarge."""
        self._blocks_left -= 1
        if self._blocks_left < 0:
            raise ContentTooLarge(f"{cid} and its kin have more blocks than their size allows; it was not fetched.")
        block = verify_block(cid, await self._source.block(cid), self._source.label)
        if cid.codec == RAW:
            return Node(cid, Kind.RAW, (), FsData(Kind.RAW, block))
        if len(block) > _DECODE_IN_THREAD_BYTES:
            return await asyncio.to_thread(_decode, cid, block)
        return _decode(cid, block)

    def count_file(self, number: int = 1) -> None:
        """Takes entries off the allowance. Raises ContentTooLarge."""
        self._files_left -= number
        if self._files_left < 0:
            raise ContentTooLarge(f"There are more than {self._max_files} files and directories; allow more.")

    async def stream(self, root: Node, sink: Sink) -> None:
        """Hands the bytes of a file to `sink` in order, while the next blocks are on their way."""
        if not root.is_file:
            raise ContentInvalid(f"{root.cid} is a directory, not a file.")
        if root.file_bytes > self._bytes_left:
            raise ContentTooLarge(f"{root.cid} would pass the {self._max_bytes} bytes that are allowed; allow more.")
        self._bytes_left -= root.file_bytes
        pieces: deque[_Piece] = deque()
        try:
            await self._unfold(root, _Piece(root.cid, root.file_bytes, 0), pieces, sink)
            while pieces:
                self._prefetch(pieces)
                piece = pieces[0]
                node = await (piece.task or self.node(piece.cid))
                pieces.popleft()
                self._release(piece)
                await self._unfold(node, piece, pieces, sink)
        finally:
            tasks = [piece.task for piece in pieces if piece.task is not None]
            for piece in pieces:
                self._release(piece)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def entries(self, root: Node) -> list[Entry]:
        """The names in a directory, sharded or not; counted, checked and unique."""
        if root.is_file:
            raise ContentInvalid(f"{root.cid} is a file, not a directory.")
        if root.kind == Kind.DIRECTORY:
            self.count_file(len(root.links))
            return _named(root.links)
        found: list[Link] = []
        async for links in self._shards(root):
            self.count_file(len(links))
            found.extend(links)
        return _named(found)

    async def _unfold(self, node: Node, piece: _Piece, pieces: deque[_Piece], sink: Sink) -> None:
        if not node.is_file or node.file_bytes != piece.size:
            raise ContentInvalid(f"{node.cid} isn't the {piece.size} bytes of file that the block above it says.")
        if piece.depth > _FILE_DEPTH:
            raise ContentInvalid(f"A file lies over {_FILE_DEPTH} blocks deep, which no real file needs.")
        pieces.extendleft(
            _Piece(link.cid, size, piece.depth + 1)
            for link, size in zip(reversed(node.links), reversed(node.fs.block_bytes), strict=True)
        )
        if node.fs.data:
            self._prefetch(pieces)
            await sink(node.fs.data)

    def _prefetch(self, pieces: deque[_Piece]) -> None:
        """The first piece is waited for in any case; permits bound what is fetched ahead of it, over all files."""
        for index in range(min(PARALLEL, len(pieces))):
            piece = pieces[index]
            if piece.task is not None:
                continue
            if self._permits <= 0:
                return
            self._permits -= 1
            piece.holds_permit = True
            piece.task = asyncio.create_task(self.node(piece.cid), name=f"fetch {piece.cid}")

    def _release(self, piece: _Piece) -> None:
        if piece.holds_permit:
            piece.holds_permit = False
            self._permits += 1

    async def _shards(self, root: Node) -> AsyncIterator[list[Link]]:
        waiting = [(root, 0)]
        while waiting:
            node, depth = waiting.pop()
            if node.kind != Kind.HAMT_SHARD or depth > hamt.MAX_SHARD_DEPTH:
                raise ContentInvalid(f"{node.cid} stands where a shard of a directory should be.")
            entries, shards = hamt.read_links(PbNode(node.links, b""), node.fs)
            yield entries
            for link in shards:
                waiting.append((await self.node(link.cid), depth + 1))


def _decode(cid: Cid, block: bytes) -> Node:
    pb = dagpb.decode(block)
    fs = unixfs.decode(pb.data)
    if fs.kind in (Kind.SYMLINK, Kind.METADATA):
        raise ContentInvalid(f"{cid} is a {fs.kind.name.lower()}; only files and directories are accepted.")
    if fs.kind in (Kind.FILE, Kind.RAW):
        _check_sizes(cid, pb, fs)
    return Node(cid, fs.kind, pb.links, fs)


def _check_sizes(cid: Cid, pb: PbNode, fs: FsData) -> None:
    total = len(fs.data) + sum(fs.block_bytes)
    if len(fs.block_bytes) != len(pb.links) or 0 in fs.block_bytes:
        raise ContentInvalid(f"{cid} doesn't give the size of each of its parts.")
    if total != (len(fs.data) if fs.file_bytes is None else fs.file_bytes):
        raise ContentInvalid(f"{cid} says another file size than its parts add up to.")


def _named(links: list[Link] | tuple[Link, ...]) -> list[Entry]:
    names: set[str] = set()
    for link in links:
        name = _safe_name(link.name)
        if name in names:
            raise ContentInvalid(f"A directory has the name {name!r} twice.")
        names.add(name)
    return [Entry(link.name.decode(), link.cid) for link in links]


def _safe_name(name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise ContentInvalid(f"A directory has a name that isn't UTF-8: {name[:80]!r}.") from error
    if text in ("", ".", "..") or "/" in text or "\0" in text or len(name) > 255:
        raise ContentInvalid(f"A directory has a name that can't be a file's: {text[:80]!r}.")
    return text
