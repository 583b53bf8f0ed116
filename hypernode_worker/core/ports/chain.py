"""The chain: what everyone reads, what a node signs, what a client signs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.accounts import (
    Job,
    JobState,
    Market,
    MarketTerms,
    Node,
    NodeSpecs,
    NodeState,
    QueuedJob,
    Reason,
    Requirements,
)
from hypernode_worker.core.transactions import TransactionLog
from hypernode_worker.core.types import Cid, Slot, UnixTime


@dataclass(frozen=True, slots=True)
class ChainTime:
    """The chain's own clock: the Clock sysvar at the chosen commitment."""

    slot: Slot
    unix_time: UnixTime


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction that landed without an error at the chosen commitment.

    Attributes:
        fee_lamports, compute_units: None where the endpoint didn't say.
    """

    signature: Signature
    slot: Slot
    fee_lamports: int | None = None
    compute_units: int | None = None


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How one of the RPC endpoints is doing.

    Attributes:
        endpoint: scheme, host and port.
        in_use, listening: the last request went there; the subscriptions come from there.
        rests_s: how long it is left alone from now; None: for good, it serves another chain.
        trouble: one sentence on why; None while it is well.
        slot: of its latest answer, 0 before the first.
    """

    endpoint: str
    in_use: bool
    listening: bool
    rests_s: float | None
    trouble: str | None
    slot: int


@dataclass(frozen=True, slots=True)
class ChainHealth:
    """How the connection to the chain is doing.

    Attributes:
        endpoint: scheme, host and port of the endpoint in use, and nothing else of its URL: the rest may hold a key.
        subscribed: every watch of the queue has its subscription; False: it is polled.
        trouble: one sentence on what last failed; None while all is well.
        last_slot: of the latest answer, 0 before the first.
        calls: JSON-RPC requests and subscriptions so far, by method.
        endpoints: each of them, in the operator's order.
    """

    endpoint: str
    subscribed: bool
    trouble: str | None
    last_slot: int
    calls: Mapping[str, int]
    endpoints: tuple[EndpointState, ...] = ()


class ChainReader(Protocol):
    """The markets program as anyone may read it. Every read may be repeated.

    A read of an account raises AccountInvalid when another program owns it or its bytes aren't such an account,
    and AccountMissing (or gives None where the type says so) when there is nothing.
    """

    def health(self) -> ChainHealth:
        """What is known of the connection, without asking."""
        ...

    async def time(self) -> ChainTime: ...

    async def balance(self, address: Pubkey) -> int:
        """Lamports; 0 for an account that doesn't exist."""
        ...

    async def token_balance(self, owner: Pubkey, mint: Pubkey) -> int:
        """Base units in the owner's associated token account; 0 where there is none."""
        ...

    async def market(self, address: Pubkey) -> Market: ...

    async def node(self, address: Pubkey) -> Node: ...

    async def node_of(self, market: Pubkey, authority: Pubkey) -> Node | None:
        """The registration of a wallet in a market, or None."""
        ...

    async def job(self, address: Pubkey) -> Job: ...

    async def certain_job(self, address: Pubkey, seen: Job | None, *, expected: bool = False) -> Job | None:
        """What most endpoints say of a job: asked before anything is given up because of `seen` (None: it is gone).

        With one endpoint it is `seen`. `expected`: it is what our own transaction was to lead to, so one endpoint's
        word is enough while the others don't answer. Raises EndpointDown while they contradict each other: hold on,
        ask again.
        """
        ...

    async def markets(self) -> Sequence[Market]:
        """All markets of the program (one scan: for `market list`, never for a worker)."""
        ...

    async def nodes(self, market: Pubkey) -> Sequence[Node]: ...

    async def jobs(
        self, market: Pubkey, *, state: JobState | None = None, client: Pubkey | None = None
    ) -> Sequence[Job]: ...

    async def jobs_of_node(self, node: Pubkey) -> Sequence[Job]:
        """Jobs whose last node this is, in any state: how a worker finds what it holds after a restart."""
        ...

    def watch_queued(self, market: Pubkey) -> AsyncIterator[QueuedJob]:
        """Queued jobs of a market as they are seen: a subscription, with a catch-up read after each (re)subscribe.

        While the subscription is well catch-up is once a minute; while it is down, every poll interval. A job may
        be given again, and may no longer be queued: read before claiming. Ends only by being closed; trouble
        with endpoints is retried inside and shown in `health`.
        """
        ...

    def watch_job(self, address: Pubkey) -> AsyncIterator[Job | None]:
        """A job now and after each change; None once its account is closed (then it ends)."""
        ...


class NodeChain(ChainReader, Protocol):
    """What a node's wallet signs. Each returns when the transaction is confirmed without an error.

    Raises ProgramError with the program's own error name, InsufficientFunds, TransactionExpired, EndpointDown.
    """

    @property
    def wallet(self) -> Pubkey: ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes of ed25519 signature by the wallet's key: for manifests."""
        ...

    def log_transactions(self, journal: TransactionLog | None) -> None:
        """From now on each transaction is written there before it is sent; what stands open there is known again."""
        ...

    def may_land(self, job: Pubkey) -> bool:
        """A transaction about this job was sent whose end isn't known."""
        ...

    async def follow_up(self) -> None:
        """Follows what was sent before a restart to its end. May be repeated; raises EndpointDown, RateLimited."""
        ...

    async def register_node(self, market: Pubkey, specs: NodeSpecs, *, capacity: int, payout: Pubkey) -> Receipt:
        """Registers, or updates a registration. May be repeated."""
        ...

    async def heartbeat_node(self, market: Pubkey, state: NodeState) -> Receipt: ...

    async def deregister_node(self, market: Pubkey) -> Receipt: ...

    async def work_job(self, job: QueuedJob | Job, *, begin: bool) -> Receipt:
        """Claims; with begin the job is Running at once. Loses a race as ProgramError (someone else was first)."""
        ...

    async def begin_job(self, job: Job) -> Receipt: ...

    async def checkpoint_job(self, job: Job, *, progress_bps: int, cid: Cid | None) -> Receipt:
        """A sign of life, with a checkpoint when there is one."""
        ...

    async def release_job(self, job: Job, reason: Reason) -> Receipt: ...

    async def finish_job(self, job: Job, *, result_cid: Cid, result_hash: bytes, exit_status: int) -> Receipt: ...

    async def timeout_job(self, job: Job) -> Receipt: ...

    async def settle_job(self, job: Job) -> Receipt: ...


class ClientChain(ChainReader, Protocol):
    """What a client's or market authority's wallet signs; errors as for NodeChain."""

    @property
    def wallet(self) -> Pubkey: ...

    async def create_market(
        self, market_id: int, terms: MarketTerms, *, payment_mint: Pubkey, stake_mint: Pubkey
    ) -> tuple[Pubkey, Receipt]: ...

    async def update_market(self, market: Market, terms: MarketTerms, *, paused: bool) -> Receipt: ...

    async def create_job(
        self,
        market: Market,
        *,
        nonce: int,
        definition_cid: Cid,
        price: int,
        timeout: int,
        requirements: Requirements,
    ) -> tuple[Pubkey, Receipt]: ...

    async def job_rent(self, market: Market) -> int:
        """Lamports of rent that a job in this market holds until it is closed (job, and escrow account when SPL)."""
        ...

    async def cancel_job(self, job: Job) -> Receipt: ...

    async def extend_job(self, job: Job, seconds: int) -> Receipt: ...

    async def stop_job(self, job: Job) -> Receipt: ...

    async def dispute_result(self, job: Job, reason: Cid) -> Receipt: ...

    async def settle_job(self, job: Job) -> Receipt: ...

    async def timeout_job(self, job: Job) -> Receipt: ...

    async def close_job(self, job: Job) -> Receipt: ...

    async def airdrop(self, lamports: int) -> Signature:
        """Asks the endpoint's faucet (localnet, devnet) and waits until it is there."""
        ...
