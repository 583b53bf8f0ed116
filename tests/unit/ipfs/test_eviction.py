"""What leaves the embedded store when room is short, and what stays: the user's, the needed, the shared, the young."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from hypernode_worker.core.types import Cid
from hypernode_worker.ipfs import WORKER, BlockKeeper, EmbeddedStore, LayeredStore, open_store
from hypernode_worker.ipfs.eviction import YOUNG_S

NOTHING: frozenset[str] = frozenset()


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[LayeredStore]:
    store = open_store(blocks_dir=tmp_path / "ipfs", owner=WORKER)
    yield store
    await store.close()


@pytest.fixture
async def user(tmp_path: Path) -> AsyncIterator[LayeredStore]:
    """Another process of the same user, over the same folder."""
    store = open_store(blocks_dir=tmp_path / "ipfs")
    yield store
    await store.close()


def age(folder: Path, hours: float = 24.0) -> None:
    """Makes all that lies below look unused for so long."""
    then = time.time() - hours * 3600
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


async def directory(store: LayeredStore, folder: Path, **files: bytes) -> Cid:
    await asyncio.to_thread(write, folder, files)
    return await store.add_path(folder)


async def names(keeper: BlockKeeper, needed: frozenset[str] = NOTHING) -> list[str]:
    return [kept.name for kept in await keeper.evictable(needed)]


async def test_a_workers_root_goes_with_its_blocks(worker: LayeredStore, tmp_path: Path) -> None:
    keeper = BlockKeeper(worker.blocks)
    root = await directory(worker, tmp_path / "result", a=os.urandom(3_000_000), b=b"b")
    age(worker.blocks.folder)
    (kept,) = await keeper.evictable(NOTHING)
    assert kept.name == str(root)
    assert 3_000_001 < kept.bytes < 3_010_000
    assert await keeper.used_bytes() == kept.bytes
    await keeper.evict([kept.name], NOTHING)
    assert await keeper.used_bytes() == 0
    assert not await worker.has(root)


async def test_what_the_user_added_stays_also_where_a_worker_added_it_before_or_after(
    worker: LayeredStore, user: LayeredStore
) -> None:
    keeper = BlockKeeper(worker.blocks)
    roots = [await user.add_bytes(b"posted"), await worker.add_bytes(b"both"), await user.add_bytes(b"both again")]
    await user.add_bytes(b"both")
    await worker.add_bytes(b"both again")
    age(worker.blocks.folder)
    assert await names(keeper) == []
    await keeper.evict([str(root) for root in roots], NOTHING)
    assert all([await user.has(root) for root in roots])


async def test_what_is_needed_stays(worker: LayeredStore) -> None:
    keeper = BlockKeeper(worker.blocks)
    unpaid, paid = await worker.add_bytes(b"unpaid"), await worker.add_bytes(b"paid")
    age(worker.blocks.folder)
    needed = frozenset({str(unpaid)})
    assert await names(keeper, needed) == [str(paid)]
    await keeper.evict([str(unpaid), str(paid)], needed)
    assert (await worker.has(unpaid), await worker.has(paid)) == (True, False)


async def test_what_is_still_to_be_uploaded_stays(worker: LayeredStore) -> None:
    keeper = BlockKeeper(worker.blocks)
    root, other = await worker.add_bytes(b"a result on its way"), await worker.add_bytes(b"other")
    worker.blocks.queue_upload(root)
    age(worker.blocks.folder)
    assert await names(keeper) == [str(other)]
    await keeper.evict([str(root), str(other)], NOTHING)
    assert (await worker.has(root), await worker.has(other)) == (True, False)
    worker.blocks.end_upload(root)
    age(worker.blocks.folder)
    assert await names(keeper) == [str(root)]


async def test_blocks_that_roots_share_go_with_the_last_of_them(
    worker: LayeredStore, user: LayeredStore, tmp_path: Path
) -> None:
    keeper = BlockKeeper(worker.blocks)
    shared = b"s" * 2_000_000
    results = [await directory(worker, tmp_path / name, file=shared, own=name.encode()) for name in ("one", "two")]
    posted = await user.add_bytes(shared)
    age(worker.blocks.folder)
    await keeper.evict([str(results[0])], NOTHING)
    assert not await worker.has(results[0])
    assert await worker.has(results[1])
    await keeper.evict([str(results[1])], NOTHING)
    assert not await worker.has(results[1])
    assert await user.has(posted)


async def test_what_was_used_lately_stays(worker: LayeredStore, user: LayeredStore) -> None:
    keeper = BlockKeeper(worker.blocks)
    root = await worker.add_bytes(b"result")
    assert await names(keeper) == [], "it was just made"
    age(worker.blocks.folder)
    assert await user.read(root, max_bytes=100, timeout_s=1) == b"result"
    assert await names(keeper) == [], "a client has fetched it"


async def test_blocks_that_another_process_is_about_to_pin_stay(worker: LayeredStore) -> None:
    store = worker.blocks
    keeper = BlockKeeper(store)
    old, reused = await worker.add_bytes(b"old"), await worker.add_bytes(b"reused")
    age(store.folder)
    fresh = Cid.of(b"an import that goes on")
    store.put(fresh, b"an import that goes on")
    store.put(reused, b"reused")  # which is written already
    await keeper.evict([str(old), str(reused)], NOTHING)
    assert (store.owns(old), store.owns(reused), store.owns(fresh)) == (False, True, True)


async def test_what_a_killed_import_left_goes_with_the_next_eviction(worker: LayeredStore) -> None:
    store = worker.blocks
    orphan = Cid.of(b"never pinned")
    store.put(orphan, b"never pinned")
    root = await worker.add_bytes(b"old")
    age(store.folder)
    await BlockKeeper(store).evict([str(root)], NOTHING)
    assert not store.owns(orphan)


async def test_fetched_blocks_go_by_their_last_use(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "ipfs", owner=WORKER)
    keeper = BlockKeeper(store)
    blocks = [b"block %d" % number for number in range(40)]
    cids = [Cid.of(block) for block in blocks]
    for number, (cid, block) in enumerate(zip(cids, blocks, strict=True)):
        store.cache(cid, block)
        then = time.time() - YOUNG_S - 1000 + number
        os.utime(store.fetched / cid.digest.hex()[:2] / cid.digest.hex(), (then, then))
    store.get(cids[0])  # a running job reads its definition
    slices = sorted(await keeper.evictable(NOTHING), key=lambda kept: kept.used_at)
    assert 10 <= len(slices) <= 16
    assert sum(kept.bytes for kept in slices) == sum(map(len, blocks[1:]))
    needed = frozenset({str(cids[2])})
    await keeper.evict([kept.name for kept in slices[:4]], needed)
    gone = [number for number, cid in enumerate(cids) if store.get(cid) is None]
    assert 8 <= len(gone) <= 16
    assert gone == [number for number in range(1, max(gone) + 1) if number != 2]
