"""What the journal holds of a run, which states may follow which, and the journal's port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from solders.pubkey import Pubkey

from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.transactions import TransactionLog
from hypernode_worker.core.types import Cid, Slot

if TYPE_CHECKING:
    from hypernode_worker.core.events import Event


class RunState(StrEnum):
    """How far a run is, written before the effect that leads on from it."""

    CLAIMING = "claiming"  # work_job is about to be sent
    CLAIMED = "claimed"
    RUNNING = "running"
    ENDED = "ended"  # the operations are over, `outcome` is known
    STORED = "stored"  # the store has confirmed the result; finish_job may be sent, again and again
    DUE = "due"  # finish_job is on chain, what it earned may not be here yet
    CLOSED = "closed"  # the chain holds nothing of it any more


FOLLOWERS: Mapping[RunState, frozenset[RunState]] = {
    RunState.CLAIMING: frozenset({RunState.CLAIMED, RunState.RUNNING, RunState.CLOSED}),
    RunState.CLAIMED: frozenset({RunState.RUNNING, RunState.ENDED, RunState.CLOSED}),
    RunState.RUNNING: frozenset({RunState.RUNNING, RunState.ENDED, RunState.CLOSED}),
    RunState.ENDED: frozenset({RunState.ENDED, RunState.STORED, RunState.CLOSED}),
    RunState.STORED: frozenset({RunState.ENDED, RunState.DUE, RunState.CLOSED}),
    RunState.DUE: frozenset({RunState.CLOSED}),
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


class Journal(TransactionLog, Protocol):
    """What was promised, and the handle by which to find it again. Calls are short and block; each is one transaction.

    State and the events that describe it are written together, before the effect that they announce.
    """

    def open_run(self, run: RunRecord, events: Sequence[Event] = (), *, at: float) -> None:
        """Begins a run, or begins one that ended again (a claim that was tried twice)."""
        ...

    def advance(self, run: RunRecord, to: RunRecord, events: Sequence[Event] = (), *, at: float) -> RunRecord:
        """Compare-and-set: writes `to` where the run still stands as `run` says; gives `to`.

        Raises PermanentError when it doesn't: someone else moved it.
        """
        ...

    def run(self, job: Pubkey, run: Slot) -> RunRecord | None: ...

    def open_runs(self) -> Sequence[RunRecord]:
        """Runs that aren't closed."""
        ...

    def close(self) -> None: ...
