"""The loopback gateway: verified blocks by CID, to this machine only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from hypernode_worker.core.types import DAG_PB, Cid
from hypernode_worker.errors import ConfigError
from hypernode_worker.ipfs import BlockGateway, EmbeddedStore

DATA = b"some bytes"
CID = Cid.of(DATA)
RAW = "application/vnd.ipld.raw"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    store = EmbeddedStore(tmp_path)
    store.put(CID, DATA)
    async with BlockGateway(store) as gateway, httpx2.AsyncClient(base_url=gateway.url) as client:
        yield client


async def test_a_block_is_served_by_format_or_accept(client: httpx2.AsyncClient) -> None:
    for reply in (
        await client.get(f"/ipfs/{CID}?format=raw"),
        await client.get(f"/ipfs/{CID}", headers={"accept": f"text/html, {RAW};q=0.9"}),
    ):
        assert (reply.status_code, reply.content) == (200, DATA)
        assert reply.headers["content-type"] == RAW
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "attachment" in reply.headers["content-disposition"]
        assert "immutable" in reply.headers["cache-control"]


async def test_head_tells_the_size(client: httpx2.AsyncClient) -> None:
    reply = await client.head(f"/ipfs/{CID}?format=raw")
    assert (reply.status_code, reply.content, reply.headers["content-length"]) == (200, b"", str(len(DATA)))


async def test_the_probe_is_the_empty_block(client: httpx2.AsyncClient) -> None:
    reply = await client.get("/ipfs/bafkqaaa?format=raw")
    assert (reply.status_code, reply.content) == (200, b"")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/ipfs/{CID}", 406),
        (f"/ipfs/{CID}?format=car", 406),
        (f"/ipfs/{CID}/file?format=raw", 404),
        (f"/ipfs/{Cid(DAG_PB, bytes(32))}?format=raw", 404),
        ("/ipfs/..%2f..%2fetc%2fpasswd?format=raw", 400),
        ("/ipfs/bafkqabtimvwgy3yk?format=raw", 400),
        ("/", 404),
    ],
)
async def test_everything_else_is_refused(client: httpx2.AsyncClient, path: str, status: int) -> None:
    assert (await client.get(path)).status_code == status


async def test_writing_is_refused(client: httpx2.AsyncClient) -> None:
    assert (await client.post(f"/ipfs/{CID}?format=raw", content=b"x")).status_code == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:1234", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("[::1]", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("192.168.0.1", 403),
    ],
)
async def test_other_hosts_are_refused(client: httpx2.AsyncClient, host: str, status: int) -> None:
    assert (await client.get(f"/ipfs/{CID}?format=raw", headers={"host": host})).status_code == status


async def test_a_damaged_block_is_not_served(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    next((tmp_path / "blocks").rglob(CID.digest.hex())).write_bytes(b"damage")
    assert (await client.get(f"/ipfs/{CID}?format=raw")).status_code == 404


async def test_only_loopback_is_served(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.0.1", "example.org"):
        with pytest.raises(ConfigError, match="loopback"):
            BlockGateway(EmbeddedStore(tmp_path), host)


async def test_a_taken_port_is_said(tmp_path: Path) -> None:
    async with BlockGateway(EmbeddedStore(tmp_path)) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="taken"):
            async with BlockGateway(EmbeddedStore(tmp_path), port=port):
                pass
