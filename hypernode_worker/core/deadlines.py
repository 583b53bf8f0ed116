"""Which exit of a job is due: `due_exit` is pure and total, so that no state can keep money without an answer.

Times are the chain's: unix seconds and slots. A deadline has passed when both its time and its slot have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, assert_never

from hypernode_worker.core.accounts import Job, JobState, Node
from hypernode_worker.core.ports import ChainTime
from hypernode_worker.core.types import Slot, UnixTime

SLOT_S = 0.4
"""Slots follow each other about this often."""
KEEP_OWED_S = 90 * 24 * 3600
"""How long an ended job waits for its payees; then anyone may close it, and what is left is its client's."""

_NEVER, _NO_SLOT = UnixTime(0), Slot(0)


class Exit(StrEnum):
    """What anyone may do once it is due, by the instruction that does it; DELIVER is settle_job on an ended job."""

    TIME_OUT = "timeout_job"
    SETTLE = "settle_job"
    DELIVER = "deliver"
    CLOSE = "close_job"
    WITHDRAW = "withdraw_stake"


class Timed(Protocol):
    """What has a deadline."""

    @property
    def deadline(self) -> UnixTime: ...

    @property
    def deadline_slot(self) -> Slot: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a job only what decides which exit is due, so that a whole market can be looked at cheaply.

    Attributes:
        deadline, deadline_slot: 0 where the job has ended.
        owed: base units not delivered yet; settled_at: when it ended. Both 0 before.
    """

    state: JobState
    deadline: UnixTime = _NEVER
    deadline_slot: Slot = _NO_SLOT
    owed: int = 0
    settled_at: UnixTime = _NEVER

    @classmethod
    def of(cls, job: Job) -> Standing:
        return cls(job.state, job.deadline, job.deadline_slot, job.owed, job.settled_at)


def until_deadline(job: Timed, *, now: float, slot: int) -> float:
    """Seconds until the deadline has passed on chain, where both its time and its slot count; 0: it has."""
    return max(0.0, job.deadline - now, (job.deadline_slot - slot) * SLOT_S)


def due_exit(job: Standing, now: ChainTime) -> Exit | None:
    """The exit that anyone may take now; None while there is none."""
    match job.state:
        case JobState.QUEUED | JobState.CLAIMED | JobState.RUNNING:
            return Exit.TIME_OUT if _passed(job, now) else None
        case JobState.SUBMITTED | JobState.DISPUTED:
            return Exit.SETTLE if _passed(job, now) else None
        case JobState.SETTLED | JobState.CANCELLED | JobState.EXPIRED:
            if now.unix_time - job.settled_at >= KEEP_OWED_S:
                return Exit.CLOSE  # which delivers first what can be delivered
            return Exit.DELIVER if job.owed else None
        case _:
            assert_never(job.state)


def due_withdrawal(node: Node, now: ChainTime) -> Exit | None:
    """WITHDRAW once the cooldown of the stake that was asked back is over."""
    return Exit.WITHDRAW if node.unstaking and now.unix_time >= node.unstake_at else None


def _passed(job: Standing, now: ChainTime) -> bool:
    return until_deadline(job, now=now.unix_time, slot=now.slot) == 0
