"""What a posted result still has to go through: every state has one step, and only the due ones cost a transaction."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.settlement import Arrived, Deliver, Gone, LookAgain, Settle, WaitFor, next_step
from hypernode_worker.core.types import Slot, UnixTime
from tests.support.accounts import make_job

TIMES = st.integers(0, 2**40)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """Jobs in every state, owing or not."""
    return make_job(
        state=draw(st.sampled_from(JobState)),
        deadline=UnixTime(draw(TIMES)),
        deadline_slot=Slot(draw(TIMES)),
        owed_node=draw(st.sampled_from((0, 1, 10**9))),
    )


@given(jobs(), TIMES, TIMES)
def test_only_this_runs_jobs_are_settled_and_only_after_time_and_slot(job: Job, now: int, slot: int) -> None:
    step = next_step(job, node=job.node, run=job.queued_slot, now=now, slot=slot)
    passed = now >= job.deadline and slot >= job.deadline_slot
    assert isinstance(step, Settle) == (job.state in (JobState.SUBMITTED, JobState.DISPUTED) and passed)
    assert isinstance(step, Deliver) == (job.state is JobState.SETTLED and job.owed_node > 0)
    assert isinstance(step, LookAgain) == (job.state < JobState.SUBMITTED)
    if isinstance(step, WaitFor):
        assert step.seconds > 0
        assert step.disputed == (job.state is JobState.DISPUTED)
        later = next_step(
            job,
            node=job.node,
            run=job.queued_slot,
            now=max(now, job.deadline),
            slot=max(slot, job.deadline_slot),
        )
        assert isinstance(later, Settle)


@given(jobs())
def test_a_job_of_another_attempt_is_gone(job: Job) -> None:
    step = next_step(job, node=job.node, run=Slot(job.queued_slot + 1), now=0, slot=0)
    assert step == Gone()


@given(jobs(), st.integers(1, 10**6), st.integers(1, 86_400), st.integers(0, 10_000), st.integers(0, 10_000))
def test_what_an_arbiter_granted_is_seen_from_the_account(
    job: Job, price: int, used: int, pay_bps: int, fee_bps: int
) -> None:
    gross = price * used
    granted = gross * pay_bps // 10_000
    fee = granted * fee_bps // 10_000
    bond = 77 if pay_bps == 10_000 else 0  # goes to a node that was right in everything
    settled = replace(
        job, state=JobState.SETTLED, price=price, used=used, owed_node=0, paid=granted - fee + bond, fee=fee, owed_fee=0
    )
    step = next_step(settled, node=job.node, run=job.queued_slot, now=0, slot=0)
    assert step == Arrived(granted - fee + bond, granted, gross)
    assert isinstance(step, Arrived)
    assert step.cut == (granted < gross)


def test_a_halted_chain_lets_no_review_end() -> None:
    """After a halt the time jumps, the slots don't."""
    job = make_job(state=JobState.SUBMITTED, deadline=UnixTime(1_000), deadline_slot=Slot(500))
    step = next_step(job, node=job.node, run=job.queued_slot, now=90_000, slot=400)
    assert step == WaitFor(40.0, False)
