"""What the journal holds of a run, and which states may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from solders.pubkey import Pubkey

from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.types import Cid, Slot


class RunState(StrEnum):
    """How far a run is, written before the effect that leads on from it."""

    CLAIMING = "claiming"  # work_job is about to be sent
    CLAIMED = "claimed"
    RUNNING = "running"
    ENDED = "ended"  # the operations are over, `outcome` is known
    STORED = "stored"  # the store has confirmed the result; finish_job may be sent, again and again
    CLOSED = "closed"  # the chain holds nothing of it any more


FOLLOWERS: Mapping[RunState, frozenset[RunState]] = {
    RunState.CLAIMING: frozenset({RunState.CLAIMED, RunState.RUNNING, RunState.CLOSED}),
    RunState.CLAIMED: frozenset({RunState.RUNNING, RunState.ENDED, RunState.CLOSED}),
    RunState.RUNNING: frozenset({RunState.RUNNING, RunState.ENDED, RunState.CLOSED}),
    RunState.ENDED: frozenset({RunState.ENDED, RunState.STORED, RunState.CLOSED}),
    RunState.STORED: frozenset({RunState.ENDED, RunState.CLOSED}),
    RunState.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One attempt at one job.

    Attributes:
        run: queued_slot of the claim.
        timeout: the job's timeout when it was claimed; extensions come on top of the definition's limit.
        detail: JSON-ready facts for a restart: operations that have ended, the image, times.
    """

    job: Pubkey
    run: Slot
    state: RunState
    definition_cid: Cid
    timeout: int
    outcome: RunOutcome | None = None
    message: str = ""
    result_cid: Cid | None = None
    result_hash: bytes = b""
    exit_status: int = 0
    detail: Mapping[str, object] = field(default_factory=dict[str, object])
