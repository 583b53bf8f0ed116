"""A town on a chain whose clock the test moves. Commands run in the test's own process: dozens of them in a second."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from typer.testing import CliRunner

from hypernode_worker.cli.main import app
from hypernode_worker.core.accounts import Job, Market, Node
from hypernode_worker.solana.addresses import create_token_account, token_address
from hypernode_worker.solana.client import SolanaClient, open_chain
from hypernode_worker.solana.keypair import load_keypair
from tests.support.solana_endpoint import Endpoint
from tests.support.solana_flow import SPECS
from tests.support.town import Town, local_environment, make_passable
from tests.support.transactions import SOL, make_mint, mint_to, signed

T = TypeVar("T")
SLOTS_A_SECOND = 3
"""More than deadlines ask for, as on a chain that doesn't halt."""


class ClockedTown(Town):
    """See Town. Its wallets have SOL from the start; tokens come from a mint of the town's own."""

    def __init__(self, folder: Path, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(folder, local_environment(folder, SOLANA_RPC_URL=endpoint.url, SOLANA_WS_URL=endpoint.ws_url))
        self.endpoint = endpoint
        self._loop = loop
        self._banker = Keypair()
        self.on_chain(lambda: endpoint.bank.airdrop(self._banker.pubkey(), 1000 * SOL))

    def run(self, who: str, *arguments: str, code: int = 0, timeout_s: float = 90, given: str | None = None) -> str:
        with contextlib.chdir(self.folder):
            done = CliRunner().invoke(app, list(arguments), env=self.environment_of(who), input=given)
        assert done.exit_code == code, f"{arguments}: {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    def refused(self, who: str, *arguments: str, code: int = 1) -> str:
        """The one sentence of a command that fails."""
        said = self.run(who, *arguments, code=code)
        (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in said
        return line.removeprefix("error: ")

    # --- the chain ---

    def on_chain(self, work: Callable[[], T]) -> T:
        """What is done to the bank itself; it belongs to the endpoint's thread."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def advance(self, seconds: int) -> None:
        """The chain's clock goes on, with as many slots as there should be."""
        self.on_chain(lambda: self.endpoint.bank.advance(max(1, seconds * SLOTS_A_SECOND), seconds))

    def send(self, instructions: list[Instruction], *signers: Keypair) -> None:
        bank = self.endpoint.bank
        landed = self.on_chain(lambda: bank.send(signed(instructions, signers, bank.latest_blockhash)))
        assert landed.err is None, landed.err

    def chain(self, who: str, work: Callable[[SolanaClient], Awaitable[T]]) -> T:
        """What the commands have no verb for, or is the worker's: with this user's key."""

        async def run() -> T:
            async with open_chain(self.endpoint.url, ws_url=self.endpoint.ws_url, wallet=self.key(who)) as chain:
                return await work(chain)

        return asyncio.run(run())

    def job(self, job: str) -> Job:
        return self.chain("client", lambda chain: chain.job(Pubkey.from_string(job)))

    def node(self, who: str, market: str) -> Node:
        async def read(chain: SolanaClient) -> Node:
            node = await chain.node_of(Pubkey.from_string(market), chain.wallet)
            assert node is not None
            return node

        return self.chain(who, read)

    # --- wallets, tokens, markets ---

    def key(self, who: str) -> Keypair:
        return load_keypair(self.folder / f"{who}.json")

    def new_wallet(self, who: str, sol: int = 10) -> str:
        return super().new_wallet(who, sol)

    def new_mint(self, decimals: int = 6) -> str:
        mint = Keypair()
        self.send(make_mint(self._banker, mint, decimals), self._banker, mint)
        return str(mint.pubkey())

    def give(self, who: str, mint: str, amount: int) -> None:
        """Tokens for a user, whose account is made where it is missing."""
        owner, of = self.key(who).pubkey(), Pubkey.from_string(mint)
        made = create_token_account(self._banker.pubkey(), owner, of)
        self.send([made, mint_to(self._banker, of, token_address(owner, of), amount)], self._banker)

    def tokens(self, who: str, mint: str) -> int:
        of = Pubkey.from_string(mint)
        return self.chain(who, lambda chain: chain.token_balance(chain.wallet, of))

    def new_market(self, *options: str, who: str = "owner") -> Market:
        """A market that everyone's commands are about from now on."""
        self.environment["MARKET_PUBKEY"] = self.json(who, "market", "create", *options)["market"]
        return self.market()

    def market(self) -> Market:
        """The one that everyone's commands are about."""
        address = Pubkey.from_string(self.environment["MARKET_PUBKEY"])
        return self.chain("owner", lambda chain: chain.market(address))

    def register(self, who: str, market: Market, *, capacity: int = 4) -> None:
        """What a worker does when it starts."""
        self.chain(
            who,
            lambda chain: chain.register_node(market.address, SPECS, capacity=capacity, payout=chain.wallet),
        )


@contextmanager
def _in_a_thread() -> Generator[tuple[Endpoint, asyncio.AbstractEventLoop]]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="endpoint")
    thread.start()

    def wait_for(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(30)

    endpoint = Endpoint()
    try:
        wait_for(endpoint.start())
        yield endpoint, loop
    finally:
        wait_for(endpoint.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def open_clocked_town(folder: Path) -> Generator[ClockedTown]:
    """A chain with the program, and the wallets owner, client, node and stranger; no market yet."""
    make_passable(folder)
    with _in_a_thread() as (endpoint, loop):
        town = ClockedTown(folder, endpoint, loop)
        for who in ("owner", "client", "node", "stranger"):
            town.new_wallet(who)
        yield town
