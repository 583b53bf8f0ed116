"""The same checks over the localnet and over the real validator: what differs is a fault of ours."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.keypair import Keypair

from tests.support import anchorpy_environment
from tests.support.chains import RunningChain
from tests.support.transactions import SOL

JS = Path(__file__).parents[2] / "support" / "js"


@pytest.fixture
async def client(chain: RunningChain) -> AsyncIterator[AsyncClient]:
    """solana-py's client at commitment confirmed."""
    async with AsyncClient(chain.rpc_url, commitment=Confirmed) as opened:
        yield opened


@pytest.fixture
async def payer(client: AsyncClient) -> Keypair:
    """A wallet with 10 SOL."""
    wallet = Keypair()
    signature = (await client.request_airdrop(wallet.pubkey(), 10 * SOL)).value
    status = await client.confirm_transaction(signature, Confirmed, sleep_seconds=0.1)
    assert status.value[0] is not None
    assert status.value[0].err is None
    return wallet


@pytest.fixture(scope="session")
def js_folder() -> Path:
    """The folder of the JavaScript clients, with their packages installed from the lock file."""
    installed, locked = JS / "node_modules" / ".package-lock.json", JS / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < locked.stat().st_mtime:
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=JS, check=True, timeout=300)
    return JS


@pytest.fixture(scope="session")
def anchorpy_command() -> list[str]:
    """How anchorpy3's script is started, in its own environment, which is made when it isn't there yet."""
    return [str(anchorpy_environment.make()), "-I", str(anchorpy_environment.SCRIPT)]


@pytest.fixture
def run_js(js_folder: Path, chain: RunningChain) -> Callable[..., Coroutine[Any, Any, str]]:
    """Runs one script of the folder against the chain; gives what it printed. It must exit with 0."""

    async def run(script: str, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(js_folder / script),
            chain.rpc_url,
            chain.ws_url,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), 90)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, err.decode()[-3_000:]
        return out.decode()

    return run
