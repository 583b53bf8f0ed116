"""Endpoints that are down, slow, busy, broken or lying: one clear sentence each, in bounded time and memory."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Market
from hypernode_worker.errors import (
    AccountInvalid,
    AccountMissing,
    ConfigError,
    EndpointDown,
    PermanentError,
    RateLimited,
)
from hypernode_worker.solana import subscription
from hypernode_worker.solana.client import SolanaClient, open_chain
from tests.support.solana_endpoint import Endpoint, failed
from tests.support.solana_flow import open_market, post, register


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with Endpoint() as endpoint:
        yield endpoint


@contextlib.asynccontextmanager
async def connected(endpoint: Endpoint, **more: Any) -> AsyncGenerator[SolanaClient]:
    wallet = Keypair()
    endpoint.bank.airdrop(wallet.pubkey(), 10**10)
    settings: dict[str, Any] = {
        "ws_url": endpoint.ws_url,
        "timeout_s": 2.0,
        "poll_interval_s": 0.2,
    } | more
    async with open_chain(endpoint.url, wallet=wallet, **settings) as chain:
        yield chain


@contextlib.asynccontextmanager
async def marketed(endpoint: Endpoint, **more: Any) -> AsyncGenerator[tuple[SolanaClient, Market]]:
    async with connected(endpoint, **more) as chain:
        yield chain, await open_market(chain)


async def test_nobody_listens() -> None:
    async with open_chain("http://127.0.0.1:9", timeout_s=2.0) as chain:
        with pytest.raises(EndpointDown, match=r"http://127\.0\.0\.1:9 can't be reached.*SOLANA_RPC_URL"):
            await chain.time()


async def test_a_slow_endpoint_is_given_up_on_after_one_timeout(endpoint: Endpoint) -> None:
    endpoint.delay_s = 30.0
    async with connected(endpoint, timeout_s=0.3) as chain:
        started = time.monotonic()
        with pytest.raises(EndpointDown, match=r"didn't answer getAccountInfo within 0\.3 s"):
            await chain.time()
        assert time.monotonic() - started < 0.6
        assert len(endpoint.requests) == 1


async def test_an_answer_that_trickles_is_cut_off_too(endpoint: Endpoint) -> None:
    async with connected(endpoint, timeout_s=0.5) as chain:
        async with _raw_server(_trickle) as url, open_chain(url, timeout_s=0.5) as slow:
            started = time.monotonic()
            with pytest.raises(EndpointDown, match="didn't answer"):
                await slow.time()
            assert time.monotonic() - started < 1.0
        await chain.time()


async def test_429_with_retry_after_waits_as_long_as_asked(endpoint: Endpoint) -> None:
    busy = iter([web.Response(status=429, headers={"Retry-After": "1"})])
    endpoint.fault = lambda _: next(busy, None)
    async with connected(endpoint) as chain:
        started = time.monotonic()
        await chain.time()
        assert 0.9 < time.monotonic() - started < 1.9
        assert len(endpoint.requests) == 2


async def test_429_for_longer_than_the_timeout_says_for_how_long(endpoint: Endpoint) -> None:
    endpoint.fault = lambda _: web.Response(status=429, headers={"Retry-After": "40"})
    async with connected(endpoint) as chain:
        with pytest.raises(RateLimited, match=r"allows no more requests for (39|40) s") as caught:
            await chain.time()
        assert caught.value.retry_after_s is not None
        assert 35 < caught.value.retry_after_s <= 40
        with pytest.raises(RateLimited):
            await chain.time()
        assert len(endpoint.requests) == 1, "a pause that was asked for is kept between requests too"


@pytest.mark.parametrize("header", [{}, {"Retry-After": "soon"}, {"Retry-After": "nan"}, {"Retry-After": "-5"}])
async def test_429_without_a_useful_header_backs_off(endpoint: Endpoint, header: dict[str, str]) -> None:
    busy = iter([web.Response(status=429, headers=header)])
    endpoint.fault = lambda _: next(busy, None)
    async with connected(endpoint) as chain:
        await chain.time()
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize("code", [429, -32429])
async def test_429_as_a_json_rpc_error_backs_off(endpoint: Endpoint, code: int) -> None:
    busy = iter([True])
    endpoint.fault = lambda request: failed(request, code) if next(busy, False) else None
    async with connected(endpoint) as chain:
        await chain.time()
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize("code", [-32005, -32016, -32000, 429])
async def test_an_error_code_without_data_is_an_error_and_no_panic(endpoint: Endpoint, code: int) -> None:
    endpoint.fault = lambda request: failed(request, code)
    async with connected(endpoint, timeout_s=0.5) as chain:
        with pytest.raises((EndpointDown, RateLimited)):
            await chain.checks.identity()


@pytest.mark.parametrize(
    "body",
    ["", "<html>busy</html>", "[]", "{}", '{"result": {}}', "[" * 50_000, '{"jsonrpc":"2.0","id":1,"result":{}}'],
)
async def test_garbage_is_said_to_be_garbage(endpoint: Endpoint, body: str) -> None:
    endpoint.fault = lambda _: web.Response(text=body)
    async with connected(endpoint) as chain:
        with pytest.raises(EndpointDown, match="no Solana JSON-RPC answer"):
            await chain.time()


@pytest.mark.parametrize("status", [301, 401, 403, 404, 500, 502, 503])
async def test_an_http_error_names_its_status(endpoint: Endpoint, status: int) -> None:
    endpoint.fault = lambda _: web.Response(status=status, text="<html>", headers={"Location": "http://127.0.0.1:9/"})
    async with connected(endpoint) as chain:
        with pytest.raises(EndpointDown, match=f"HTTP status {status}"):
            await chain.time()
    assert len(endpoint.requests) == 1


async def test_a_huge_answer_is_dropped_while_it_streams() -> None:
    sent = [0]

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sent[0] < 1 << 30:
                writer.write(b" " * (1 << 16))
                sent[0] += 1 << 16
                await writer.drain()
        writer.close()

    async with _raw_server(flood) as url, open_chain(url, timeout_s=5.0) as chain:
        with pytest.raises(EndpointDown, match="more than 1048576 bytes"):
            await chain.time()
    assert sent[0] < 32 << 20


@pytest.mark.parametrize("header", ["Content-Length: 99999999999", "Content-Encoding: gzip"])
async def test_a_body_that_says_that_it_is_huge_or_compressed_is_not_read(header: str) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{header}\r\n\r\n".encode())
        await writer.drain()

    async with _raw_server(answer) as url, open_chain(url, timeout_s=2.0) as chain:
        with pytest.raises(EndpointDown, match="dropped"):
            await chain.time()


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_trouble(endpoint: Endpoint) -> None:
    async with connected(endpoint) as chain:
        await chain.time()
        await endpoint.stop()
        await endpoint.start()
        await chain.time()


async def test_a_lie_about_the_owner_is_refused(endpoint: Endpoint) -> None:
    async with marketed(endpoint) as (chain, market):
        liar = Pubkey.new_unique()

        def lie(method: str, envelope: dict[str, Any]) -> None:
            if method == "getAccountInfo":
                envelope["result"]["value"]["owner"] = str(liar)

        endpoint.rewrite = lie
        with pytest.raises(AccountInvalid, match=f"belongs to the program {liar}.*PROGRAM_ID"):
            await chain.market(market.address)


async def test_an_account_moved_to_another_address_is_refused(endpoint: Endpoint) -> None:
    async with marketed(endpoint) as (chain, market):
        other = await open_market(chain, 2)
        real = endpoint.bank.account(other.address)

        assert real is not None
        endpoint.bank.set_account(market.address, real)
        with pytest.raises(AccountInvalid, match="isn't telling the truth"):
            await chain.market(market.address)


@pytest.mark.parametrize("change", [b"", b"\0" * 8, b"\xff" * 320, b"short"])
async def test_bytes_that_are_no_market_are_refused(endpoint: Endpoint, change: bytes) -> None:
    from hypernode_worker.localnet.accounts import ChainAccount
    from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID

    address = Pubkey.new_unique()
    endpoint.bank.set_account(address, ChainAccount(10**7, change, LOCALNET_PROGRAM_ID))
    async with connected(endpoint) as chain:
        with pytest.raises(AccountInvalid):
            await chain.market(address)


async def test_a_market_that_does_not_exist_or_is_of_another_program(endpoint: Endpoint) -> None:
    async with connected(endpoint) as chain:
        with pytest.raises(AccountMissing, match="There is no market at"):
            await chain.market(Pubkey.new_unique())
        with pytest.raises(AccountInvalid, match="not to the markets program"):
            await chain.market(chain.wallet)


async def test_another_chain_than_expected(endpoint: Endpoint) -> None:
    async with connected(endpoint) as chain:
        with pytest.raises(ConfigError, match=r"\(local\), not .* \(devnet\)"):
            await chain.checks.identity(expected_genesis_hash="EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG")


async def test_the_program_is_found_and_its_absence_is_explained(endpoint: Endpoint) -> None:
    async with connected(endpoint) as chain:
        await chain.checks.program()
    async with connected(endpoint, program_id=Pubkey.new_unique()) as chain:
        with pytest.raises(ConfigError, match=r"isn't deployed.*PROGRAM_ID"):
            await chain.checks.program()
    wallet = Keypair().pubkey()
    endpoint.bank.airdrop(wallet, 10**9)
    async with connected(endpoint, program_id=wallet) as chain:
        with pytest.raises(ConfigError, match="is no program"):
            await chain.checks.program()


async def test_the_next_endpoint_is_asked_while_the_first_is_down(endpoint: Endpoint) -> None:
    async with Endpoint(endpoint.bank) as second, open_chain([endpoint.url, second.url], timeout_s=2.0) as chain:
        wallet = Pubkey.new_unique()
        await chain.balance(wallet)
        assert second.asked("getBalance") == 0
        await endpoint.stop()
        await chain.balance(wallet)
        await chain.balance(wallet)
        assert second.asked("getBalance") == 2
        assert endpoint.asked("getBalance") == 1
        down, up = chain.health().endpoints
        assert down.rests_s is not None
        assert down.rests_s > 0
        assert "can't be reached" in str(down.trouble)
        assert (up.in_use, up.rests_s, up.trouble) == (True, 0.0, None)


async def test_an_endpoint_of_another_chain_is_never_used(endpoint: Endpoint) -> None:
    async with Endpoint() as stranger, open_chain([endpoint.url, stranger.url], timeout_s=2.0) as chain:
        await chain.time()
        await endpoint.stop()
        with pytest.raises(EndpointDown):
            await chain.time()
        assert {r["method"] for r in stranger.requests} == {"getGenesisHash"}


async def test_the_url_is_told_without_its_key(endpoint: Endpoint) -> None:
    endpoint.fault = lambda _: web.Response(status=500)
    async with connected(endpoint) as chain:
        with pytest.raises(EndpointDown) as caught:
            await chain.time()
        told = [str(caught.value), chain.health().endpoint]
        error: BaseException | None = caught.value
        while error is not None:
            told.append(str(error))
            error = error.__cause__
        assert not any("secret-api-key" in text for text in told)


async def test_no_faucet_is_a_sentence(endpoint: Endpoint) -> None:
    for code in (-32601, -32603, -32602):
        endpoint.fault = lambda request, code=code: failed(request, code, "faucet is dry")
        async with connected(endpoint) as chain:
            with pytest.raises(PermanentError, match=r"gave no airdrop of 2 SOL.*faucet is dry"):
                await chain.airdrop(2 * 10**9)


async def test_a_websocket_that_is_refused_leaves_polling(endpoint: Endpoint) -> None:
    endpoint.refuse_sockets = True
    async with marketed(endpoint) as (chain, market):
        await register(chain, market)
        job = await post(chain, market)
        async with contextlib.aclosing(chain.watch_queued(market.address)) as watch, asyncio.timeout(5):
            assert (await anext(watch)).address == job.address
        assert "can't be reached" in str(chain.health().trouble)


async def test_a_dropped_websocket_is_reopened(endpoint: Endpoint) -> None:
    async with marketed(endpoint) as (chain, market):
        await register(chain, market)
        async with contextlib.aclosing(chain.watch_queued(market.address)) as watch, asyncio.timeout(20):
            first = await post(chain, market)
            assert (await anext(watch)).address == first.address
            await endpoint.drop_sockets()
            second = await post(chain, market)
            while (await anext(watch)).address != second.address:
                pass


async def test_a_silent_websocket_is_noticed_by_its_pings(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    assert subscription.PING_INTERVAL_S + subscription.PING_TIMEOUT_S < 20
    monkeypatch.setattr(subscription, "PING_INTERVAL_S", 0.2)
    monkeypatch.setattr(subscription, "PING_TIMEOUT_S", 0.2)
    endpoint.silent = True
    async with connected(endpoint) as chain:
        transport = chain._transport  # pyright: ignore[reportPrivateUsage]
        listening = await transport.subscribe("accountSubscribe", [str(Pubkey.new_unique())])
        async with asyncio.timeout(3):
            with pytest.raises(EndpointDown, match="fell silent"):
                await listening.next()
        assert not transport.connected


async def test_more_notifications_than_are_read_end_the_subscription(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "MAX_WAITING", 10)
    async with connected(endpoint) as chain:
        transport = chain._transport  # pyright: ignore[reportPrivateUsage]
        listening = await transport.subscribe("slotSubscribe", [])
        for _ in range(20):
            endpoint.bank.advance()
        await asyncio.sleep(0.2)
        with pytest.raises(EndpointDown, match="begins anew"):
            await listening.next()


async def test_nothing_is_left_when_it_is_closed(endpoint: Endpoint) -> None:
    before = asyncio.all_tasks()
    async with connected(endpoint) as chain:
        await chain._transport.subscribe("slotSubscribe", [])  # pyright: ignore[reportPrivateUsage]
        await chain.time()
        assert any(task.get_name().startswith("read ws://") for task in asyncio.all_tasks())
    left = {str(task.get_coro()) for task in asyncio.all_tasks() - before}
    assert not {
        coro for coro in left if "aiohttp" not in coro and "Endpoint" not in coro and "RequestHandler" not in coro
    }


async def _trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)
    writer.close()


@contextlib.asynccontextmanager
async def _raw_server(serve: Any) -> AsyncGenerator[str]:
    """An HTTP server that is no HTTP server: each connection is handed to `serve`."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
