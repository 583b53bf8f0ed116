"""SolanaClient: everything that a node, a client and the CLI do on the chain, over one transport."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.accounts import Job, QueuedJob
from hypernode_worker.core.ports import ChainHealth
from hypernode_worker.errors import ConfigError
from hypernode_worker.solana.checks import ChainChecks
from hypernode_worker.solana.client_chain import ClientActions
from hypernode_worker.solana.faucet import airdrop
from hypernode_worker.solana.network import NetworkTransport
from hypernode_worker.solana.node_chain import NodeActions
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID, MarketsProgram
from hypernode_worker.solana.rpc import Rpc
from hypernode_worker.solana.sender import Sender
from hypernode_worker.solana.stake_chain import StakeActions
from hypernode_worker.solana.transport import Transport
from hypernode_worker.solana.upkeep_chain import UpkeepReader
from hypernode_worker.solana.watch import Watcher

COMMITMENTS = ("processed", "confirmed", "finalized")


class SolanaClient(NodeActions, ClientActions, StakeActions, UpkeepReader):
    """Implements ChainReader, NodeChain and ClientChain of core.ports, StakeChain and UpkeepChain of core.ports.market.

    Without a wallet it only reads; what needs one raises ConfigError.
    """

    def __init__(
        self,
        transport: Transport,
        program: MarketsProgram,
        wallet: Keypair | None,
        *,
        commitment: str = "confirmed",
        poll_interval_s: float = 10.0,
        max_priority_fee_lamports: int = 0,
    ) -> None:
        if commitment not in COMMITMENTS:
            raise ConfigError(f"The commitment {commitment!r} is none of {', '.join(COMMITMENTS)}: correct it.")
        super().__init__(Rpc(transport, commitment=commitment), program)
        self._transport = transport
        self._wallet = wallet
        self._sender = Sender(
            self._rpc, wallet or Keypair(), program.id, max_priority_fee_lamports=max_priority_fee_lamports
        )
        self._watcher = Watcher(self._rpc, self, program, poll_interval_s=poll_interval_s)
        self.checks = ChainChecks(self._rpc, program)

    def watch_queued(self, market: Pubkey) -> AsyncGenerator[QueuedJob, None]:
        """See ChainReader.watch_queued; close it with `aclose`."""
        return self._watcher.queued(market)

    def watch_job(self, address: Pubkey) -> AsyncGenerator[Job | None, None]:
        """See ChainReader.watch_job; close it with `aclose`."""
        return self._watcher.job(address)

    async def airdrop(self, lamports: int) -> Signature:
        return await airdrop(self._rpc, self.wallet, lamports)

    def health(self) -> ChainHealth:
        """What is known without asking."""
        watcher = self._watcher
        return ChainHealth(
            endpoint=self._transport.name,
            subscribed=watcher.watching > 0 and watcher.subscribed == watcher.watching,
            trouble=watcher.trouble,
            last_slot=self._rpc.last_slot,
            calls=dict(self._transport.calls),
            endpoints=self._transport.states(),
        )

    async def close(self) -> None:
        """Ends the connections. May be repeated."""
        await self._transport.close()

    async def __aenter__(self) -> SolanaClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def open_chain(
    rpc_urls: str | Sequence[str],
    *,
    ws_url: str | None = None,
    program_id: Pubkey = LOCALNET_PROGRAM_ID,
    wallet: Keypair | None = None,
    commitment: str = "confirmed",
    poll_interval_s: float = 10.0,
    max_priority_fee_lamports: int = 0,
    timeout_s: float = 15.0,
    requests_per_s: float | None = None,
) -> SolanaClient:
    """A client over the network. Connects when first used; `close` it, or use it with `async with`.

    Args:
        rpc_urls: one endpoint or several of the same chain, the preferred one first.
        ws_url: None derives it from the first endpoint, as Solana's tools do.
        max_priority_fee_lamports: most that a transaction pays beside its signature; 0: nothing, nothing is asked.
        timeout_s: of one request.
        requests_per_s: None: 10 for each endpoint that isn't on this machine.

    Raises:
        ConfigError: a URL or the commitment is none.
    """
    urls = [rpc_urls] if isinstance(rpc_urls, str) else list(rpc_urls)
    transport = NetworkTransport(urls, ws_url=ws_url, timeout_s=timeout_s, requests_per_s=requests_per_s)
    return SolanaClient(
        transport,
        MarketsProgram(program_id),
        wallet,
        commitment=commitment,
        poll_interval_s=poll_interval_s,
        max_priority_fee_lamports=max_priority_fee_lamports,
    )
