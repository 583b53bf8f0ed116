"""What is done about a run when chain, journal and this process don't agree: every combination."""

from __future__ import annotations

import itertools

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.reconcile import OnChain, SideBySide, Verdict, is_doubtful, on_chain, reconcile
from hypernode_worker.core.runs import RunState
from tests.support.accounts import make_job, make_market

HELD = (OnChain.CLAIMED, OnChain.RUNNING)
JOURNALS = (None, *RunState)
OTHERS = [state for state in JOURNALS if state is not RunState.DUE]
NOTHING = OnChain.NOTHING


@pytest.mark.parametrize(("chain", "journal"), list(itertools.product(OnChain, JOURNALS)))
def test_what_is_in_hand_is_left_alone(chain: OnChain, journal: RunState | None) -> None:
    assert reconcile(SideBySide(chain, journal, in_hand=True, left_over=True, may_land=True)) is Verdict.LEAVE


@pytest.mark.parametrize(("chain", "journal"), list(itertools.product(HELD, OTHERS)))
def test_what_the_chain_says_we_hold_is_taken_up(chain: OnChain, journal: RunState | None) -> None:
    assert reconcile(SideBySide(chain, journal)) is Verdict.TAKE_UP


@pytest.mark.parametrize("chain", HELD)
def test_what_has_been_finished_is_not_run_again_for_an_endpoint_that_is_behind(chain: OnChain) -> None:
    assert reconcile(SideBySide(chain, RunState.DUE)) is Verdict.COLLECT


@pytest.mark.parametrize("journal", JOURNALS)
def test_pay_that_is_due_is_collected(journal: RunState | None) -> None:
    assert reconcile(SideBySide(OnChain.UNPAID, journal)) is Verdict.COLLECT


@pytest.mark.parametrize(
    ("journal", "verdict", "while_it_may_land"),
    [
        (RunState.CLAIMING, Verdict.CLOSE_UNCLAIMED, Verdict.WAIT),
        (RunState.CLAIMED, Verdict.CLOSE_LOST, Verdict.WAIT),
        (RunState.RUNNING, Verdict.CLOSE_LOST, Verdict.WAIT),
        (RunState.ENDED, Verdict.CLOSE_LOST, Verdict.WAIT),
        (RunState.STORED, Verdict.COLLECT, Verdict.COLLECT),
        (RunState.DUE, Verdict.COLLECT, Verdict.COLLECT),
        (RunState.CLOSED, Verdict.LEAVE, Verdict.LEAVE),
        (None, Verdict.LEAVE, Verdict.LEAVE),
    ],
)
def test_what_only_the_journal_knows(journal: RunState | None, verdict: Verdict, while_it_may_land: Verdict) -> None:
    assert reconcile(SideBySide(NOTHING, journal)) is verdict
    assert reconcile(SideBySide(NOTHING, journal, may_land=True)) is while_it_may_land


@pytest.mark.parametrize("journal", [None, RunState.CLOSED])
def test_what_is_left_of_a_run_that_is_over_is_cleared(journal: RunState | None) -> None:
    assert reconcile(SideBySide(NOTHING, journal, left_over=True)) is Verdict.CLEAR


def test_the_journal_is_not_given_up_for_one_word_of_an_endpoint() -> None:
    doubtful = {
        seen for seen in itertools.starmap(SideBySide, itertools.product(OnChain, JOURNALS)) if is_doubtful(seen)
    }
    against = {SideBySide(NOTHING, state) for state in RunState}
    revived = {SideBySide(chain, RunState.CLOSED) for chain in OnChain}
    assert doubtful == against | revived


@pytest.mark.parametrize(
    ("state", "owed", "expected"),
    [
        (JobState.QUEUED, 0, NOTHING),
        (JobState.CLAIMED, 0, OnChain.CLAIMED),
        (JobState.RUNNING, 0, OnChain.RUNNING),
        (JobState.SUBMITTED, 0, OnChain.UNPAID),
        (JobState.DISPUTED, 0, OnChain.UNPAID),
        (JobState.SETTLED, 0, NOTHING),
        (JobState.SETTLED, 5, OnChain.UNPAID),
        (JobState.CANCELLED, 0, NOTHING),
        (JobState.EXPIRED, 0, NOTHING),
    ],
)
def test_what_an_account_says_of_a_run(state: JobState, owed: int, expected: OnChain) -> None:
    node = Pubkey.new_unique()
    job = make_job(make_market(), node=node, state=state, owed_node=owed)
    assert on_chain(job, node, job.queued_slot) is expected
    assert on_chain(job, Pubkey.new_unique(), job.queued_slot) is NOTHING
    assert on_chain(job, node, type(job.queued_slot)(job.queued_slot + 1)) is NOTHING
    assert on_chain(None, node, job.queued_slot) is NOTHING
