"""What core.ports.ContentStore promises, over every store."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Protocol

import pytest

from hypernode_worker.core.ports import ContentStore, Reach
from hypernode_worker.core.types import DAG_PB, Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, ContentNotFound, ContentTooLarge
from hypernode_worker.ipfs import LayeredStore
from hypernode_worker.ipfs.importer import cid_of_path
from hypernode_worker.ipfs.unixfs import profile_named

MIB = 1 << 20


class Stores(Protocol):
    @property
    def writer(self) -> LayeredStore: ...
    @property
    def reader(self) -> LayeredStore: ...


def is_a_content_store(store: LayeredStore) -> ContentStore:
    return store


def listing(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "stores")


def result_in(folder: Path) -> Path:
    """A job's result, never twice the same."""
    result = folder / "result"
    (result / "logs").mkdir(parents=True)
    (result / "output" / "größe").mkdir(parents=True)
    (result / "manifest.json").write_text(secrets.token_hex(8))
    (result / "logs" / "0.log").write_bytes(b"")
    (result / "output" / "größe" / "ergebnis \U0001f600.bin").write_bytes(secrets.token_bytes(2 * MIB + 7))
    (result / "output" / "a b\"c'.txt").write_text("quoted")
    return result


async def fetch(store: ContentStore, cid: Cid, to: Path, *, max_bytes: int = 8 * MIB, max_files: int = 100) -> None:
    await store.fetch(cid, to, max_bytes=max_bytes, max_files=max_files, timeout_s=20)


@pytest.mark.parametrize("size", [0, 1, 1000, MIB, MIB + 1, 5 * MIB + 3])
async def test_bytes_come_back(stores: Stores, size: int) -> None:
    data = secrets.token_bytes(size)
    cid = await is_a_content_store(stores.writer).add_bytes(data)
    assert await stores.reader.read(cid, max_bytes=size, timeout_s=20) == data


async def test_a_directory_comes_back_with_the_cid_of_its_profile(stores: Stores, tmp_path: Path) -> None:
    result = result_in(tmp_path)
    cid = await stores.writer.add_path(result)
    assert cid == cid_of_path(result, profile_named(stores.writer.profile))
    await fetch(stores.reader, cid, tmp_path / "copy")
    assert listing(tmp_path / "copy") == listing(result)
    assert left(tmp_path) == ["copy", "result"]


async def test_a_file_is_a_path_too(stores: Stores, tmp_path: Path) -> None:
    path = result_in(tmp_path) / "manifest.json"
    cid = await stores.writer.add_path(path)
    assert cid == await stores.writer.add_bytes(path.read_bytes())
    await fetch(stores.reader, cid, tmp_path / "copy", max_files=1)
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


async def test_adding_may_be_repeated_and_is_held_afterwards(stores: Stores) -> None:
    data = secrets.token_bytes(3 * MIB)
    foreign = Cid(DAG_PB, secrets.token_bytes(32))
    assert not await stores.writer.has(foreign)
    cid = await stores.writer.add_bytes(data)
    assert await stores.writer.add_bytes(data) == cid
    assert await stores.writer.has(cid)


async def test_what_is_imported_is_here_and_what_is_published_is_there(stores: Stores, tmp_path: Path) -> None:
    result = result_in(tmp_path)
    (result / "output" / "own").write_bytes(secrets.token_bytes(100))
    cid = await stores.writer.import_path(result)
    assert cid == await stores.writer.import_path(result)
    waits = stores.writer.reach is Reach.NETWORK
    assert list(await stores.writer.unpublished()) == [cid] * waits
    assert await stores.writer.has(cid) is not waits
    await fetch(stores.writer, cid, tmp_path / "own copy")
    await stores.writer.publish(cid)
    await stores.writer.publish(cid)
    assert await stores.writer.unpublished() == ()
    assert await stores.writer.has(cid)
    await fetch(stores.reader, cid, tmp_path / "copy")
    assert listing(tmp_path / "copy") == listing(result) == listing(tmp_path / "own copy")


async def test_what_is_withdrawn_needs_no_upload(stores: Stores, tmp_path: Path) -> None:
    cid = await stores.writer.import_path(result_in(tmp_path))
    await stores.writer.withdraw(cid)
    await stores.writer.withdraw(cid)
    assert await stores.writer.unpublished() == ()


async def test_many_at_once(stores: Stores, tmp_path: Path) -> None:
    pieces = [secrets.token_bytes(1000 + index) for index in range(12)]
    cids = await asyncio.gather(*(stores.writer.add_bytes(piece) for piece in pieces))
    read = await asyncio.gather(*(stores.reader.read(cid, max_bytes=2000, timeout_s=20) for cid in cids))
    assert read == pieces
    cid = await stores.writer.add_path(result_in(tmp_path))
    await asyncio.gather(*(fetch(stores.reader, cid, tmp_path / f"copy{index}") for index in range(4)))
    assert listing(tmp_path / "copy0") == listing(tmp_path / "copy3") == listing(tmp_path / "result")


async def test_what_nobody_has_is_not_found_in_time(stores: Stores, tmp_path: Path) -> None:
    missing = Cid(DAG_PB, secrets.token_bytes(32))
    with pytest.raises(ContentNotFound, match=str(missing)):
        await stores.reader.read(missing, max_bytes=10, timeout_s=0.5)
    with pytest.raises(ContentNotFound, match=str(missing)):
        await stores.reader.fetch(missing, tmp_path / "copy", max_bytes=10, max_files=1, timeout_s=0.5)
    assert left(tmp_path) == []


async def test_too_large_is_refused_and_leaves_nothing(stores: Stores, tmp_path: Path) -> None:
    cid = await stores.writer.add_path(result_in(tmp_path))
    with pytest.raises(ContentTooLarge):
        await fetch(stores.reader, cid, tmp_path / "copy", max_bytes=2 * MIB)
    with pytest.raises(ContentTooLarge):
        await fetch(stores.reader, cid, tmp_path / "copy", max_files=3)
    with pytest.raises(ContentTooLarge):
        await stores.reader.read(await stores.writer.add_bytes(b"12345"), max_bytes=4, timeout_s=20)
    assert left(tmp_path) == ["result"]


async def test_a_directory_is_not_read_as_a_file(stores: Stores, tmp_path: Path) -> None:
    cid = await stores.writer.add_path(result_in(tmp_path))
    with pytest.raises(ContentInvalid):
        await stores.reader.read(cid, max_bytes=8 * MIB, timeout_s=20)


async def test_an_existing_destination_is_refused(stores: Stores, tmp_path: Path) -> None:
    cid = await stores.writer.add_bytes(secrets.token_bytes(10))
    (tmp_path / "copy").mkdir()
    with pytest.raises(ConfigError):
        await fetch(stores.reader, cid, tmp_path / "copy")
    assert left(tmp_path) == ["copy"]


async def test_symbolic_links_are_refused(stores: Stores, tmp_path: Path) -> None:
    result = result_in(tmp_path)
    (result / "output" / "link").symlink_to("/etc/passwd")
    with pytest.raises(ContentInvalid, match="symbolic link"):
        await stores.writer.add_path(result)


async def test_check_passes_and_reach_and_description_are_given(stores: Stores) -> None:
    assert "read it back" in await stores.writer.check()
    assert stores.writer.reach in Reach
    assert stores.writer.description
    assert "secret" not in stores.writer.description
