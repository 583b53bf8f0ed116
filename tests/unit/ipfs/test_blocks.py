"""The folder of blocks: atomic, verified on read, shared, bounded where it caches."""

from __future__ import annotations

import errno
import hashlib
import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from hypernode_worker.core.types import DAG_PB, RAW, Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, ContentNotFound, TransientError
from hypernode_worker.ipfs.blocks import EmbeddedStore
from hypernode_worker.ipfs.dagpb import MAX_BLOCK_BYTES


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "ipfs")


def put(store: EmbeddedStore, data: bytes) -> tuple[Cid, Path]:
    cid = Cid.of(data)
    return cid, store.put(cid, data)


async def test_blocks_come_back_under_either_codec(store: EmbeddedStore) -> None:
    cid, _ = put(store, b"data")
    assert store.get(cid) == await store.block(cid) == b"data"
    assert store.get(Cid(DAG_PB, cid.digest)) == b"data"
    assert store.owns(cid)


async def test_a_missing_block_is_said(store: EmbeddedStore) -> None:
    missing = Cid(RAW, bytes(32))
    assert store.get(missing) is None
    with pytest.raises(ContentNotFound, match=str(missing)):
        await store.block(missing)


def test_the_folder_is_for_its_user_only(store: EmbeddedStore) -> None:
    _, path = put(store, b"data")
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert list((store.folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"datA", b"data and more"])
def test_a_damaged_block_is_reported_removed_and_written_anew(
    store: EmbeddedStore, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    cid, path = put(store, b"data")
    path.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert store.get(cid) is None
    assert "damaged" in caplog.text
    assert not path.exists()
    put(store, b"data")
    assert store.get(cid) == b"data"


def test_putting_over_a_damaged_block_mends_it(store: EmbeddedStore) -> None:
    cid, path = put(store, b"data")
    path.write_bytes(b"datA")
    put(store, b"data")
    assert store.get(cid) == b"data"


def test_an_unreadable_block_counts_as_missing(store: EmbeddedStore) -> None:
    cid, path = put(store, b"data")
    path.unlink()
    path.mkdir()
    assert store.get(cid) is None


def test_too_large_a_block_is_refused(store: EmbeddedStore) -> None:
    with pytest.raises(ContentInvalid):
        put(store, bytes(MAX_BLOCK_BYTES + 1))
    put(store, bytes(MAX_BLOCK_BYTES))


def test_pins_are_kept_and_listed(store: EmbeddedStore) -> None:
    cid, path = put(store, b"data")
    assert not store.pinned(cid)
    store.settle([path, store.pin(cid), store.pin(cid)])
    (store.folder / "pins" / "not a cid").touch()
    assert list(EmbeddedStore(store.folder).pins()) == [cid]
    assert store.pinned(cid)


def test_fetched_blocks_are_not_owned(store: EmbeddedStore) -> None:
    cid = Cid.of(b"data")
    store.cache(cid, b"data")
    assert store.get(cid) == b"data"
    assert not store.owns(cid)


def one_folder(count: int, size: int) -> list[bytes]:
    """Blocks whose digests begin alike, so that they share a folder."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        data = number.to_bytes(4, "big") + bytes(size - 4)
        if hashlib.sha256(data).digest()[0] == 0:
            found.append(data)
        number += 1
    return found


def test_the_longest_unused_fetched_block_goes_first(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, cache_bytes=1)  # a folder's share is then one largest block
    size = MAX_BLOCK_BYTES // 8
    blocks = one_folder(9, size)
    cids = [Cid.of(block) for block in blocks]
    for age, (cid, block) in enumerate(zip(cids[:8], blocks, strict=False)):
        store.cache(cid, block)
        path = next((tmp_path / "cache").rglob(cid.digest.hex()))
        os.utime(path, (age, age))
    assert store.get(cids[0]) is not None  # used, so it is the youngest now
    EmbeddedStore(tmp_path, cache_bytes=1).cache(cids[8], blocks[8])
    left = [index for index, cid in enumerate(cids) if store.get(cid) is not None]
    assert left == [0, 3, 4, 5, 6, 7, 8]


def test_a_cache_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, cache_bytes=0)
    store.cache(Cid.of(b"data"), b"data")
    assert store.get(Cid.of(b"data")) is None


def test_a_full_disk_is_said_and_leaves_nothing(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_handle: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TransientError, match="No space left"):
        put(store, b"data")
    store.cache(Cid.of(b"data"), b"data")
    assert "isn't kept" in caplog.text
    assert list((store.folder / "tmp").iterdir()) == []


def test_a_folder_that_can_not_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="can't be used"):
        EmbeddedStore(tmp_path / "file")


def test_old_half_written_files_are_swept(store: EmbeddedStore) -> None:
    old, young = store.folder / "tmp" / "old", store.folder / "tmp" / "young"
    old.touch()
    young.touch()
    ago = time.time() - 100_000
    os.utime(old, (ago, ago))
    EmbeddedStore(store.folder)
    assert [path.name for path in (store.folder / "tmp").iterdir()] == ["young"]


def _write_many(folder: Path) -> None:
    store = EmbeddedStore(folder)
    for index in range(200):
        put(store, b"%d" % index)


def test_processes_share_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(tmp_path / "ipfs",)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    store = EmbeddedStore(tmp_path / "ipfs")
    assert all(store.get(Cid.of(b"%d" % index)) for index in range(200))
    assert list((store.folder / "tmp").iterdir()) == []
