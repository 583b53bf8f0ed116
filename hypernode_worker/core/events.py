"""What has happened to a worker and its runs, in the past tense. (Events named Job... are the on-chain program's own.)

A listener gets each event once, in order, in the worker's event loop; it must not block. Log lines, `status` and
what `start` prints are views of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.accounts import Reason
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import ExitReason, HostSpecs, HostUsage
from hypernode_worker.core.types import Cid


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


Listener = Callable[[Event], None]


# --- the worker, in the order of its start -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpecsDetected(Event):
    """The machine was looked at; `runtime` is the container runtime's name and version."""

    host: HostSpecs
    runtime: str
    isolated: bool


@dataclass(frozen=True, slots=True)
class WalletConnected(Event):
    wallet: Pubkey
    balance_lamports: int
    payout: Pubkey


@dataclass(frozen=True, slots=True)
class StakeVerified(Event):
    """The market's demands on stake were compared with the node's; both zero where the market asks for none."""

    staked: int
    required: int


@dataclass(frozen=True, slots=True)
class NodeRegistered(Event):
    """The node stands in the market as it is; `signature` is None when nothing had to be changed."""

    node: Pubkey
    market: Pubkey
    specs_cid: Cid | None
    signature: Signature | None


@dataclass(frozen=True, slots=True)
class PollingStarted(Event):
    """The worker watches for jobs (by subscription; it polls only while that is down)."""


@dataclass(frozen=True, slots=True)
class HealthStarted(Event):
    interval_s: float


@dataclass(frozen=True, slots=True)
class WorkerStarted(Event):
    auto_accept: bool
    capacity: int


@dataclass(frozen=True, slots=True)
class HealthChecked(Event):
    usage: HostUsage


@dataclass(frozen=True, slots=True)
class WarningRaised(Event):
    """Something that the operator should know or do, in one sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class WarningEnded(Event):
    """What a WarningRaised had said is no longer so; `message` is its first word or words."""

    message: str


@dataclass(frozen=True, slots=True)
class NodeDeregistered(Event):
    """The worker gave its registration up before it ended; its rent went to the payout wallet."""

    node: Pubkey
    signature: Signature


@dataclass(frozen=True, slots=True)
class MarketOpened(Event):
    """Nothing speaks against the market any more: it was paused or closed before."""

    market: Pubkey


@dataclass(frozen=True, slots=True)
class WorkerDraining(Event):
    """No new job is taken; `now`: running jobs are given up as well."""

    running: int
    now: bool


@dataclass(frozen=True, slots=True)
class WorkerStopped(Event):
    settled: int
    released: int


# --- a run -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunEvent(Event):
    """Base of what happens to one run; `job` is the job account's address."""

    job: Pubkey


@dataclass(frozen=True, slots=True)
class CandidateFound(RunEvent):
    """A job that fits and waits for `job take` (AUTO_ACCEPT=false)."""

    price: int
    timeout: int
    framework: str


@dataclass(frozen=True, slots=True)
class JobSkipped(RunEvent):
    """A queued job that this node doesn't take, and why, in one sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunClaimed(RunEvent):
    """`begun`: claimed and started in one transaction."""

    signature: Signature
    begun: bool


@dataclass(frozen=True, slots=True)
class ClaimLost(RunEvent):
    """Another node was first, or the client withdrew the job: an ordinary event."""

    reason: str


@dataclass(frozen=True, slots=True)
class SetupFinished(RunEvent):
    """Image and files are here."""

    image: str | None


@dataclass(frozen=True, slots=True)
class RunStarted(RunEvent):
    """The job is Running: its time counts. `signature` is None when the claim began it."""

    signature: Signature | None


@dataclass(frozen=True, slots=True)
class RunResumed(RunEvent):
    """Found on chain after a restart; `attached`: its container was still there."""

    attached: bool


@dataclass(frozen=True, slots=True)
class OperationStarted(RunEvent):
    operation: int
    container: str


@dataclass(frozen=True, slots=True)
class OperationEnded(RunEvent):
    operation: int
    exit_code: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class RunEnded(RunEvent):
    """The work is over; what follows settles it. `message` is the manifest's sentence."""

    outcome: RunOutcome
    message: str


@dataclass(frozen=True, slots=True)
class ResultPinned(RunEvent):
    """The store has confirmed the result."""

    result_cid: Cid
    result_hash: bytes


@dataclass(frozen=True, slots=True)
class RunSettled(RunEvent):
    """finish_job was seen at the chosen commitment without an error.

    Attributes:
        signature: None when it was seen on chain after an answer had been lost.
        under_review: the market pays after its review period.
    """

    signature: Signature | None
    result_cid: Cid
    exit_status: int
    outcome: RunOutcome
    under_review: bool


@dataclass(frozen=True, slots=True)
class RunDisputed(RunEvent):
    """The client disputes the result; without a decision of the arbiter it is paid after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RunPaid(RunEvent):
    """What a run has earned arrived later than its result: after a review or a dispute, or once it could be delivered.

    Attributes:
        paid: base units that the payout wallet got of this job, the whole.
        signature: of our settle_job; None when someone else settled.
    """

    paid: int
    signature: Signature | None


@dataclass(frozen=True, slots=True)
class RunOwed(RunEvent):
    """The pay couldn't be delivered: it stays in the job's escrow and is tried again. `message`: what to do."""

    owed: int
    message: str


@dataclass(frozen=True, slots=True)
class DisputeLost(RunEvent):
    """The arbiter has granted less than the whole. `granted` of `gross` in base units, before the market's fee."""

    granted: int
    gross: int


@dataclass(frozen=True, slots=True)
class RunReleased(RunEvent):
    """The job was given back to the queue."""

    signature: Signature
    reason: Reason


@dataclass(frozen=True, slots=True)
class RunLost(RunEvent):
    """The chain no longer holds this job for us: cancelled by its client, or timed out. Nothing is paid."""

    outcome: RunOutcome
    message: str
