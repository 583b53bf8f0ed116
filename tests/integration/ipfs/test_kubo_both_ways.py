"""Kubo and we read each other: what one adds the other gets, by RPC and by gateway, directories included."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from hypernode_worker.core.types import DAG_PB, Cid
from hypernode_worker.errors import ContentNotFound
from hypernode_worker.ipfs import open_store
from tests.support import ipfs_content
from tests.support.ipfs_kubo import Kubo, running_kubo
from tests.support.ipfs_servers import pinning_service

pytestmark = pytest.mark.kubo


@pytest.fixture(scope="module")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubo]:
    with running_kubo(tmp_path_factory.mktemp("kubo") / "repo") as running:
        yield running


def listing(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


async def ipfs(kubo: Kubo, *arguments: str) -> bytes:
    return await asyncio.to_thread(kubo.repo.run, *arguments)


@pytest.mark.parametrize("version", [["--cid-version=1"], ["--cid-version=0"], ["--cid-version=1", "--trickle"]])
@pytest.mark.parametrize("tree", ["nested", "names", "just sharded"])
async def test_what_kubo_adds_we_read(kubo: Kubo, tmp_path: Path, tree: str, version: list[str]) -> None:
    made = ipfs_content.make_tree(tmp_path / "made", tree, ipfs_content.PROFILES["kubo-cid-v1"])
    cid = Cid.parse((await ipfs(kubo, "add", "-rHQ", *version, str(made))).decode().strip())
    for name, places in {"rpc": {"kubo_url": kubo.api}, "gateway": {"gateways": [kubo.gateway]}}.items():
        store = open_store(blocks_dir=tmp_path / f"blocks {name}", **places)  # pyright: ignore[reportArgumentType]
        await store.fetch(cid, tmp_path / name, max_bytes=1 << 24, max_files=9000, timeout_s=60)
        assert listing(tmp_path / name) == listing(made)
        await store.close()


@pytest.mark.parametrize("profile", ["unixfs-v1-2025", "kubo-cid-v1"])
@pytest.mark.parametrize("tree", ["empty", "nested", "names", "just sharded"])
async def test_what_we_add_kubo_gets(kubo: Kubo, tmp_path: Path, tree: str, profile: str) -> None:
    made = ipfs_content.make_tree(tmp_path / "made", tree, ipfs_content.PROFILES[profile])
    store = open_store(blocks_dir=tmp_path / "blocks", kubo_url=kubo.api, profile=profile)
    cid = await store.add_path(made)
    assert await store.has(cid)
    await store.close()
    await ipfs(kubo, "get", "-o", str(tmp_path / "got"), str(cid))
    assert listing(tmp_path / "got") == listing(made)
    assert str(cid).encode() in await ipfs(kubo, "pin", "ls", "--type=recursive", str(cid))


async def test_a_large_file_streams_through(kubo: Kubo, tmp_path: Path) -> None:
    data = secrets.token_bytes(60 << 20)
    store = open_store(blocks_dir=tmp_path / "writer", kubo_url=kubo.api)
    cid = await store.add_bytes(data)
    await store.close()
    assert await ipfs(kubo, "cat", str(cid)) == data
    reader = open_store(blocks_dir=tmp_path / "reader", gateways=[kubo.gateway])
    assert await reader.read(cid, max_bytes=len(data), timeout_s=60) == data
    await reader.close()


async def test_a_gateway_named_localhost_leads_to_its_subdomains(kubo: Kubo, tmp_path: Path) -> None:
    store = open_store(blocks_dir=tmp_path / "writer", kubo_url=kubo.api)
    cid = await store.add_bytes(b"by subdomain")
    await store.close()
    reader = open_store(blocks_dir=tmp_path / "reader", gateways=[kubo.gateway.replace("127.0.0.1", "localhost")])
    assert await reader.read(cid, max_bytes=20, timeout_s=10) == b"by subdomain"
    await reader.close()


async def test_an_unpinned_root_is_not_held(kubo: Kubo, tmp_path: Path) -> None:
    store = open_store(blocks_dir=tmp_path / "blocks", kubo_url=kubo.api)
    cid = await store.add_bytes(secrets.token_bytes(100))
    assert await store.has(cid)
    await ipfs(kubo, "pin", "rm", str(cid))
    assert not await store.has(cid)
    await store.close()


async def test_get_on_the_rpc_is_405(kubo: Kubo) -> None:
    async with httpx2.AsyncClient() as client:
        assert (await client.get(f"{kubo.api}/api/v0/version")).status_code == 405


async def test_what_kubo_has_not_got_is_not_found(kubo: Kubo, tmp_path: Path) -> None:
    store = open_store(blocks_dir=tmp_path / "blocks", kubo_url=kubo.api, gateways=[kubo.gateway])
    with pytest.raises(ContentNotFound, match="hasn't got"):
        await store.read(Cid(DAG_PB, secrets.token_bytes(32)), max_bytes=10, timeout_s=1.5)
    assert "1 of 1 gateways answer" in await store.check()
    await store.close()


async def test_a_pinning_service_that_is_kubo_makes_our_cids(kubo: Kubo, tmp_path: Path) -> None:
    def cid_of(path: Path) -> str:
        return kubo.repo.run("add", "-rHQ", "--cid-version=1", "--chunker=size-262144", str(path)).decode().strip()

    made = ipfs_content.make_tree(tmp_path / "made", "names", ipfs_content.PROFILES["kubo-cid-v1"])
    (made / "large").write_bytes(secrets.token_bytes(3 << 20))
    async with pinning_service(tmp_path / "service", cid_of=cid_of) as service:
        store = open_store(blocks_dir=tmp_path / "blocks", upload_url=service.url, upload_token=service.token)
        cid = await store.add_path(made)
        assert await store.has(cid)
        await store.close()
    reader = open_store(blocks_dir=tmp_path / "reader", gateways=[kubo.gateway])
    await reader.fetch(cid, tmp_path / "copy", max_bytes=1 << 23, max_files=100, timeout_s=20)
    assert listing(tmp_path / "copy") == listing(made)
    await reader.close()
