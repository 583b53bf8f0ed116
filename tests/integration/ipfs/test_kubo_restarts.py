"""Kubo is killed while a result is on its way to it, and comes back: the result gets there whole, and pinned."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hypernode_worker.core.events import Event
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import EndpointDown
from hypernode_worker.ipfs import EmbeddedStore, open_store
from hypernode_worker.node.announcer import Announcer
from hypernode_worker.node.uploads import Uploads
from tests.support.ipfs_content import pattern
from tests.support.ipfs_kubo import kubo_daemon, make_repo

pytestmark = pytest.mark.kubo

HALF = 12


async def test_kubo_restarted_during_an_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "big").write_bytes(pattern(24 << 20))
    half_way = asyncio.Event()
    sent: list[Cid] = []
    original = EmbeddedStore.block

    async def block(self: EmbeddedStore, cid: Cid) -> bytes:
        sent.append(cid)
        if len(sent) == HALF:
            half_way.set()
            await asyncio.sleep(0.5)
        return await original(self, cid)

    monkeypatch.setattr(EmbeddedStore, "block", block)
    repo = await asyncio.to_thread(make_repo, tmp_path / "repo")
    first, second = kubo_daemon(repo), kubo_daemon(repo)
    kubo = await asyncio.to_thread(first.__enter__)
    said: list[Event] = []
    store = open_store(blocks_dir=tmp_path / "blocks", kubo_url=kubo.api)
    async with Uploads(store, Announcer([said.append])) as uploads:
        cid = await store.import_path(tmp_path / "result")
        waiting = asyncio.create_task(uploads.confirmed(cid))
        await half_way.wait()
        kubo.process.kill()
        await asyncio.to_thread(first.__exit__, None, None, None)
        with pytest.raises(EndpointDown):
            await store.has(cid)
        repo.config("Addresses.API", f"/ip4/127.0.0.1/tcp/{kubo.api.rpartition(':')[2]}")
        await asyncio.to_thread(second.__enter__)
        try:
            async with asyncio.timeout(90):
                await waiting
            assert await store.has(cid)
            assert await store.unpublished() == ()
            assert str(cid).encode() in await asyncio.to_thread(repo.run, "pin", "ls", "--type=recursive", str(cid))
            stat = await asyncio.to_thread(repo.run, "files", "stat", "--format=<cumulsize>", f"/ipfs/{cid}")
            assert int(stat) > 24 << 20
        finally:
            await asyncio.to_thread(second.__exit__, None, None, None)
    await store.close()
    assert len(sent) > HALF + 24
