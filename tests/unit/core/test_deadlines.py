"""Which exit is due: in each state exactly one answer, never before both time and slot have passed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernode_worker.core.accounts import JobState, Node
from hypernode_worker.core.deadlines import (
    KEEP_OWED_S,
    Exit,
    Standing,
    due_exit,
    due_withdrawal,
    until_deadline,
)
from hypernode_worker.core.ports import ChainTime
from hypernode_worker.core.types import Slot, UnixTime
from tests.support.accounts import NOBODY, make_job, make_market, make_node

AT, SLOT = 1_000, 500
OPEN = [JobState.QUEUED, JobState.CLAIMED, JobState.RUNNING]
JUDGED = [JobState.SUBMITTED, JobState.DISPUTED]
ENDED = [JobState.SETTLED, JobState.CANCELLED, JobState.EXPIRED]


def now(seconds: int, slot: int) -> ChainTime:
    return ChainTime(Slot(slot), UnixTime(seconds))


@pytest.mark.parametrize(("state", "exit_"), [*((s, Exit.TIME_OUT) for s in OPEN), *((s, Exit.SETTLE) for s in JUDGED)])
def test_a_deadline_passes_when_time_and_slot_have(state: JobState, exit_: Exit) -> None:
    job = Standing(state, UnixTime(AT), Slot(SLOT))
    assert due_exit(job, now(AT, SLOT)) is exit_
    assert due_exit(job, now(AT - 1, SLOT + 10**6)) is None
    assert due_exit(job, now(AT + 10**6, SLOT - 1)) is None, "the chain has stood still"


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_job_is_delivered_and_after_ninety_days_closed(state: JobState) -> None:
    done = Standing(state, settled_at=UnixTime(AT))
    assert due_exit(done, now(AT + KEEP_OWED_S - 1, 0)) is None
    assert due_exit(replace(done, owed=1), now(AT + KEEP_OWED_S - 1, 0)) is Exit.DELIVER
    for owed in (0, 1):
        assert due_exit(replace(done, owed=owed), now(AT + KEEP_OWED_S, 0)) is Exit.CLOSE


@given(st.sampled_from(JobState), *(st.integers(0, 2**40) for _ in range(6)))
def test_money_has_an_exit_in_the_end(
    state: JobState, deadline: int, slot: int, owed: int, settled: int, later: int, slots: int
) -> None:
    """Whatever the account says: once all its times are over, something is due to anyone; before, nothing but what
    is owed."""
    job = Standing(state, UnixTime(deadline), Slot(slot), owed, UnixTime(settled))
    over = now(max(deadline, settled + KEEP_OWED_S) + later, slot + slots)
    assert due_exit(job, over) is not None
    if not state.terminal:
        assert due_exit(job, now(deadline - 1, slot + slots)) is None


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40))
def test_waiting_and_acting_agree(deadline: int, deadline_slot: int, time: int, slot: int) -> None:
    job = Standing(JobState.QUEUED, UnixTime(deadline), Slot(deadline_slot))
    left = until_deadline(job, now=time, slot=slot)
    assert (left == 0) is (due_exit(job, now(time, slot)) is Exit.TIME_OUT)


def test_a_standing_is_of_a_job() -> None:
    job = make_job(deadline=UnixTime(AT), deadline_slot=Slot(SLOT), owed_node=1, owed_fee=2, owed_client=4)
    job = replace(job, state=JobState.SETTLED, settled_at=UnixTime(7))
    assert Standing.of(job) == Standing(JobState.SETTLED, UnixTime(AT), Slot(SLOT), 7, UnixTime(7))


def test_stake_is_due_when_its_cooldown_is_over() -> None:
    def node(**changes: int) -> Node:
        return replace(make_node(make_market(), NOBODY), **changes)  # pyright: ignore[reportArgumentType]

    assert due_withdrawal(node(unstaking=1, unstake_at=AT), now(AT, 0)) is Exit.WITHDRAW
    assert due_withdrawal(node(unstaking=1, unstake_at=AT), now(AT - 1, 0)) is None
    assert due_withdrawal(node(unstaking=0, unstake_at=AT), now(AT, 0)) is None
