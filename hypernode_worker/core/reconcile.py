"""What to do about one run, by what chain, journal, container runtime and this process say of it, side by side.

Done when a worker starts, and each minute. A restart is nothing but the first look.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.runs import RunState
from hypernode_worker.core.types import Slot


class OnChain(Enum):
    """What the chain holds of a run for this node."""

    NOTHING = "nothing"  # the job is closed, queued anew, another's, or over with nothing owed to the node
    CLAIMED = "claimed"
    RUNNING = "running"
    UNPAID = "unpaid"  # under review, in dispute, or over with pay that couldn't be delivered


class Verdict(Enum):
    """The one thing to do."""

    LEAVE = "leave"
    TAKE_UP = "take up"  # begin a handler: it attaches to the container, delivers the result, or gives the job back
    COLLECT = "collect"  # the settling sees to it that the pay arrives
    WAIT = "wait"  # a transaction of ours may still land
    CLOSE_UNCLAIMED = "close: the claim never landed"
    CLOSE_LOST = "close: the chain gave it to others"
    CLEAR = "clear"  # containers and files of a run that is over


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One run as each of them has it.

    Attributes:
        journal: None: it has no such run.
        in_hand: a handler of this process runs it, or the settling waits for its pay.
        left_over: there are containers or files of it.
        may_land: a transaction about its job was sent whose end isn't known.
    """

    chain: OnChain
    journal: RunState | None
    in_hand: bool = False
    left_over: bool = False
    may_land: bool = False


def on_chain(job: Job | None, node: Pubkey, run: Slot) -> OnChain:
    """What a job's account says of one run of `node`."""
    if job is None or job.node != node or job.queued_slot != run:
        return OnChain.NOTHING
    match job.state:
        case JobState.CLAIMED:
            return OnChain.CLAIMED
        case JobState.RUNNING:
            return OnChain.RUNNING
        case JobState.SUBMITTED | JobState.DISPUTED:
            return OnChain.UNPAID
        case JobState.SETTLED | JobState.CANCELLED | JobState.EXPIRED:
            return OnChain.UNPAID if job.owed_node else OnChain.NOTHING
        case JobState.QUEUED:
            return OnChain.NOTHING
        case _:
            assert_never(job.state)


def reconcile(seen: SideBySide) -> Verdict:
    """The verdict for each combination; the chain decides about money, so a run that is in hand is never touched here.

    | chain            | journal                   | verdict                                                          |
    |------------------|---------------------------|------------------------------------------------------------------|
    | any              | any, in hand              | LEAVE: its handler follows the job's account itself              |
    | claimed, running | any but due, or none      | TAKE_UP: also where the journal was lost or thought it closed    |
    | claimed, running | due                       | COLLECT: finish_job has landed, the endpoint is behind           |
    | unpaid           | any, or none              | COLLECT                                                          |
    | nothing          | claiming, may land        | WAIT                                                             |
    | nothing          | claiming                  | CLOSE_UNCLAIMED                                                  |
    | nothing          | claimed, running, ended   | CLOSE_LOST; WAIT while a transaction may land                    |
    | nothing          | stored, due               | COLLECT: it was paid, or is lost: the settling reads the account |
    | nothing          | closed, or none           | CLEAR where something is left over, else LEAVE                   |
    """
    if seen.in_hand:
        return Verdict.LEAVE
    match seen.chain:
        case OnChain.CLAIMED | OnChain.RUNNING:
            return Verdict.COLLECT if seen.journal is RunState.DUE else Verdict.TAKE_UP
        case OnChain.UNPAID:
            return Verdict.COLLECT
        case OnChain.NOTHING:
            return _of_the_journal(seen)
        case _:
            assert_never(seen.chain)


def is_doubtful(seen: SideBySide) -> bool:
    """The chain says less, or other things, than the journal knows: an endpoint that is behind would say the same.

    Then a second look, or an endpoint that isn't behind, has to confirm it before anything is done.
    """
    return seen.journal is not None and (seen.chain is OnChain.NOTHING or seen.journal is RunState.CLOSED)


def _of_the_journal(seen: SideBySide) -> Verdict:
    match seen.journal:
        case RunState.CLAIMING:
            return Verdict.WAIT if seen.may_land else Verdict.CLOSE_UNCLAIMED
        case RunState.CLAIMED | RunState.RUNNING | RunState.ENDED:
            return Verdict.WAIT if seen.may_land else Verdict.CLOSE_LOST
        case RunState.STORED | RunState.DUE:
            return Verdict.COLLECT
        case RunState.CLOSED | None:
            return Verdict.CLEAR if seen.left_over else Verdict.LEAVE
        case _:
            assert_never(seen.journal)
