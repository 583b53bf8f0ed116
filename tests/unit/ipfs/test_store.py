"""The store as a whole: what open_store wires, what it says of itself, and what it costs to import."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hypernode_worker.core.ports import Reach
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentNotFound, EndpointDown
from hypernode_worker.ipfs import BlockGateway, EmbeddedStore, open_store
from tests.support.ipfs_servers import pinning_service


def test_reach_and_description_tell_where_content_goes(tmp_path: Path) -> None:
    here = open_store(blocks_dir=tmp_path)
    assert here.reach is Reach.MACHINE
    assert str(tmp_path) in here.description
    assert here.profile == "unixfs-v1-2025"
    kubo = open_store(
        blocks_dir=tmp_path,
        kubo_url="http://me:s3cret@127.0.0.1:5001",
        upload_url="https://pin.example/pinning/pinJSONToIPFS",
        upload_token="t0ken",
        gateways=["https://a.example", "https://b.example/ipfs"],
    )
    assert kubo.reach is Reach.NETWORK
    assert kubo.description == (
        f"writes to Kubo at http://127.0.0.1:5001; reads from blocks in {tmp_path}, then Kubo at "
        "http://127.0.0.1:5001, then https://a.example, then https://b.example"
    )
    pinning = open_store(blocks_dir=tmp_path, upload_url="https://pin.example/x", upload_token="t0ken")
    assert pinning.reach is Reach.NETWORK
    assert pinning.profile == "kubo-cid-v1"
    assert "t0ken" not in pinning.description
    assert open_store(blocks_dir=tmp_path, upload_url="https://pin.example/x").reach is Reach.MACHINE


def test_settings_that_can_not_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="IPFS_UPLOAD_URL"):
        open_store(blocks_dir=tmp_path, upload_token="t0ken")
    with pytest.raises(ConfigError, match="profile"):
        open_store(blocks_dir=tmp_path, profile="nonsense")
    with pytest.raises(ConfigError, match="IPFS_API_URL"):
        open_store(blocks_dir=tmp_path, kubo_url="/ip4/127.0.0.1/tcp/5001")


async def test_check_says_what_it_saw(tmp_path: Path) -> None:
    store = open_store(blocks_dir=tmp_path / "here")
    assert "read it back" in await store.check()
    async with BlockGateway(EmbeddedStore(tmp_path / "there")) as gateway:
        both = open_store(blocks_dir=tmp_path / "here", gateways=[gateway.url, "http://127.0.0.1:9"])
        assert "1 of 2 gateways answer" in await both.check()
        await both.close()
    alone = open_store(blocks_dir=tmp_path / "here", gateways=["http://127.0.0.1:9"])
    assert "0 of 1 gateways answer" in await alone.check()
    await alone.close()
    async with pinning_service(tmp_path / "service") as service:
        dead = open_store(
            blocks_dir=tmp_path / "here",
            gateways=["http://127.0.0.1:9"],
            upload_url=service.url,
            upload_token=service.token,
        )
        with pytest.raises(EndpointDown, match="No gateway answers"):
            await dead.check()
        await dead.close()


async def test_a_lost_block_means_not_held(tmp_path: Path) -> None:
    store = open_store(blocks_dir=tmp_path)
    cid = await store.add_bytes(bytes(3 << 20))
    assert await store.has(cid)
    leaf = Cid.of(bytes(1 << 20))
    next((tmp_path / "blocks").rglob(leaf.digest.hex())).unlink()
    assert not await store.has(cid)
    with pytest.raises(ContentNotFound):
        await store.read(cid, max_bytes=4 << 20, timeout_s=5)
    assert await store.add_bytes(bytes(3 << 20)) == cid
    assert await store.has(cid)


async def test_what_was_only_fetched_is_not_held(tmp_path: Path) -> None:
    there = EmbeddedStore(tmp_path / "there")
    cid = Cid.of(b"data")
    there.put(cid, b"data")
    async with BlockGateway(there) as gateway:
        store = open_store(blocks_dir=tmp_path / "here", gateways=[gateway.url])
        await store.read(cid, max_bytes=10, timeout_s=5)
        assert not await store.has(cid)
        await store.close()


async def test_a_cancelled_add_stops_its_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on, count = threading.Event(), threading.Event(), 0
    original = EmbeddedStore.put

    def put(self: EmbeddedStore, cid: Cid, block: bytes) -> Path:
        nonlocal count
        count += 1
        reached.set()
        go_on.wait(10)
        return original(self, cid, block)

    monkeypatch.setattr(EmbeddedStore, "put", put)
    store = open_store(blocks_dir=tmp_path)
    task = asyncio.create_task(store.add_bytes(bytes(50 << 20)))
    await asyncio.to_thread(reached.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert count == 1
    assert list(store.blocks.pins()) == []


async def test_the_event_loop_goes_on_while_a_large_file_is_added(tmp_path: Path) -> None:
    store = open_store(blocks_dir=tmp_path)
    task = asyncio.create_task(store.add_bytes(bytes(64 << 20)))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    await task
    assert turns > 3


def test_servers_and_clients_are_imported_when_needed() -> None:
    code = "import sys, hypernode_worker.ipfs; print([m for m in ('httpx2', 'aiohttp') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
