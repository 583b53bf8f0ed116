"""The localnet over real sockets."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.errors import ConfigError
from hypernode_worker.localnet import Localnet, LocalnetConfig, server
from hypernode_worker.localnet.accounts import ChainAccount
from tests.support.transactions import SOL, as_base64, pay

CONFIG = LocalnetConfig(port=0, slot_ms=50)


@pytest.fixture
async def net() -> AsyncIterator[Localnet]:
    async with Localnet(CONFIG) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def request(method: str, *params: Any, number: int = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


async def call(http: aiohttp.ClientSession, net: Localnet, method: str, *params: Any) -> Any:
    async with http.post(net.rpc_url, json=request(method, *params)) as response:
        return (await response.json())["result"]


async def test_requests_are_answered_and_batched(net: Localnet, http: aiohttp.ClientSession) -> None:
    assert await call(http, net, "getHealth") == "ok"
    async with http.post(net.rpc_url, json=[request("getSlot"), request("nope", number=2)]) as response:
        first, second = await response.json()
    assert first["result"] >= 1
    assert second == {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": 2}
    async with http.get(net.rpc_url + "/health") as response:
        assert await response.text() == "ok"


async def test_pubsub_is_on_the_next_port_and_on_the_same_one(net: Localnet, http: aiohttp.ClientSession) -> None:
    port = int(net.rpc_url.rsplit(":", 1)[1])
    assert net.ws_url == f"ws://127.0.0.1:{port + 1}"
    for url in (net.ws_url, net.rpc_url.replace("http", "ws")):
        async with http.ws_connect(url) as ws:
            await ws.send_json({"jsonrpc": "2.0", "method": "ping"})
            await ws.send_json(request("slotSubscribe"))
            number = (await ws.receive_json())["result"]
            told = await ws.receive_json(timeout=5)
            assert told["params"]["subscription"] == number
            assert told["params"]["result"]["slot"] >= 1


async def test_a_landed_transaction_is_told_within_milliseconds(net: Localnet, http: aiohttp.ClientSession) -> None:
    payer = Keypair()
    net.bank.airdrop(payer.pubkey(), 10 * SOL)
    async with http.ws_connect(net.ws_url) as ws:
        took: list[float] = []
        for n in range(20):
            transaction = pay(payer, Pubkey.new_unique(), SOL // 10 + n, net.bank.latest_blockhash)
            await ws.send_json(request("signatureSubscribe", str(transaction.signatures[0])))
            await ws.receive_json()
            began = time.perf_counter()
            await call(http, net, "sendTransaction", as_base64(transaction), {"encoding": "base64"})
            told = await ws.receive_json(timeout=5)
            took.append(time.perf_counter() - began)
            assert told["params"]["result"]["value"] == {"err": None}
    # Measured: 2 ms for both. The bound leaves room for a busy machine.
    assert sorted(took)[10] < 0.1


async def test_slots_follow_the_wall_clock(net: Localnet) -> None:
    reached = asyncio.Event()
    last = net.bank.slot + 20
    began = time.monotonic()
    net.bank.on_slot.append(lambda slot: reached.set() if slot >= last else None)
    await asyncio.wait_for(reached.wait(), 10)
    passed = time.monotonic() - began
    assert 0.8 < passed < 3
    assert abs(net.bank.unix_seconds - time.time()) < 1


async def test_missed_slots_are_caught_up(net: Localnet) -> None:
    slot = net.bank.slot
    time.sleep(0.5)  # noqa: ASYNC251  the loop is meant to hang
    await asyncio.sleep(0.1)
    assert net.bank.slot >= slot + 10


async def test_strangers_are_refused(net: Localnet, http: aiohttp.ClientSession) -> None:
    body = request("getHealth")
    for headers in (
        {"Host": "evil.example"},
        {"Host": "evil.example:8899"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        async with http.post(net.rpc_url, json=body, headers=headers) as response:
            assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(net.ws_url, headers=headers)
        assert caught.value.status == 403


async def test_pages_of_this_machine_may_call(net: Localnet, http: aiohttp.ClientSession) -> None:
    headers = {"Origin": "http://localhost:3000"}
    async with http.options(net.rpc_url, headers=headers) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert response.headers["Access-Control-Allow-Methods"] == "OPTIONS, POST"
    async with http.post(net.rpc_url, json=request("getHealth"), headers=headers) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


async def test_wrong_methods_types_and_sizes_are_refused(net: Localnet, http: aiohttp.ClientSession) -> None:
    async with http.get(net.rpc_url) as response:
        assert response.status == 405
    async with http.post(net.rpc_url, data="{}", headers={"Content-Type": "text/plain"}) as response:
        assert response.status == 415
    huge = io.BytesIO(b" " * (server.MAX_BODY_BYTES + 1))
    async with http.post(net.rpc_url, data=huge, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 413
    assert await call(http, net, "getHealth") == "ok"


async def test_a_client_that_does_not_read_is_cut_off(
    net: Localnet, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_BACKLOG_BYTES", 200_000)
    address, owner = Pubkey.new_unique(), Pubkey.new_unique()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(net.ws_url.rsplit(":", 1)[1]), limit=2**10)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    text = json.dumps(request("accountSubscribe", str(address), {"encoding": "base64"})).encode()
    # One masked frame of at least 126 bytes, its mask zero.
    writer.write(b"\x81\xfe" + len(text).to_bytes(2) + bytes(4) + text)
    await asyncio.wait_for(reader.readexactly(10), 5)
    assert net.subscription_count
    async with asyncio.timeout(30):
        for n in itertools.count():
            net.bank.set_account(address, ChainAccount(n + 1, bytes(100_000), owner))
            # The client reads nothing, so the kernel's buffers fill up, and then the backlog.
            await asyncio.sleep(0)
            if not net.subscription_count:
                break
    writer.close()
    assert await call(http, net, "getHealth") == "ok"


async def test_ports_that_are_taken_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Port {port} on 127.0.0.1 can't be served"):
            async with Localnet(LocalnetConfig(port=port)):
                pass
        with pytest.raises(ConfigError, match=f"Port {port}"):
            async with Localnet(LocalnetConfig(port=0, ws_port=port)):
                pass


async def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing = {Pubkey.new_unique(): tmp_path / "missing.so"}
    with pytest.raises(ConfigError, match=r"missing\.so"):
        async with Localnet(LocalnetConfig(port=0, programs=missing)):
            pass


async def test_stopping_says_goodbye_and_leaves_nothing(http: aiohttp.ClientSession) -> None:
    before = asyncio.all_tasks()
    async with Localnet(CONFIG) as net:
        port = int(net.rpc_url.rsplit(":", 1)[1])
        ws = await http.ws_connect(net.ws_url)
        await ws.send_json(request("slotSubscribe"))
        await ws.receive_json()
    seen = [await ws.receive()]
    while seen[-1].type is aiohttp.WSMsgType.TEXT:
        seen.append(await ws.receive())
    assert seen[-1].type is aiohttp.WSMsgType.CLOSE
    await ws.close()
    if left := asyncio.all_tasks() - before:
        _, pending = await asyncio.wait(left, timeout=5)
        assert not pending
    socket.create_server(("127.0.0.1", port)).close()


async def test_state_is_kept_across_restarts(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    config = LocalnetConfig(port=0, slot_ms=50, state_dir=tmp_path / "state")
    to = Pubkey.new_unique()
    async with Localnet(config) as net:
        signature = await call(http, net, "requestAirdrop", str(to), SOL)
        genesis = await call(http, net, "getGenesisHash")
    async with Localnet(config) as net:
        assert await call(http, net, "getGenesisHash") == genesis
        assert (await call(http, net, "getBalance", str(to)))["value"] == SOL
        assert (await call(http, net, "getTransaction", signature, {"maxSupportedTransactionVersion": 0}))["slot"]
