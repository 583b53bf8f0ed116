"""A localnet that is killed while it works: the state stays whole, and little is lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.localnet import Localnet, LocalnetConfig
from tests.support.transactions import SOL, as_base64, pay

_CHAIN = """
import asyncio, sys
from pathlib import Path
from hypernode_worker.localnet import Localnet, LocalnetConfig

async def main():
    async with Localnet(LocalnetConfig(port=0, state_dir=Path(sys.argv[1]))) as net:
        print(net.rpc_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
_WORST_LOSS_S = 2.0
"""The file is written every 0.2 s; the rest is for a busy machine."""


async def _call(http: aiohttp.ClientSession, url: str, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    async with http.post(url, json=body) as response:
        return json.loads(await response.text())["result"]


async def test_kill_minus_9_under_load(tmp_path: Path) -> None:
    safe: list[str] = []
    for _ in range(3):
        chain = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CHAIN, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert chain.stdout is not None
            url = (await asyncio.wait_for(chain.stdout.readline(), 30)).decode().strip()
            sent = await _load(url, chain)
            killed = time.monotonic()
        finally:
            if chain.returncode is None:
                chain.send_signal(signal.SIGKILL)
            await chain.wait()
        # What came shortly before an earlier kill may be lost for good, so it is never counted.
        safe += [signature for at, signature in sent if at < killed - _WORST_LOSS_S]
        async with Localnet(LocalnetConfig(port=0, state_dir=tmp_path)) as net:
            lost = [signature for signature in safe if net.bank.landed(signature) is None]
            assert not lost
    assert len(safe) > 30


async def _load(url: str, chain: asyncio.subprocess.Process) -> list[tuple[float, str]]:
    """Sends transactions for a while; gives when each was confirmed, then kills the chain in the midst of it."""
    payer, sent = Keypair(), list[tuple[float, str]]()
    async with aiohttp.ClientSession() as http:
        await _call(http, url, "requestAirdrop", str(payer.pubkey()), 1_000 * SOL)
        began = time.monotonic()
        blockhash = None
        for n in itertools.count():
            if n % 20 == 0:
                blockhash = Hash.from_string((await _call(http, url, "getLatestBlockhash"))["value"]["blockhash"])
            assert blockhash is not None
            transaction = pay(payer, Pubkey.new_unique(), SOL // 1_000 + n, blockhash)
            signature = await _call(http, url, "sendTransaction", as_base64(transaction), {"encoding": "base64"})
            sent.append((time.monotonic(), signature))
            if time.monotonic() - began > _WORST_LOSS_S + 0.5:
                chain.send_signal(signal.SIGKILL)
                return sent
    raise AssertionError("unreachable")
