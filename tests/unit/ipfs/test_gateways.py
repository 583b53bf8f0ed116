"""Gateways that lie, stall, flood and redirect: no wrong byte gets through, and none holds us up."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import (
    ConfigError,
    ContentInvalid,
    ContentNotFound,
    ContentTooLarge,
    EndpointDown,
    HypernodeError,
    RateLimited,
)
from hypernode_worker.ipfs import BlockGateway, EmbeddedStore, open_store
from hypernode_worker.ipfs.dagpb import MAX_BLOCK_BYTES
from hypernode_worker.ipfs.gateways import MAX_REDIRECTS, Gateway
from hypernode_worker.ipfs.transport import Reply, Transport
from tests.support.ipfs_servers import Answer, RawServer, Request, answering, raw_server

DATA = b"the right bytes"
CID = Cid.of(DATA)
PUBLIC = "93.184.216.34"


@asynccontextmanager
async def gateway_that(answer: Answer, *, timeout_s: float = 5.0) -> AsyncGenerator[tuple[Gateway, RawServer]]:
    transport = Transport()
    async with raw_server(answer) as server:
        try:
            yield Gateway(server.url, timeout_s=timeout_s, transport=transport), server
        finally:
            await transport.close()


async def refuse(answer: Answer, error: type[HypernodeError], why: str, *, timeout_s: float = 5.0) -> HypernodeError:
    async with gateway_that(answer, timeout_s=timeout_s) as (gateway, _):
        with pytest.raises(error, match=why) as caught:
            await gateway.block(CID)
    return caught.value


async def test_a_block_is_asked_for_as_trustless_gateways_want_it() -> None:
    async with gateway_that(answering(DATA)) as (gateway, server):
        assert await gateway.block(CID) == DATA
    request = server.requests[0]
    assert (request.method, request.target) == ("GET", f"/ipfs/{CID}?format=raw")
    assert request.headers["accept"] == "application/vnd.ipld.raw"
    assert request.headers["accept-encoding"] == "identity"


async def test_wrong_bytes_are_refused() -> None:
    await refuse(answering(b"the wrong bytes"), ContentInvalid, "other bytes")
    await refuse(answering(b""), ContentInvalid, "other bytes")
    await refuse(answering(DATA + b"\0"), ContentInvalid, "other bytes")


async def test_endless_bytes_are_cut_off() -> None:
    sent = 0

    async def endless(_request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    await refuse(endless, ContentInvalid, "more for")
    assert sent < MAX_BLOCK_BYTES + (16 << 20)  # what the sockets' buffers took


async def test_a_length_that_lies_is_not_believed() -> None:
    await refuse(answering(DATA, Content_Length=str(1 << 40)), EndpointDown, "breaks off")
    await refuse(answering(DATA, Content_Length="3"), ContentInvalid, "other bytes")
    await refuse(answering(DATA, Content_Length="-1"), EndpointDown, "breaks off")


async def test_a_slow_drip_is_given_up() -> None:
    async def drip(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
        for byte in DATA:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0.1)

    await refuse(drip, EndpointDown, "no whole block within 0.3 s", timeout_s=0.3)


async def test_silence_is_given_up() -> None:
    async def silent(_request: Request, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    await refuse(silent, EndpointDown, "no whole block", timeout_s=0.2)


async def test_packed_answers_are_not_unpacked() -> None:
    bomb = zlib.compress(bytes(64 << 20))
    await refuse(answering(bomb, Content_Encoding="deflate"), EndpointDown, "packs its answers")
    await refuse(answering(gzip.compress(DATA), Content_Encoding="gzip"), EndpointDown, "packs its answers")


async def test_huge_headers_and_nonsense_are_no_answer() -> None:
    async def nonsense(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    await refuse(answering(DATA, X_Huge="x" * (4 << 20)), EndpointDown, "can't be reached or breaks off")
    await refuse(nonsense, EndpointDown, "can't be reached or breaks off")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("404 Not Found", ContentNotFound),
        ("410 Gone", ContentNotFound),
        ("403 Forbidden", EndpointDown),
        ("500 Internal Server Error", EndpointDown),
        ("504 Gateway Timeout", EndpointDown),
        ("206 Partial Content", EndpointDown),
    ],
)
async def test_other_statuses_are_no_block(status: str, error: type[HypernodeError]) -> None:
    await refuse(answering(DATA, status), error, "HTTP")


async def test_a_gateway_that_asks_for_fewer_requests_is_left_alone() -> None:
    async with gateway_that(answering(b"", "429 Too Many Requests", Retry_After="70")) as (gateway, server):
        for _ in range(5):
            with pytest.raises(RateLimited) as caught:
                await gateway.block(CID)
            assert caught.value.retry_after_s == pytest.approx(70, abs=2)
    assert len(server.requests) == 1


async def test_nobody_there_is_said() -> None:
    transport = Transport()
    with pytest.raises(EndpointDown, match=r"http://127.0.0.1:9 can't be reached"):
        await Gateway("http://127.0.0.1:9", timeout_s=5, transport=transport).block(CID)
    await transport.close()


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "file:///etc/passwd", "http://[", "http://x:99999"])
async def test_only_http_urls_are_taken(url: str) -> None:
    with pytest.raises(ConfigError, match="IPFS_GATEWAY"):
        Gateway(url, timeout_s=1, transport=Transport())


async def test_credentials_are_sent_and_never_shown() -> None:
    async with raw_server(answering(b"", "500 Oh")) as server:
        transport = Transport()
        url = server.url.replace("http://", "http://me:s3cret@")
        gateway = Gateway(url + "/ipfs/", timeout_s=5, transport=transport)
        with pytest.raises(EndpointDown) as caught:
            await gateway.block(CID)
        await transport.close()
    assert server.requests[0].headers["authorization"] == "Basic bWU6czNjcmV0"
    assert server.requests[0].target == f"/ipfs/{CID}?format=raw"
    assert "s3cret" not in f"{caught.value} {gateway.label}"


async def test_a_gateway_here_may_redirect_here() -> None:
    async with (
        raw_server(answering(DATA)) as target,
        gateway_that(answering(b"", "302 Found", Location=f"{target.url}/elsewhere")) as (gateway, _),
    ):
        assert await gateway.block(CID) == DATA
    assert target.requests[0].target == "/elsewhere"
    assert "authorization" not in target.requests[0].headers


async def test_redirects_have_an_end() -> None:
    async with gateway_that(answering(b"", "302 Found", Location="/again")) as (gateway, server):
        with pytest.raises(EndpointDown, match="redirects more than"):
            await gateway.block(CID)
    assert len(server.requests) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "http://u:p@127.0.0.1/", "http://[", ""])
async def test_redirects_lead_to_plain_http_only(location: str) -> None:
    await refuse(answering(b"", "301 Moved", Location=location), EndpointDown, "redirects (to something|more than)")


class Script(Transport):
    """Answers by URL and notes what was asked."""

    def __init__(self, answers: Mapping[str, Reply]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[tuple[str, str | None, str | None, str | None]] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        label: str,
        max_bytes: int,
        timeout_s: float | None,
        headers: Mapping[str, str] | None = None,
        content: AsyncIterable[bytes] | None = None,
        server_name: str | None = None,
    ) -> Reply:
        sent = headers or {}
        self.asked.append((url, sent.get("host"), server_name, sent.get("authorization")))
        return self.answers[url]


def public_gateway(transport: Transport, names: Mapping[str, list[str]]) -> Gateway:
    async def resolve(host: str) -> list[str]:
        return names[host]

    return Gateway("https://me:s3cret@gateway.example", timeout_s=5, transport=transport, resolve=resolve)


FIRST = f"https://gateway.example/ipfs/{CID}?format=raw"


async def test_a_public_redirect_is_followed_to_the_address_that_was_checked() -> None:
    transport = Script(
        {
            FIRST: Reply(302, {"location": "https://cdn.example:444/x?y=1"}, b""),
            f"https://{PUBLIC}:444/x?y=1": Reply(307, {"location": "/z"}, b""),
            f"https://{PUBLIC}:444/z": Reply(200, {}, DATA),
        }
    )
    gateway = public_gateway(transport, {"gateway.example": [PUBLIC], "cdn.example": [PUBLIC]})
    assert await gateway.block(CID) == DATA
    assert transport.asked[0][3] is not None
    assert transport.asked[1:] == [
        (f"https://{PUBLIC}:444/x?y=1", "cdn.example:444", "cdn.example", None),
        (f"https://{PUBLIC}:444/z", "cdn.example:444", "cdn.example", None),
    ]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["192.168.1.1"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["::1"],
        ["fe80::1%eth0"],
        ["fd00::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        [PUBLIC, "127.0.0.1"],
        [],
    ],
)
async def test_a_public_gateway_may_not_redirect_to_private_addresses(addresses: list[str]) -> None:
    transport = Script({FIRST: Reply(302, {"location": "http://inside.example:8899/"}, b"")})
    gateway = public_gateway(transport, {"gateway.example": [PUBLIC], "inside.example": addresses})
    with pytest.raises(EndpointDown, match=r"private address|no address"):
        await gateway.block(CID)
    assert len(transport.asked) == 1


async def test_a_named_gateway_may_lead_back_to_itself() -> None:
    transport = Script(
        {
            FIRST: Reply(302, {"location": "https://gateway.example:8443/x"}, b""),
            "https://gateway.example:8443/x": Reply(200, {}, DATA),
        }
    )
    assert await public_gateway(transport, {"gateway.example": ["10.0.0.1"]}).block(CID) == DATA


async def test_the_next_gateway_is_asked_after_a_liar(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    honest = EmbeddedStore(tmp_path / "honest")
    honest.put(CID, DATA)
    async with raw_server(answering(b"lies")) as liar, BlockGateway(honest) as gateway:
        store = open_store(blocks_dir=tmp_path / "here", gateways=[liar.url, gateway.url])
        assert await store.read(CID, max_bytes=100, timeout_s=5) == DATA
        await store.close()
    assert "answered other bytes" in caplog.text


async def test_only_liars_means_not_found_and_says_so(tmp_path: Path) -> None:
    async with raw_server(answering(b"lies")) as liar:
        store = open_store(blocks_dir=tmp_path / "here", gateways=[liar.url])
        with pytest.raises(ContentNotFound, match="gave wrong bytes"):
            await store.read(CID, max_bytes=100, timeout_s=0.3)
        await store.close()


async def test_the_caller_bounds_what_is_fetched(tmp_path: Path) -> None:
    async with raw_server(answering(DATA)) as server:
        store = open_store(blocks_dir=tmp_path / "here", gateways=[server.url])
        with pytest.raises(ContentTooLarge):
            await store.read(CID, max_bytes=len(DATA) - 1, timeout_s=5)
        await store.close()


async def test_check_tells_a_trustless_gateway_from_others() -> None:
    async with gateway_that(answering(b"")) as (gateway, server):
        await gateway.check()
    assert server.requests[0].target == "/ipfs/bafkqaaa?format=raw"
    for answer in (answering(b"<html>"), answering(b"", "404 Not Found"), answering(bytes(3 << 20))):
        async with gateway_that(answer) as (gateway, _):
            with pytest.raises(EndpointDown):
                await gateway.check()
