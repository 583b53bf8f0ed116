"""What gateways do to a fetch: lies, stalls, floods and bombs by way of real sockets, and an honest one beside them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ContentInvalid, ContentTooLarge, HypernodeError
from hypernode_worker.ipfs import BlockGateway, EmbeddedStore, LayeredStore, open_store
from hypernode_worker.ipfs.dagpb import MAX_BLOCK_BYTES, Link
from hypernode_worker.ipfs.unixfs import FsData, Kind
from tests.support.ipfs_dag import Blocks
from tests.support.ipfs_servers import Answer, RawServer, Request, answering, raw_server

DATA = b'{"the": "definition"}'
CID = Cid.of(DATA)
KIB, MIB = 1 << 10, 1 << 20


async def stall(_request: Request, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(_request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n")
    for byte in DATA:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(1.0)


async def flood(_request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(64 * KIB))
        await writer.drain()


async def hang_up(_request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{")


FAULTS: dict[str, Answer] = {
    "wrong bytes": answering(b'{"another": "definition"}'),
    "stalled": stall,
    "dripping": drip,
    "endless": flood,
    "packed bomb": answering(gzip.compress(bytes(64 * MIB)), Content_Encoding="gzip"),
    "cut off": hang_up,
    "5xx": answering(b"", "503 Service Unavailable"),
    "no such thing": answering(b"", "404 Not Found"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_bad_first_gateway_costs_moments_and_then_nothing(tmp_path: Path, fault: str) -> None:
    there = EmbeddedStore(tmp_path / "there")
    others = [f"{number}".encode() for number in range(5)]
    for data in (DATA, *others):
        there.put(Cid.of(data), data)
    loop = asyncio.get_running_loop()
    async with raw_server(FAULTS[fault]) as bad, BlockGateway(there) as honest:
        store = open_store(blocks_dir=tmp_path / "here", gateways=[bad.url, honest.url])
        started = loop.time()
        assert await store.read(CID, max_bytes=100, timeout_s=20) == DATA
        assert loop.time() - started < 5.0  # the block's own time-out is 15 s
        asked = len(bad.requests)
        for data in others:
            assert await store.read(Cid.of(data), max_bytes=100, timeout_s=20) == data
        await store.close()
    assert asked == 1
    if fault != "no such thing":  # that one is honest, and may have others
        assert len(bad.requests) == 1


def declared_size(blocks: Blocks) -> Cid:
    """A kilobyte that says it is a petabyte, level by level."""
    cid, size = blocks.raw(bytes(KIB)), KIB
    for _ in range(4):
        cid, size = blocks.file([(cid, size)] * 1000), size * 1000
    return blocks.directory([(b"file", cid)])


def lying_size(blocks: Blocks) -> Cid:
    """Says that it is small; what lies below isn't."""
    large = blocks.file([(blocks.raw(bytes(KIB)), KIB)] * 2000)
    return blocks.directory([(b"file", blocks.file([(large, 10)]))])


def deep_file(blocks: Blocks) -> Cid:
    cid = blocks.raw(b"x")
    for _ in range(500):
        cid = blocks.file([(cid, 1)])
    return blocks.directory([(b"file", cid)])


def deep_folders(blocks: Blocks) -> Cid:
    cid = blocks.directory([])
    for _ in range(500):
        cid = blocks.directory([(b"d", cid)])
    return cid


def many_links(blocks: Blocks) -> Cid:
    """One block of almost 2 MiB, all links, each to one byte."""
    leaf = blocks.raw(b"x")
    return blocks.directory([(b"file", blocks.file([(leaf, 1)] * 40_000))])


def many_names(blocks: Blocks) -> Cid:
    leaf = blocks.raw(b"x")
    return blocks.directory([(b"%06d" % number, leaf) for number in range(38_000)])


def same_block_again(blocks: Blocks) -> Cid:
    """A hundred names for twenty kilobytes: small to send, two megabytes on a disk."""
    leaf = blocks.raw(bytes(20 * KIB))
    return blocks.directory([(b"%d" % number, leaf) for number in range(90)])


def folders_of_folders(blocks: Blocks) -> Cid:
    """Fifty times fifty times fifty ... of one empty file."""
    cid = blocks.raw(b"")
    for _ in range(30):
        cid = blocks.directory([(b"%d" % number, cid) for number in range(50)])
    return cid


def tower_of_shards(blocks: Blocks) -> Cid:
    shard = FsData(Kind.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=256)
    cid = blocks.node([Link(blocks.raw(b"x"), b"00a", 1)], shard)
    for _ in range(500):
        cid = blocks.node([Link(cid, b"00", 1)], shard)
    return cid


BOMBS: dict[str, tuple[Callable[[Blocks], Cid], type[HypernodeError]]] = {
    "a huge size declared": (declared_size, ContentTooLarge),
    "a small size declared": (lying_size, ContentInvalid),
    "a deep file": (deep_file, ContentInvalid),
    "deep folders": (deep_folders, ContentInvalid),
    "many links": (many_links, ContentTooLarge),
    "many names": (many_names, ContentTooLarge),
    "one block again and again": (same_block_again, ContentTooLarge),
    "folders of folders": (folders_of_folders, ContentTooLarge),
    "a tower of shards": (tower_of_shards, ContentInvalid),
}


@asynccontextmanager
async def serving(blocks: Blocks, folder: Path) -> AsyncGenerator[tuple[LayeredStore, RawServer]]:
    """A store that has nothing, and a gateway with these blocks."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        cid = Cid.parse(request.target.removeprefix("/ipfs/").partition("?")[0])
        await answering(blocks[cid])(request, writer)

    async with raw_server(answer) as server:
        store = open_store(blocks_dir=folder, gateways=[server.url])
        yield store, server
        await store.close()


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_refused_within_its_bounds_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    make, error = BOMBS[name]
    blocks = Blocks()
    root = make(blocks)
    assert max(map(len, blocks.values())) < MAX_BLOCK_BYTES
    loop = asyncio.get_running_loop()
    async with serving(blocks, tmp_path / "blocks") as (store, server):
        started = loop.time()
        with pytest.raises(error):
            await store.fetch(root, tmp_path / "copy", max_bytes=MIB, max_files=100, timeout_s=30)
        assert loop.time() - started < 20.0
    assert len(server.requests) < 150
    assert left(tmp_path) == ["blocks"]
