"""Running chains for tests: the localnet and the real validator, behind the same two URLs, the program in both."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypernode_worker.localnet import Localnet, LocalnetConfig
from hypernode_worker.solana.artifact import PROGRAM_FILE
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID

_START_S = 60.0
_PORTS_NEEDED = 40


@dataclass(frozen=True, slots=True)
class RunningChain:
    """A chain that answers; `is_real` for the validator."""

    rpc_url: str
    ws_url: str
    is_real: bool


@asynccontextmanager
async def localnet() -> AsyncGenerator[RunningChain]:
    """A localnet with real slots on free ports."""
    async with Localnet(LocalnetConfig(port=0, programs={LOCALNET_PROGRAM_ID: PROGRAM_FILE})) as net:
        yield RunningChain(net.rpc_url, net.ws_url, False)


@contextmanager
def validator(folder: Path, accounts: Path | None = None) -> Generator[RunningChain]:
    """The solana-test-validator on PATH, its ledger in a fresh folder, ended with the block.

    Args:
        accounts: a folder of JSON files, each an account of the genesis, as `solana account --output json` writes them.

    Raises:
        TimeoutError: it didn't answer in a minute.
    """
    first = free_ports(_PORTS_NEEDED)
    rpc, faucet, gossip, dynamic = first, first + 2, first + 3, first + 4
    command = ["solana-test-validator", "--reset", "--quiet", "--ledger", str(folder / "ledger")]
    command += ["--rpc-port", str(rpc), "--faucet-port", str(faucet), "--gossip-port", str(gossip)]
    command += ["--dynamic-port-range", f"{dynamic}-{first + _PORTS_NEEDED - 1}"]
    command += ["--bpf-program", str(LOCALNET_PROGRAM_ID), str(PROGRAM_FILE)]
    if accounts is not None:
        command += ["--account-dir", str(accounts)]
    log = folder / "validator.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{rpc}"
        _wait(url, process, log)
        yield RunningChain(url, f"ws://127.0.0.1:{rpc + 1}", True)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


class SharedValidator:
    """One validator for all tests that want one: its start takes ten seconds, and idle it keeps a whole core busy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = contextlib.ExitStack()
        self._chain: RunningChain | None = None
        self._started = 0

    def chain(self) -> RunningChain:
        """The running one, started when it is first wanted."""
        if self._chain is None:
            self._started += 1
            folder = self._folder / str(self._started)
            folder.mkdir()
            self._chain = self._running.enter_context(validator(folder))
        return self._chain

    def stop(self) -> None:
        self._chain = None
        self._running.close()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getSlot", "params": [{"commitment": "confirmed"}]})
    while time.monotonic() < deadline and process.poll() is None:
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                if json.load(answer).get("result", 0) > 0:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"solana-test-validator didn't answer: {log.read_text(errors='replace')[-2_000:]}")


def free_ports(count: int) -> int:
    """The first of so many free ports in a row, below the range from which the system takes its own."""
    for first in range(20_000, 32_000, count):
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return first
    raise RuntimeError(f"no {count} free ports in a row")
