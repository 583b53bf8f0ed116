"""What a posted result still has to go through until its pay has arrived: `next_step` is pure and total.

`verdict` is what an arbiter's decision does with the money.

node.settling reads the job, asks `next_step`, and does what it says. Times are the chain's: unix seconds and slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.deadlines import until_deadline
from hypernode_worker.core.market_terms import LOST_BELOW_BPS, WHOLE_BPS
from hypernode_worker.core.types import Slot
from hypernode_worker.errors import ConfigError, PermanentError


@dataclass(frozen=True, slots=True)
class WaitFor:
    """The review, or the arbiter's time, isn't over yet."""

    seconds: float
    disputed: bool


@dataclass(frozen=True, slots=True)
class Settle:
    """settle_job: the deadline has passed, anyone may."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """settle_job: the job has ended, but its pay couldn't be delivered yet. `owed` in base units."""

    owed: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """All that the node gets of this job is there.

    Attributes:
        paid: base units delivered to the node's payout wallet.
        granted: of the gross, before the fee, what the arbiter granted; the whole where there was no dispute.
        gross: price x used.
    """

    paid: int
    granted: int
    gross: int

    @property
    def cut(self) -> bool:
        """An arbiter has decided against the node, in part or in all."""
        return self.granted < self.gross


@dataclass(frozen=True, slots=True)
class Gone:
    """The job isn't this run's any more, or ended without pay."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """The account is older than what is known: another endpoint answered."""


Step = WaitFor | Settle | Deliver | Arrived | Gone | LookAgain


def next_step(job: Job, *, node: Pubkey, run: Slot, now: float, slot: int) -> Step:
    """What to do about a run whose finish_job is on chain, or was about to be.

    Args:
        run: queued_slot of the attempt: another one means that the job was queued anew.
        now, slot: the chain's time, as far as known.
    """
    if job.node != node or job.queued_slot != run:
        return Gone()
    match job.state:
        case JobState.SUBMITTED | JobState.DISPUTED:
            left = until_deadline(job, now=now, slot=slot)
            return WaitFor(left, job.state is JobState.DISPUTED) if left > 0 else Settle()
        case JobState.SETTLED:
            if job.owed_node:
                return Deliver(job.owed_node)
            gross = job.price * job.used
            return Arrived(job.paid, min(gross, job.paid + job.fee + job.owed_fee), gross)
        case JobState.CANCELLED | JobState.EXPIRED:
            return Gone()
        case JobState.QUEUED | JobState.CLAIMED | JobState.RUNNING:
            return LookAgain()
        case _:
            assert_never(job.state)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who gets what by an arbiter's decision: base units of the payment mint, `slashed` of the stake mint at most."""

    node: int
    fee: int
    client: int
    slashed: int


def verdict(job: Job, *, pay_bps: int, slash_bps: int) -> Verdict:
    """What resolve_dispute would do with these shares, in basis points; computed as the program does.

    Raises:
        PermanentError: the job isn't in dispute.
        ConfigError: a slash that doesn't go with the pay, or is more than the market allows.
    """
    if job.state is not JobState.DISPUTED:
        raise PermanentError(
            f"The job {job.address} is {job.state.name.lower()}, not disputed: there is nothing to resolve."
        )
    if slash_bps and pay_bps >= LOST_BELOW_BPS:
        raise ConfigError(
            f"A node that is paid {pay_bps / 100:g} % of the gross hasn't lost, and can't be slashed: pay less than "
            f"{LOST_BELOW_BPS / 100:g} %, or slash nothing."
        )
    if slash_bps > job.slash_bps:
        raise ConfigError(
            f"The market slashes at most {job.slash_bps / 100:g} % of a job's locked stake: slash no more."
        )
    granted = job.price * job.used * pay_bps // WHOLE_BPS
    fee = granted * job.fee_bps // WHOLE_BPS
    bond_to_node = job.bond if pay_bps == WHOLE_BPS else 0
    return Verdict(
        node=granted - fee + bond_to_node,
        fee=fee,
        client=job.deposit - granted + job.bond - bond_to_node,
        slashed=job.lock * slash_bps // WHOLE_BPS,
    )
