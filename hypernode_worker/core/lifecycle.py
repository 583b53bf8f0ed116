"""One run as observe, decide, act: `decide` is pure and total, so a new state fails type checking until it is answered.

The handler of a run (node.job_handler) observes the job's account and what is in hand, asks `decide`, and does the one
thing that it says. A restart is only another first observation. All times are the chain's unix time, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, QueuedJob, Reason
from hypernode_worker.core.outcome import Effect, RunOutcome
from hypernode_worker.core.types import Slot

__all__ = ["Action", "Effect", "Observation", "Progress", "RunOutcome", "Step", "StopRequest", "decide"]


GIVE_UP_S = 3600.0
"""How long after the deadline settling is still tried: late is fine until someone has timed the job out."""


class StopRequest(Enum):
    """What the operator asked of the worker."""

    NONE = "none"
    DRAIN = "drain"  # take nothing new, bring what is held to its end
    NOW = "now"  # give it up


class Progress(Enum):
    """What is in hand. ENDED, STORING and STORED imply an outcome."""

    NEW = "new"
    SETTING_UP = "setting_up"
    READY = "ready"
    EXECUTING = "executing"
    ENDED = "ended"
    STORING = "storing"
    STORED = "stored"


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a decision is made of.

    Attributes:
        job: the account as last seen; None once it is closed.
        node: our node account.
        run: queued_slot of this attempt: another one means that the job was queued anew meanwhile.
        claimed: this run holds, or held, the job.
        now: the chain's time, as far as known.
        time_limit: seconds that the operations may take, by definition and account.
        heartbeat_at: when the next sign of life is due; None when the market asks for none.
        given_up: the node can't go on with it, as when its disk is full.
        postable: the result lies on this machine, and its market doesn't demand that it is pinned elsewhere.
    """

    job: Job | QueuedJob | None
    node: Pubkey
    run: Slot
    claimed: bool
    now: float
    time_limit: int
    progress: Progress = Progress.NEW
    outcome: RunOutcome | None = None
    heartbeat_at: float | None = None
    stop: StopRequest = StopRequest.NONE
    given_up: bool = False
    postable: bool = False

    @property
    def ours(self) -> bool:
        return self.job is not None and self.job.node == self.node and self.job.queued_slot == self.run


@dataclass(frozen=True, slots=True)
class Claim:
    """work_job; `begin`: everything is here already, so it runs at once."""

    begin: bool


@dataclass(frozen=True, slots=True)
class SetUp:
    """Fetch files and image. Unbilled."""


@dataclass(frozen=True, slots=True)
class Begin:
    """begin_job: from here on the client pays."""


@dataclass(frozen=True, slots=True)
class Execute:
    """Run the operations."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop what is going on; the run ends with this outcome."""

    outcome: RunOutcome


@dataclass(frozen=True, slots=True)
class Store:
    """Write, hash and sign the result and have the store confirm it."""


@dataclass(frozen=True, slots=True)
class StopWaiting:
    """The store hasn't confirmed the result and the time is over: it is posted all the same, and goes on its way."""


@dataclass(frozen=True, slots=True)
class Finish:
    """finish_job with the result's CID."""


@dataclass(frozen=True, slots=True)
class Release:
    """release_job."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class SendSignOfLife:
    """checkpoint_job."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Until something changes, at latest until this time (None: nothing is due)."""

    until: float | None


@dataclass(frozen=True, slots=True)
class Close:
    """The chain holds nothing of this run any more: clean up and report."""

    outcome: RunOutcome


Step = Claim | SetUp | Begin | Execute | Interrupt | Store | StopWaiting | Finish | Release | SendSignOfLife | Wait
Action = Step | Close


def decide(seen: Observation) -> Action:
    """The one thing to do next."""
    job = seen.job
    if job is None:
        return Close(_ended_elsewhere(seen, RunOutcome.LOST))
    match job.state:
        case JobState.QUEUED:
            return _queued(seen)
        case JobState.CLAIMED:
            return _claimed(seen, job) if seen.ours else Close(_ended_elsewhere(seen, RunOutcome.LOST))
        case JobState.RUNNING:
            if not seen.ours:
                return Close(_ended_elsewhere(seen, RunOutcome.LOST))
            # The short form has no start time to decide by: wait for the whole account.
            return _running(seen, job) if isinstance(job, Job) else Wait(seen.now + 1)
        case JobState.SUBMITTED | JobState.DISPUTED | JobState.SETTLED:
            finished = seen.ours and seen.outcome is not None and seen.outcome.effect is Effect.FINISH
            return Close(seen.outcome if finished and seen.outcome else _ended_elsewhere(seen, RunOutcome.LOST))
        case JobState.CANCELLED:
            return Close(_ended_elsewhere(seen, RunOutcome.CANCELLED))
        case JobState.EXPIRED:
            return Close(_ended_elsewhere(seen, RunOutcome.LOST))
        case _:
            assert_never(job.state)


def _ended_elsewhere(seen: Observation, held: RunOutcome) -> RunOutcome:
    """The outcome when the chain ended the run: by whether we held the job, or had given it back ourselves."""
    if not seen.claimed:
        return RunOutcome.NOT_CLAIMED
    if seen.outcome is not None and seen.outcome.effect is Effect.RELEASE:
        return seen.outcome
    return held


def _queued(seen: Observation) -> Action:
    if seen.claimed:
        return Close(_ended_elsewhere(seen, RunOutcome.LOST))
    requeued = seen.job is not None and seen.job.queued_slot != seen.run
    if seen.stop is not StopRequest.NONE or seen.outcome is not None or requeued:
        return Close(RunOutcome.NOT_CLAIMED)
    return Claim(begin=seen.progress is Progress.READY)


def _claimed(seen: Observation, job: Job | QueuedJob) -> Action:
    if seen.now >= job.deadline + GIVE_UP_S:
        return Close(RunOutcome.LOST)
    if seen.outcome is not None:
        match seen.outcome.effect:
            case Effect.FINISH:
                return Begin()
            case Effect.RELEASE | Effect.NONE:
                return Release(_release_reason(seen.outcome))
            case _:
                assert_never(seen.outcome.effect)
    if seen.stop is StopRequest.NOW:
        return Interrupt(RunOutcome.NODE_SHUTDOWN)
    if seen.given_up:
        return Interrupt(RunOutcome.NODE_FAULT)
    give_up_at = job.deadline - _setup_margin(job)
    if seen.now >= give_up_at:
        return Interrupt(RunOutcome.SETUP_TIMED_OUT)
    match seen.progress:
        case Progress.NEW:
            return SetUp()
        case Progress.SETTING_UP:
            return Wait(give_up_at)
        case Progress.READY | Progress.EXECUTING | Progress.ENDED | Progress.STORING | Progress.STORED:
            return Begin()
        case _:
            assert_never(seen.progress)


def _running(seen: Observation, job: Job) -> Action:
    if seen.now >= finish_by(job) + GIVE_UP_S:
        return Close(RunOutcome.LOST)
    if seen.outcome is not None:
        return _ended(seen, job, seen.outcome)
    if seen.stop is StopRequest.NOW:
        return Interrupt(RunOutcome.NODE_SHUTDOWN)
    if seen.given_up:
        return Interrupt(RunOutcome.NODE_FAULT)
    if job.stopped_at:
        return Interrupt(RunOutcome.STOPPED)
    run_until = job.started_at + min(seen.time_limit, job.timeout)
    if seen.now >= run_until:
        return Interrupt(RunOutcome.TIMED_OUT)
    if _due(seen):
        return SendSignOfLife()
    match seen.progress:
        case Progress.NEW:
            return SetUp()
        case Progress.READY:
            return Execute()
        case Progress.SETTING_UP | Progress.EXECUTING:
            return Wait(_earlier(run_until, seen.heartbeat_at))
        case Progress.ENDED | Progress.STORING | Progress.STORED:
            # An end without an outcome can't be told to the client: the job goes back to the queue.
            return Interrupt(RunOutcome.NODE_FAULT)
        case _:
            assert_never(seen.progress)


def _ended(seen: Observation, job: Job, outcome: RunOutcome) -> Action:
    match outcome.effect:
        case Effect.RELEASE | Effect.NONE:
            return Release(_release_reason(outcome))
        case Effect.FINISH:
            pass
        case _:
            assert_never(outcome.effect)
    if seen.progress is Progress.STORED:
        return Finish()
    if _due(seen):
        return SendSignOfLife()
    if seen.progress is not Progress.STORING:
        return Store()
    give_up_at = finish_by(job) - _finish_margin(job)
    if seen.now < give_up_at:
        return Wait(_earlier(give_up_at, seen.heartbeat_at))
    if seen.postable:
        return StopWaiting()
    if seen.now < finish_by(job):
        return Interrupt(RunOutcome.RESULT_UNAVAILABLE)
    # Too late to give it back: but as long as nobody times it out, a result is welcome.
    return Wait(_earlier(finish_by(job) + GIVE_UP_S, seen.heartbeat_at))


def is_older(seen: Job, known: Job) -> bool:
    """Whether an endpoint that lags behind has shown `seen`, an earlier state than `known` of the same attempt."""
    return seen.queued_slot < known.queued_slot or (
        seen.queued_slot == known.queued_slot and seen.state < min(known.state, JobState.SUBMITTED)
    )


def finish_by(job: Job) -> float:
    """The last moment by which finish_job is safe: then anyone may time the job out."""
    final = job.started_at + job.timeout + job.finish_grace
    return min(final, job.stopped_at + job.finish_grace) if job.stopped_at else final


def _release_reason(outcome: RunOutcome) -> Reason:
    return outcome.release_reason or Reason.NODE_FAULT


def _setup_margin(job: Job | QueuedJob) -> float:
    """Seconds kept for release_job before setup_timeout; the release is cheaper than the time-out."""
    return min(15.0, job.setup_timeout * 0.1) if isinstance(job, Job) else 15.0


def _finish_margin(job: Job) -> float:
    """Seconds kept for finish_job or release_job, before anyone may time the job out."""
    return min(30.0, job.finish_grace * 0.25)


def _due(seen: Observation) -> bool:
    return seen.heartbeat_at is not None and seen.now >= seen.heartbeat_at


def _earlier(one: float, other: float | None) -> float:
    return one if other is None else min(one, other)
