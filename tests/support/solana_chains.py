"""The chains that an end-to-end flow runs on: our localnet, and the real validator."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from hypernode_worker.localnet import Localnet, LocalnetConfig
from hypernode_worker.solana.artifact import PROGRAM_FILE, program_elf
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID

READY_S = 60.0


@dataclass(frozen=True, slots=True)
class ChainUrls:
    """Where a chain answers; `instant`: transactions land while they are sent."""

    rpc_url: str
    ws_url: str
    instant: bool


@contextlib.asynccontextmanager
async def run_localnet() -> AsyncGenerator[ChainUrls]:
    async with Localnet(LocalnetConfig(port=0, programs={LOCALNET_PROGRAM_ID: program_elf()})) as net:
        yield ChainUrls(net.rpc_url, net.ws_url, instant=True)


def _free_ports(count: int) -> int:
    """The first of `count` ports in a row of which none is in use now."""
    for first in range(20_000, 32_000, count):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise RuntimeError("no free ports")


@contextlib.asynccontextmanager
async def run_validator(folder: Path) -> AsyncGenerator[ChainUrls]:
    """solana-test-validator with the program in its genesis; its ledger goes into `folder`."""
    first = _free_ports(50)
    with (folder / "validator.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "solana-test-validator",
            *("--reset", "--quiet", "--ledger", str(folder / "ledger"), "--bind-address", "127.0.0.1"),
            *("--rpc-port", str(first), "--faucet-port", str(first + 2), "--gossip-port", str(first + 3)),
            *("--dynamic-port-range", f"{first + 4}-{first + 49}"),
            *("--bpf-program", str(LOCALNET_PROGRAM_ID), str(PROGRAM_FILE)),
            stdout=log,
            stderr=log,
        )
    try:
        await _ready(f"http://127.0.0.1:{first}", process, folder)
        yield ChainUrls(f"http://127.0.0.1:{first}", f"ws://127.0.0.1:{first + 1}", instant=False)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _ready(url: str, process: asyncio.subprocess.Process, folder: Path) -> None:
    """Until a block is confirmed: programs of the genesis can't be called in slot 0."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "getBlockHeight", "params": [{"commitment": "confirmed"}]}
    async with asyncio.timeout(READY_S), httpx2.AsyncClient() as http:
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"the validator ended: {(folder / 'validator.log').read_text()[-2000:]}")
            with contextlib.suppress(httpx2.HTTPError):
                answer = (await http.post(url, json=body)).json()
                if answer.get("result", 0) > 2:
                    return
            await asyncio.sleep(0.25)
