"""Reading DAGs that strangers made: right, within bounds, and all of it or nothing."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import (
    ConfigError,
    ContentInvalid,
    ContentNotFound,
    ContentTooLarge,
    HypernodeError,
    TransientError,
)
from hypernode_worker.ipfs.dagpb import Link
from hypernode_worker.ipfs.export import export
from hypernode_worker.ipfs.importer import Importer
from hypernode_worker.ipfs.reader import PARALLEL, DagReader
from hypernode_worker.ipfs.unixfs import FsData, Kind
from tests.support.ipfs_content import TINY, make_tree, pattern
from tests.support.ipfs_dag import Blocks

MIB = 1 << 20


def reader(blocks: Blocks, *, max_bytes: int = MIB, max_files: int = 100) -> DagReader:
    return DagReader(blocks, max_bytes=max_bytes, max_files=max_files)


async def read(blocks: Blocks, cid: Cid, *, max_bytes: int = MIB) -> bytes:
    chunks: list[bytes] = []

    async def sink(data: bytes) -> None:
        chunks.append(data)

    one = reader(blocks, max_bytes=max_bytes, max_files=1)
    await one.stream(await one.node(cid), sink)
    return b"".join(chunks)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=900))
def test_files_come_back(data: bytes) -> None:
    blocks = Blocks()
    cid = Importer(TINY, blocks.put).add_bytes(data).cid
    assert asyncio.run(read(blocks, cid, max_bytes=len(data))) == data
    if data:
        with pytest.raises(ContentTooLarge):
            asyncio.run(read(blocks, cid, max_bytes=len(data) - 1))


@pytest.mark.parametrize("name", ["empty", "nested", "names", "just sharded"])
async def test_directories_come_back(tmp_path: Path, name: str) -> None:
    blocks = Blocks()
    source = make_tree(tmp_path / "source", name, TINY)
    profile = TINY if name != "nested" else TINY.__class__("wide", 1 << 16, 9, shard_by_block=True)
    cid = Importer(profile, blocks.put).add_path(source).cid
    await export(reader(blocks, max_bytes=8 * MIB, max_files=6000), cid, tmp_path / "copy")
    assert tree(tmp_path / "copy") == tree(source)
    assert left(tmp_path) == ["copy", "source"]


async def test_a_file_is_exported_as_a_file(tmp_path: Path) -> None:
    blocks = Blocks()
    cid = Importer(TINY, blocks.put).add_bytes(pattern(500)).cid
    await export(reader(blocks), cid, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == pattern(500)


async def test_an_existing_destination_is_left_alone(tmp_path: Path) -> None:
    blocks = Blocks()
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        await export(reader(blocks), blocks.raw(b"theirs"), tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"


async def test_a_place_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    blocks = Blocks()
    with pytest.raises(ConfigError, match="can't be written"):
        await export(reader(blocks), blocks.raw(b"x"), tmp_path / "missing" / "copy")


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, TransientError), (errno.ENAMETOOLONG, ContentInvalid)])
async def test_a_disk_that_fails_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[HypernodeError]
) -> None:
    def fail(_path: Path, *_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    blocks = Blocks()
    root = blocks.directory([(b"file", blocks.raw(b"x")), (b"sub", blocks.directory([]))])
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(expected):
        await export(reader(blocks), root, tmp_path / "copy")
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/etc", b"a\0b", b"\xff", b"x" * 256])
async def test_bad_names_are_refused_and_nothing_is_left(tmp_path: Path, name: bytes) -> None:
    blocks = Blocks()
    leaf = blocks.raw(b"x")
    root = blocks.directory([(b"fine", leaf), (b"sub", blocks.directory([(name, leaf)]))])
    with pytest.raises(ContentInvalid, match="name"):
        await export(reader(blocks), root, tmp_path / "copy")
    assert left(tmp_path) == []


async def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    blocks = Blocks()
    root = blocks.directory([(b"a", blocks.raw(b"x")), (b"a", blocks.raw(b"y"))])
    with pytest.raises(ContentInvalid, match="twice"):
        await export(reader(blocks), root, tmp_path / "copy")


@pytest.mark.parametrize("kind", [Kind.SYMLINK, Kind.METADATA])
async def test_other_types_are_refused(tmp_path: Path, kind: Kind) -> None:
    blocks = Blocks()
    root = blocks.directory([(b"link", blocks.node([], FsData(kind, b"/etc/passwd")))])
    with pytest.raises(ContentInvalid, match="only files and directories"):
        await export(reader(blocks), root, tmp_path / "copy")
    assert left(tmp_path) == []


async def test_wrong_bytes_are_refused() -> None:
    blocks = Blocks()
    cid = blocks.raw(b"right")
    blocks[cid] = b"wrong"
    with pytest.raises(ContentInvalid, match="other bytes"):
        await read(blocks, cid)


async def test_a_missing_block_leaves_nothing(tmp_path: Path) -> None:
    blocks = Blocks()
    part = Importer(TINY, blocks.put).add_bytes(pattern(500))
    missing = list(blocks)[20]
    del blocks[missing]
    with pytest.raises(ContentNotFound, match=str(missing)):
        await export(reader(blocks), part.cid, tmp_path / "copy")
    assert left(tmp_path) == []


async def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    class Stuck(Blocks):
        async def block(self, cid: Cid) -> bytes:
            if len(self.asked) == 3:
                reached.set()
                await asyncio.Event().wait()
            return await super().block(cid)

    reached = asyncio.Event()
    blocks = Stuck()
    cid = Importer(TINY, blocks.put).add_bytes(pattern(500)).cid
    task = asyncio.create_task(export(reader(blocks), cid, tmp_path / "copy"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(tmp_path) == []
    assert len(asyncio.all_tasks()) == 1


async def test_sizes_that_do_not_add_up_are_refused() -> None:
    blocks = Blocks()
    leaf = blocks.raw(b"12345")
    links = [Link(leaf, b"", 5)]
    bad = {
        "add up": FsData(Kind.FILE, file_bytes=6, block_bytes=(5,)),
        "size of each": FsData(Kind.FILE, file_bytes=5),
        "of file that the block above it says": FsData(Kind.FILE, file_bytes=4, block_bytes=(4,)),
    }
    for why, data in bad.items():
        with pytest.raises(ContentInvalid, match=why):
            await read(blocks, blocks.node(links, data))
    with pytest.raises(ContentInvalid, match="size of each"):
        await read(
            blocks, blocks.node([Link(blocks.raw(b""), b"", 0)], FsData(Kind.FILE, file_bytes=0, block_bytes=(0,)))
        )


async def test_a_directory_inside_a_file_is_refused() -> None:
    blocks = Blocks()
    with pytest.raises(ContentInvalid, match="isn't the 5 bytes"):
        await read(blocks, blocks.file([(blocks.directory([]), 5)]))


async def test_a_directory_is_no_file_and_a_file_no_directory() -> None:
    blocks = Blocks()
    with pytest.raises(ContentInvalid, match="is a directory"):
        await read(blocks, blocks.directory([]))
    one = reader(blocks)
    with pytest.raises(ContentInvalid, match="is a file"):
        await one.entries(await one.node(blocks.raw(b"x")))


async def test_a_file_bomb_is_refused_by_the_size_that_it_says() -> None:
    blocks = Blocks()
    cid, size = blocks.raw(b"x" * 1000), 1000
    for _ in range(6):
        cid, size = blocks.file([(cid, size)] * 100), size * 100
    with pytest.raises(ContentTooLarge, match="bytes that are allowed"):
        await read(blocks, cid)
    assert len(blocks.asked) == 1


async def test_a_tower_of_single_links_is_refused() -> None:
    blocks = Blocks()
    cid = blocks.raw(b"x")
    for _ in range(100):
        cid = blocks.file([(cid, 1)])
    with pytest.raises(ContentInvalid, match="blocks deep"):
        await read(blocks, cid)
    assert len(blocks.asked) < 60


async def test_a_directory_bomb_is_refused(tmp_path: Path) -> None:
    blocks = Blocks()
    cid = blocks.raw(b"")
    for _ in range(20):
        cid = blocks.directory([(b"%d" % index, cid) for index in range(50)])
    with pytest.raises(ContentTooLarge, match="more than 100 files"):
        await export(reader(blocks), cid, tmp_path / "copy")
    assert left(tmp_path) == []


async def test_a_deep_directory_is_refused(tmp_path: Path) -> None:
    blocks = Blocks()
    cid = blocks.directory([])
    for _ in range(200):
        cid = blocks.directory([(b"d", cid)])
    with pytest.raises(ContentInvalid, match="directories deep"):
        await export(reader(blocks, max_files=1000), cid, tmp_path / "copy")
    assert left(tmp_path) == []


async def test_more_blocks_than_the_bytes_explain_are_refused() -> None:
    blocks = Blocks()
    leaf = blocks.raw(b"x")
    cid = blocks.file([(blocks.file([(leaf, 1)] * 60), 60)] * 60)
    with pytest.raises(ContentTooLarge, match="more blocks"):
        await read(blocks, cid, max_bytes=60 * 60)


async def test_bytes_of_all_files_together_are_bounded(tmp_path: Path) -> None:
    blocks = Blocks()
    root = blocks.directory([(b"a", blocks.raw(b"x" * 60)), (b"b", blocks.raw(b"y" * 60))])
    with pytest.raises(ContentTooLarge, match="100 bytes"):
        await export(reader(blocks, max_bytes=100), root, tmp_path / "copy")
    await export(reader(blocks, max_bytes=120, max_files=2), root, tmp_path / "copy")
    with pytest.raises(ContentTooLarge, match="more than 1 files"):
        await export(reader(blocks, max_bytes=120, max_files=1), root, tmp_path / "other")


@pytest.mark.parametrize(
    ("data", "names", "why"),
    [
        (FsData(Kind.HAMT_SHARD, b"\x01", hash_type=0x12, fanout=256), [b"00a"], "hash or fan-out"),
        (FsData(Kind.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=100), [b"00a"], "hash or fan-out"),
        (FsData(Kind.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=1 << 40), [b"00a"], "hash or fan-out"),
        (FsData(Kind.HAMT_SHARD, b"\x03", hash_type=0x22, fanout=256), [b"00a"], "bit field"),
        (FsData(Kind.HAMT_SHARD, b"\x02", hash_type=0x22, fanout=256), [b"00a"], "slot"),
        (FsData(Kind.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=256), [b"0"], "slot"),
        (FsData(Kind.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=256), [b"+0a"], "slot"),
        (FsData(Kind.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=256), [b"00../x"], "can't be a file's"),
        (FsData(Kind.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=256), [b"00"], "shard of a directory"),
    ],
)
async def test_bad_shards_are_refused(data: FsData, names: list[bytes], why: str) -> None:
    blocks = Blocks()
    leaf = blocks.raw(b"x")
    one = reader(blocks)
    with pytest.raises(ContentInvalid, match=why):
        await one.entries(await one.node(blocks.node([Link(leaf, name, 1) for name in names], data)))


async def test_a_tower_of_shards_is_refused() -> None:
    blocks = Blocks()
    shard = FsData(Kind.HAMT_SHARD, b"\x01", hash_type=0x22, fanout=256)
    cid = blocks.node([Link(blocks.raw(b"x"), b"00a", 1)], shard)
    for _ in range(50):
        cid = blocks.node([Link(cid, b"00", 1)], shard)
    one = reader(blocks)
    with pytest.raises(ContentInvalid, match="shard of a directory"):
        await one.entries(await one.node(cid))


async def test_blocks_are_fetched_ahead_and_not_too_many() -> None:
    class Slow(Blocks):
        now = most = 0

        async def block(self, cid: Cid) -> bytes:
            self.now += 1
            self.most = max(self.most, self.now)
            for _ in range(5):
                await asyncio.sleep(0)
            self.now -= 1
            return await super().block(cid)

    blocks = Slow()
    cid = Importer(TINY.__class__("flat", 10, 200, shard_by_block=True), blocks.put).add_bytes(pattern(1000)).cid
    assert await read(blocks, cid) == pattern(1000)
    assert blocks.most == PARALLEL
