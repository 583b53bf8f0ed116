"""What the node and the client need of the outside world, as Protocols; the adapters implement them, `app` wires them.

Each method says whether it may be repeated. All raise the errors of `hypernode_worker.errors`, never a vendor's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
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
from hypernode_worker.core.runs import Journal as Journal
from hypernode_worker.core.transactions import TransactionLog as TransactionLog
from hypernode_worker.core.types import Cid, Slot, UnixTime


class Clock(Protocol):
    """Wall time. Durations are taken from the event loop's time, which tests replace (looptime)."""

    def unix_time(self) -> float:
        """Seconds since 1970."""
        ...


# --- the chain ---------------------------------------------------------------------------------------------


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


# --- content -----------------------------------------------------------------------------------------------


class Reach(StrEnum):
    """Who can fetch what a store holds."""

    MACHINE = "machine"  # processes of this user on this machine
    NETWORK = "network"  # anyone on IPFS


class ContentStore(Protocol):
    """IPFS as one store: where writes go, and every place reads may come from. Every call may be repeated.

    All bytes handed out have been verified against the CID, block by block, and are bounded while streaming.
    """

    @property
    def reach(self) -> Reach:
        """Who can fetch what is added here."""
        ...

    @property
    def description(self) -> str:
        """Where writes go and reads come from, for people; no secrets."""
        ...

    async def add_bytes(self, data: bytes) -> Cid:
        """Adds one file of these bytes. Returns once the store has confirmed the CID (pinned where it can pin)."""
        ...

    async def add_path(self, path: Path) -> Cid:
        """Adds a file or a directory (names sorted; symbolic links and special files are refused: ContentInvalid).

        Returns once the store has confirmed the CID.
        """
        ...

    async def import_path(self, path: Path) -> Cid:
        """The first half of add_path: cuts, hashes and keeps the content on this machine's disk, and nothing more.

        It waits for `publish` then, also in a later process. Raises TransientError when the disk is full.
        """
        ...

    async def publish(self, cid: Cid) -> None:
        """The second half: sends what lies here to where others can fetch it, and returns once that is confirmed.

        Kubo must list the pin, a pinning service must answer with this CID; with reach MACHINE there is nothing to do.
        Raises TransientError, ConfigError (credentials), ContentInvalid (its blocks are no longer whole here).
        """
        ...

    async def unpublished(self) -> Sequence[Cid]:
        """What was imported and is neither published nor withdrawn: what a killed process left to do."""
        ...

    async def withdraw(self, cid: Cid) -> None:
        """It needn't be published any more."""
        ...

    async def has(self, cid: Cid) -> bool:
        """The store that writes go to holds all of this DAG (and pins it where it can)."""
        ...

    async def read(self, cid: Cid, *, max_bytes: int, timeout_s: float) -> bytes:
        """The bytes of one file. Raises ContentNotFound, ContentInvalid, ContentTooLarge."""
        ...

    async def fetch(self, cid: Cid, destination: Path, *, max_bytes: int, max_files: int, timeout_s: float) -> None:
        """Writes a file or directory to `destination`, which must not exist; leaves nothing there on failure.

        Names that would leave the directory ('..', '/', NUL) are refused with ContentInvalid.
        """
        ...

    async def check(self) -> str:
        """Writes a small file, reads it back, and says in one sentence what was seen (for `test`)."""
        ...

    async def close(self) -> None: ...


# --- containers --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can promise; the conformance suite skips what it says it can't."""

    isolation: bool  # a kernel boundary (namespaces and no host filesystem): Node.isolation
    images: bool  # runs the job's image
    memory_limit: bool
    cpu_limit: bool
    pids_limit: bool
    network_isolation: bool
    gpus: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one container; every one is always set."""

    memory_bytes: int
    cpus: float
    pids: int
    log_bytes: int
    workspace_bytes: int


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One operation of a run: one container (or process tree).

    Attributes:
        job, node: addresses, as text; with `run` and `operation` they are the labels by which it is found again.
        run: one attempt at a job: "<queued_slot>" of the claim.
        operation: index of the operation in the definition.
        image: what `prepare` returned; None for providers without images.
        command: argv; a definition's string command comes as ("/bin/sh", "-c", text).
        workdir: absolute, under /workspace.
        workspace: host folder seen as /workspace by the container, writable by it.
        log_path: host file to which stdout and stderr are appended as they come, up to limits.log_bytes.
        network: outbound network allowed.
        gpus: UUIDs of GPUs; empty: none.
    """

    job: str
    node: str
    run: str
    operation: int
    image: str | None
    command: tuple[str, ...]
    workdir: str
    workspace: Path
    log_path: Path
    limits: Limits
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    network: bool = False
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """A handle that survives a restart of the worker."""

    id: str
    job: str
    node: str
    run: str
    operation: int
    running: bool


class ExitReason(StrEnum):
    """Why a container ended: closed set, each mapped to one outcome."""

    EXITED = "exited"
    OUT_OF_MEMORY = "out_of_memory"
    LOG_LIMIT = "log_limit"
    WORKSPACE_FULL = "workspace_full"
    STOPPED = "stopped"  # by our own `stop`


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended.

    Attributes:
        exit_code: 0..255; 128 + signal where a signal ended it.
        started_at, ended_at: unix seconds.
        cpu_seconds, max_memory_bytes: None where the provider can't tell.
    """

    exit_code: int
    reason: ExitReason
    started_at: float
    ended_at: float
    cpu_seconds: float | None = None
    max_memory_bytes: int | None = None


class ContainerProvider(Protocol):
    """A container runtime. Only objects labelled with the given node are ever touched."""

    @property
    def name(self) -> str:
        """'docker', 'process', 'mock'."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def check(self) -> str:
        """Name and version ('docker 24.0.7'). Raises ProviderDown with the cure. May be repeated."""
        ...

    async def has_image(self, image: str) -> bool:
        """The image is here already, so that `prepare` will not pull. True for providers without images."""
        ...

    async def prepare(self, image: str, *, timeout_s: float) -> str:
        """Pulls when needed; the image pinned by digest (or the local image id where no registry gave one).

        May be repeated. Raises ImageUnavailable, ProviderDown.
        """
        ...

    async def start(self, spec: ContainerSpec) -> Container:
        """Creates and starts. Called twice for one (job, run, operation) it returns the first one's handle.

        Raises StartFailed (the job's fault: no such command), ProviderDown.
        """
        ...

    async def wait(self, container: Container) -> Exit:
        """Until it has ended; at once when it has ended. May be repeated, and cancelled without effect on it."""
        ...

    async def stop(self, container: Container, *, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after grace_s; returns when it has ended. May be repeated; fine when ended or gone."""
        ...

    async def remove(self, container: Container) -> None:
        """Kills and removes with everything it held. May be repeated; fine when gone."""
        ...

    async def containers(self, node: str) -> Sequence[Container]:
        """All that bear this node's label, running or ended."""
        ...

    @property
    def keeper(self) -> Keeper | None:
        """Of the images that this worker pulled; None where there are none."""
        ...

    async def close(self) -> None:
        """Lets go of the engine; containers go on."""
        ...


# --- what is kept on disk ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """Something on a disk that may go: it can be had again, or nobody waits for it any more.

    Attributes:
        name: by which its keeper knows it.
        bytes: what is won at most when it goes.
        used_at: unix seconds of its last use, as far as known.
        place: a folder of the disk that it lies on.
    """

    name: str
    bytes: int
    used_at: float
    place: Path


class Keeper(Protocol):
    """A part of the program that keeps what it fetched or made: images, blocks. Every call may be repeated."""

    async def used_bytes(self) -> int:
        """All that it has put on the disk, also what may not go."""
        ...

    async def evictable(self, needed: frozenset[str]) -> Sequence[Kept]:
        """What may go, without what is needed: images by name or digest, content by its root's CID."""
        ...

    async def evict(self, names: Sequence[str], needed: frozenset[str]) -> None:
        """Deletes what `evictable` has named; what has come into use meanwhile stays."""
        ...


# --- hardware ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; sizes in bytes."""

    index: int
    uuid: str
    vendor: str  # "nvidia", "amd", "other"
    name: str
    memory_bytes: int
    driver: str


@dataclass(frozen=True, slots=True)
class HostSpecs:
    """What a machine is. `cpu_threads` counts logical CPUs, as the scheduler may use them."""

    cpu_model: str
    cpu_cores: int
    cpu_threads: int
    memory_bytes: int
    disk_bytes: int
    os: str
    kernel: str
    arch: str
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class GpuUsage:
    uuid: str
    utilization: float  # 0..1
    memory_used_bytes: int
    memory_bytes: int
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class HostUsage:
    """A moment's load; shares are 0..1."""

    cpu: float
    memory_used_bytes: int
    memory_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    gpus: tuple[GpuUsage, ...]


class Hardware(Protocol):
    """The machine. The calls are cheap enough for once in ten seconds and never raise for a missing GPU."""

    async def specs(self) -> HostSpecs: ...

    async def usage(self) -> HostUsage: ...

    def disk_free(self) -> int:
        """Bytes that are free on the disk of the jobs, now; cheap enough for once a second."""
        ...
