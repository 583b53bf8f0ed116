"""The program's three accounts, field for field as `idl/hypernode_markets.json` names them, and its enumerations.

Units: periods in seconds, prices in base units of the payment mint per second, money in base units, shares in
basis points (bps). An absent key is the zero key and an absent CID is None. Facts derived from several fields are
properties here, so that client, node and CLI cannot disagree about them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from solders.pubkey import Pubkey

from hypernode_worker.core.types import Cid, Slot, UnixTime

NATIVE_MINT = Pubkey.default()
"""payment_mint zero: the job is paid in native SOL."""


class JobState(enum.IntEnum):
    """States of a job; the last three are terminal."""

    QUEUED = 1
    CLAIMED = 2
    RUNNING = 3
    SUBMITTED = 4
    DISPUTED = 5
    SETTLED = 6
    CANCELLED = 7
    EXPIRED = 8

    @property
    def terminal(self) -> bool:
        return self >= JobState.SETTLED


class NodeState(enum.IntEnum):
    """What a node says of itself: active nodes may claim."""

    ACTIVE = 0
    DRAINING = 1


class GpuVendor(enum.IntEnum):
    """Vendor of a node's GPUs; in a job's requirements NONE means any node will do."""

    NONE = 0
    NVIDIA = 1
    AMD = 2
    OTHER = 3


class Trust(enum.IntEnum):
    """Tier of a node, from its credit and isolation; a job names the least that it accepts."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Framework(enum.IntEnum):
    """Framework of a job (`Job.framework`); a node's `frameworks` is the set of bits 1 << framework."""

    CUSTOM = 0
    PYTORCH = 1
    HUGGINGFACE = 2
    STABLE_DIFFUSION = 3
    OLLAMA = 4


class Reason(enum.IntEnum):
    """Why a run ended without a result (`Job.reason`), posted by release_job or set by the program."""

    NONE = 0
    NODE_SHUTDOWN = 1
    NODE_FAULT = 2
    DEFINITION_UNAVAILABLE = 3
    IMAGE_UNAVAILABLE = 4
    REQUIREMENTS_NOT_MET = 5
    RESULT_UNAVAILABLE = 6
    TIMED_OUT = 7
    STOPPED = 8
    ATTEMPTS_SPENT = 9


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """What a market's authority sets; copied into each job when it is created.

    Args of create_market and update_market, in this order.
    """

    fee_bps: int = 100
    slash_bps: int = 1_000
    bond_bps: int = 1_000
    claim_spread_slots: int = 0
    max_capacity: int = 16
    start_credit: int = 75
    max_attempts: int = 3
    flags: int = 0
    arbiter: Pubkey = Pubkey.default()  # noqa: RUF009 -- Pubkey is immutable
    fee_receiver: Pubkey = Pubkey.default()  # noqa: RUF009
    min_price: int = 1
    min_stake: int = 0
    lock_per_job: int = 0
    credit_pay: int = 60
    max_timeout: int = 86_400
    setup_timeout: int = 600
    queue_timeout: int = 3_600
    review_period: int = 0
    resolve_timeout: int = 259_200
    heartbeat_timeout: int = 120
    finish_grace: int = 120
    unstake_cooldown: int = 86_400
    spec_cid: Cid | None = None


FLAG_NETWORK = 1
"""Market and job flag: jobs may have network."""
FLAG_PINNED = 2
"""Market and job flag: results must be pinned."""


@dataclass(frozen=True, slots=True)
class Market:
    """A market: 320 bytes at ["market", authority, market_id u64 le]."""

    address: Pubkey
    version: int
    bump: int
    paused: int
    market_id: int
    authority: Pubkey
    payment_mint: Pubkey
    stake_mint: Pubkey
    created_slot: Slot
    revision: int
    terms: MarketTerms

    @property
    def is_native(self) -> bool:
        return self.payment_mint == NATIVE_MINT


@dataclass(frozen=True, slots=True)
class NodeSpecs:
    """What a node says it is: args of register_node, in this order (capacity and payout follow)."""

    isolation: int
    gpu_vendor: int
    gpu_count: int
    country: bytes
    vram_mb: int
    ram_mb: int
    disk_gb: int
    cpu_cores: int
    frameworks: int
    specs_cid: Cid | None


@dataclass(frozen=True, slots=True)
class Node:
    """A node's registration in one market: 320 bytes at ["node", market, authority]."""

    address: Pubkey
    version: int
    bump: int
    state: NodeState
    specs: NodeSpecs
    market: Pubkey
    authority: Pubkey
    payout: Pubkey
    capacity: int
    active_jobs: int
    credit: int
    open_jobs: int
    unstake_cooldown: int
    market_slot: Slot
    staked: int
    locked: int
    unstaking: int
    slashed: int
    unstake_at: UnixTime
    completed: int
    failed: int
    released: int
    abandoned: int
    disputes_lost: int
    compute_seconds: int
    earned: int
    credited_at: UnixTime
    registered_at: UnixTime
    last_seen: UnixTime

    @property
    def trust(self) -> Trust:
        """Tier 2 high: credit >= 100 in a container; 1 normal: >= 50 in a container; 0 low."""
        if not self.specs.isolation:
            return Trust.LOW
        if self.credit >= 100:
            return Trust.HIGH
        return Trust.NORMAL if self.credit >= 50 else Trust.LOW


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the program itself enforces of a job's needs: args of create_job, in this order."""

    min_trust: int = Trust.NORMAL
    gpu_vendor: int = GpuVendor.NONE
    gpu_count: int = 0
    vram_mb: int = 0
    framework: int = Framework.CUSTOM


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """The first 192 bytes of a job account: all that a worker needs to choose by."""

    address: Pubkey
    state: JobState
    market: Pubkey
    client: Pubkey
    node: Pubkey
    attempts: int
    max_attempts: int
    requirements: Requirements
    price: int
    timeout: int
    queued_slot: Slot
    deadline: UnixTime
    deadline_slot: Slot
    definition_cid: Cid
    flags: int
    claim_spread_slots: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job and its escrow: 768 bytes at ["job", market, client, nonce u64 le]."""

    address: Pubkey
    version: int
    bump: int
    state: JobState
    attempts: int
    max_attempts: int
    requirements: Requirements
    market: Pubkey
    client: Pubkey
    node: Pubkey
    price: int
    timeout: int
    queued_slot: Slot
    deadline: UnixTime
    deadline_slot: Slot
    definition_cid: Cid
    flags: int
    claim_spread_slots: int
    nonce: int
    payment_mint: Pubkey
    escrow: Pubkey
    payout: Pubkey
    fee_receiver: Pubkey
    arbiter: Pubkey
    result_cid: Cid | None
    checkpoint_cid: Cid | None
    reason_cid: Cid | None
    exit_status: int
    result_hash: bytes
    checkpoint_seq: int
    progress_bps: int
    fee_bps: int
    slash_bps: int
    bond_bps: int
    reason: Reason
    max_timeout: int
    setup_timeout: int
    queue_timeout: int
    review_period: int
    resolve_timeout: int
    heartbeat_timeout: int
    finish_grace: int
    used: int
    deposit: int
    bond: int
    paid: int
    fee: int
    refunded: int
    owed_node: int
    owed_fee: int
    owed_client: int
    lock: int
    credit_pay: int
    market_slot: Slot
    created_at: UnixTime
    claimed_at: UnixTime
    started_at: UnixTime
    checkpoint_at: UnixTime
    stopped_at: UnixTime
    ended_at: UnixTime
    settled_at: UnixTime
    secrets_cid: Cid | None

    @property
    def is_native(self) -> bool:
        return self.payment_mint == NATIVE_MINT

    @property
    def network(self) -> bool:
        return bool(self.flags & FLAG_NETWORK)

    @property
    def owed(self) -> int:
        """Base units that could not be delivered yet; settle_job pays them."""
        return self.owed_node + self.owed_fee + self.owed_client

    def as_queued(self) -> QueuedJob:
        """The part that a worker chooses by."""
        return QueuedJob(
            self.address, self.state, self.market, self.client, self.node, self.attempts, self.max_attempts,
            self.requirements, self.price, self.timeout, self.queued_slot, self.deadline, self.deadline_slot,
            self.definition_cid, self.flags, self.claim_spread_slots,
        )  # fmt: skip
