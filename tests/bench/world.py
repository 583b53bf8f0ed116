"""A market on a localnet with workers, all of them the real commands in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.app import open_client
from hypernode_worker.client import Client
from hypernode_worker.config import load
from hypernode_worker.core.accounts import MarketTerms
from hypernode_worker.core.types import LAMPORTS_PER_SOL

COMMAND = str(Path(sys.executable).with_name("hypernode-worker"))
_ENDS = 15


def write_key(path: Path) -> Pubkey:
    """A new key file of mode 0600."""
    key = Keypair()
    path.touch(mode=0o600)
    path.write_text(json.dumps(list(bytes(key))))
    return key.pubkey()


@dataclass(frozen=True, slots=True)
class World:
    """Where a benchmark lives.

    Attributes:
        home: a scratch folder, also HOME of all commands.
        rpc_url, ws_url: of the chain.
        variables: what every command is told.
    """

    home: Path
    rpc_url: str
    ws_url: str
    variables: dict[str, str] = field(default_factory=dict[str, str])

    def environment(self, **more: str) -> dict[str, str]:
        """Of one command: nothing of the caller's settings, only what a process needs."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "DOCKER_HOST") if name in os.environ}
        local = {"HOME": str(self.home), "SOLANA_RPC_URL": self.rpc_url, "SOLANA_WS_URL": self.ws_url}
        # The client below runs in this process, whose HOME is another one.
        store = {"IPFS_STORE_DIR": str(self.home / "ipfs"), "IPFS_GATEWAY": "none"}
        return {**kept, **local, **store, **self.variables, **more}

    @contextlib.asynccontextmanager
    async def client(self, name: str = "client") -> AsyncGenerator[Client]:
        """A client with 1,000 SOL; the same name is the same wallet."""
        path = self.home / f"{name}.json"
        new = not path.exists()
        if new:
            write_key(path)
        loaded = load(environ=self.environment(KEYPAIR_PATH=str(path)), use_files=False)
        async with open_client(loaded) as client:
            if new:
                await client.chain.airdrop(1_000 * LAMPORTS_PER_SOL)
            yield client

    async def market(self, **terms: int) -> Pubkey:
        """A native market that every later command uses."""
        async with self.client("owner") as owner:
            address, _ = await owner.create_market(MarketTerms(**terms))  # pyright: ignore[reportArgumentType]
        self.variables["MARKET_PUBKEY"] = str(address)
        return address

    @contextlib.asynccontextmanager
    async def worker(self, name: str, **settings: str) -> AsyncGenerator[int]:
        """`hypernode-worker start` with a funded key, once it watches for jobs; gives its pid."""
        async with self.client(name):
            pass  # makes the key and funds it
        told = {"KEYPAIR_PATH": str(self.home / f"{name}.json"), "DATA_DIR": str(self.home / name), **settings}
        async with running(["start", "--json"], self.environment(**told), until='"WorkerStarted"') as pid:
            yield pid


@contextlib.asynccontextmanager
async def running(arguments: list[str], environment: Mapping[str, str], *, until: str) -> AsyncGenerator[int]:
    """One of our commands from the line that holds `until` to the end of the block; gives its pid.

    The event loop goes on meanwhile: the chain may live in it.

    Raises:
        RuntimeError: it ended before that.
    """
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        env=dict(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = process.stdout
    assert output is not None
    try:
        seen: list[str] = []
        while until not in (line := (await output.readline()).decode()):
            seen.append(line)
            if not line:
                raise RuntimeError(f"'{' '.join(arguments)}' ended early:\n{''.join(seen)}")
        rest = asyncio.create_task(output.read())
        yield process.pid
        process.send_signal(signal.SIGTERM)
        await asyncio.wait([rest], timeout=_ENDS)
    finally:
        try:
            await asyncio.wait_for(process.wait(), 1)
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.contextmanager
def scratch() -> Generator[Path]:
    """A folder that is gone afterwards. Not under a long path: a Unix socket's name has at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="hn-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def open_world() -> Generator[World]:
    """A world on a localnet of its own process."""
    with scratch() as home:
        environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
        ready = home / "localnet.json"
        command = ["localnet", "--port", "0", "--json"]
        with ready.open("w") as out, subprocess.Popen([COMMAND, *command], env=environment, stdout=out) as process:
            try:
                urls = _wait_for_json(ready, process)
                yield World(home, urls["rpc_url"], urls["ws_url"])
            finally:
                process.terminate()


def _wait_for_json(path: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    while process.poll() is None:
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(path.read_text())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise RuntimeError("the localnet ended before it was ready")
