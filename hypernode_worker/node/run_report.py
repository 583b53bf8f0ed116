"""How a run is told once it is over: to the journal and listeners as an event, to the worker as a report."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.events import ClaimLost, Event, RunLost, RunSettled
from hypernode_worker.core.outcome import Effect, RunOutcome
from hypernode_worker.core.runs import RunRecord
from hypernode_worker.node.result import StoredResult


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended.

    Attributes:
        due: its record, when what it has earned may not have arrived yet.
        refused: the name of the program's error that the claim met, or nothing.
    """

    outcome: RunOutcome
    message: str
    due: RunRecord | None = None
    refused: str = ""


def pay_may_be_due(job: Job | None, wallet: Pubkey) -> bool:
    """Whether the pay of a finished run may still be on its way.

    The worker's own wallet holds its fees, so it can always be paid in SOL; of others, and tokens, only a look tells.
    """
    if job is None:
        return False
    return job.state in (JobState.SUBMITTED, JobState.DISPUTED) or not job.is_native or job.payout != wallet


def closing_event(
    address: Pubkey,
    outcome: RunOutcome,
    message: str,
    job: Job | None,
    stored: StoredResult | None,
    signature: Signature | None,
) -> Event | None:
    """What listeners are told of a run that is over; None where that was told before."""
    if outcome.effect is Effect.FINISH and stored is not None:
        review = job is not None and job.state in (JobState.SUBMITTED, JobState.DISPUTED)
        return RunSettled(address, signature, stored.cid, stored.exit_status, outcome, review)
    if outcome is RunOutcome.NOT_CLAIMED:
        return ClaimLost(address, message or "it is no longer queued")
    if outcome in (RunOutcome.LOST, RunOutcome.CANCELLED):
        return RunLost(address, outcome, message)
    return None
