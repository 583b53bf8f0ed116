"""Markets with a review: results wait, clients dispute, arbiters decide, and silence pays the node."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.types import Cid
from tests.support.market_world import CID, World
from tests.support.svm import START_TIME, refused

GROSS, DEPOSIT, BOND = 10_000, 600_000, 60_000
TERMS = {"review_period": 100, "resolve_timeout": 200, "slash_bps": 5_000}


@pytest.fixture(params=["native", "spl"])
def world(request: pytest.FixtureRequest) -> World:
    made = World(spl=request.param == "spl", staking=True, terms=TERMS | {"arbiter": Pubkey.new_unique()})
    made.update_market(arbiter=made.arbiter.pubkey(), lock_per_job=100)
    made.stake(1_000)
    return made


def submitted(world: World, exit_status: int = 0) -> Pubkey:
    """A result of ten seconds, posted now."""
    job = world.running()
    world.svm.advance(10)
    world.finish(job, exit_status=exit_status)
    return job


def disputed(world: World) -> Pubkey:
    job = submitted(world)
    world.dispute(job)
    return job


def test_a_submitted_result_pays_nobody_yet_and_frees_the_node(world: World) -> None:
    before = world.money(world.payout)
    job = submitted(world)
    seen = world.job(job)
    assert (seen.state, seen.used, seen.paid, seen.owed) == (JobState.SUBMITTED, 10, 0, 0)
    assert seen.deadline == START_TIME + 110
    assert world.money(world.payout) == before
    assert (world.node.active_jobs, world.node.open_jobs, world.node.locked) == (0, 1, 100)
    with refused("NodeHasJobs"):
        world.send(world.program.deregister_node(world.node), world.operator)


def test_its_client_settles_at_once_and_anyone_after_the_review(world: World) -> None:
    first, second = submitted(world), submitted(world)
    stranger = world.svm.wallet()
    for job in (first, second):
        with refused("DeadlineNotPassed"):
            world.settle(job, caller=stranger)
    world.settle(first)
    assert (world.job(first).state, world.job(first).paid) == (JobState.SETTLED, 9_900)
    world.svm.advance(100)
    with refused("DeadlinePassed"):
        world.dispute(second)
    world.settle(second, caller=stranger)
    assert (world.job(second).paid, world.node.completed, world.node.locked) == (9_900, 2, 0)


def test_a_halt_costs_no_review(world: World) -> None:
    job = submitted(world)
    world.svm.advance(10_000, slots=1)
    with refused("DeadlineNotPassed"):
        world.settle(job, caller=world.svm.wallet())
    world.dispute(job)
    world.svm.advance(10_000, slots=1)
    with refused("DeadlineNotPassed"):
        world.settle(job)


def test_a_dispute_takes_the_bond(world: World) -> None:
    before = world.money(world.client)
    job = submitted(world)
    paid_in = before - world.money(world.client)
    world.dispute(job, Cid.of(b"why"))
    seen = world.job(job)
    assert (seen.state, seen.bond, seen.reason_cid) == (JobState.DISPUTED, BOND, Cid.of(b"why"))
    assert seen.deadline == START_TIME + 210
    assert before - world.money(world.client) == paid_in + BOND
    with refused("WrongJobState"):
        world.dispute(job)


@pytest.mark.parametrize(
    ("pay_bps", "slash_bps", "paid", "fee", "refunded", "slashed", "credit", "lost"),
    [
        (10_000, 0, 9_900 + BOND, 100, DEPOSIT - GROSS, 0, 76, 0),
        (9_999, 0, 9_900, 99, DEPOSIT - 9_999 + BOND, 0, 76, 0),
        (5_000, 0, 4_950, 50, DEPOSIT - 5_000 + BOND, 0, 76, 0),
        (4_999, 5_000, 4_950, 49, DEPOSIT - 4_999 + BOND, 50, 50, 1),
        (4_999, 0, 4_950, 49, DEPOSIT - 4_999 + BOND, 0, 50, 1),
        (0, 5_000, 0, 0, DEPOSIT + BOND, 50, 50, 1),
    ],
)
def test_the_arbiter_decides(
    world: World, pay_bps: int, slash_bps: int, paid: int, fee: int, refunded: int, slashed: int, credit: int, lost: int
) -> None:
    job = disputed(world)
    world.resolve(job, pay_bps, slash_bps)
    done, node = world.job(job), world.node
    assert (done.state, done.paid, done.fee, done.refunded, done.owed) == (JobState.SETTLED, paid, fee, refunded, 0)
    assert (node.slashed, node.staked, node.credit, node.disputes_lost) == (slashed, 1_000 - slashed, credit, lost)
    assert (node.open_jobs, node.locked, node.completed) == (0, 0, 1 - lost)


@pytest.mark.parametrize(("pay_bps", "slash_bps"), [(10_001, 0), (5_000, 1), (10_000, 5_000), (0, 5_001)])
def test_no_arbiter_goes_beyond_the_terms(world: World, pay_bps: int, slash_bps: int) -> None:
    job = disputed(world)
    with refused("InvalidShare"):
        world.resolve(job, pay_bps, slash_bps)


def test_nobody_else_is_the_arbiter(world: World) -> None:
    job = disputed(world)
    for other in (world.client, world.operator, world.owner):
        world.arbiter, real = other, world.arbiter
        made = world.program.resolve_dispute(world.job(job), pay_bps=0, slash_bps=0)
        metas = [type(made.accounts[0])(other.pubkey(), True, False), *made.accounts[1:]]
        with refused("WrongAuthority"):
            world.send(type(made)(made.program_id, bytes(made.data), metas), other)
        world.arbiter = real


def test_a_silent_arbiter_pays_the_node_and_returns_the_bond(world: World) -> None:
    job = disputed(world)
    stranger = world.svm.wallet()
    for caller in (stranger, world.client):
        with refused("DeadlineNotPassed"):
            world.settle(job, caller=caller)
    world.svm.advance(200)
    world.settle(job, caller=stranger)
    done = world.job(job)
    assert (done.paid, done.fee, done.refunded) == (9_900, 100, DEPOSIT - GROSS + BOND)


@pytest.mark.parametrize("make", [submitted, disputed])
def test_a_posted_result_is_not_timed_out_cancelled_or_worked_on(world: World, make: Callable[[World], Pubkey]) -> None:
    job = make(world)
    world.svm.advance(10_000)
    for attempt in (
        world.time_out,
        world.cancel,
        world.stop,
        world.finish,
        world.release,
        world.checkpoint,
        world.close,
    ):
        with refused("WrongJobState"):
            attempt(job)


def test_the_parties_cannot_be_blocked_by_each_others_accounts(world: World) -> None:
    job = disputed(world)
    if world.is_spl:
        world.svm.freeze(world.program.payees(world.job(job)).payout_to or world.mint)
    else:
        world.svm.put(world.payout.pubkey(), b"", Pubkey.default(), 0)
    world.resolve(job, 10_000)
    done = world.job(job)
    assert done.paid + done.owed_node == 9_900 + BOND
    assert (done.fee, done.refunded) == (100, DEPOSIT - GROSS)


def test_a_bond_of_nothing(world: World) -> None:
    world.update_market(bond_bps=0)
    job = disputed(world)
    assert world.job(job).bond == 0
    world.resolve(job, 10_000)
    assert world.job(job).paid == 9_900


def test_secrets_are_shared_with_the_node_that_has_the_job(world: World) -> None:
    job = world.post()
    share = world.program.share_secrets
    with refused("WrongJobState"):
        world.send(share(world.job(job), CID), world.client)
    world.claim(job)
    world.send(share(world.job(job), CID), world.client)
    assert world.job(job).secrets_cid == CID
    world.begin(job)
    world.send(share(world.job(job), Cid.of(b"more")), world.client)
    world.release(job)
    assert world.job(job).secrets_cid is None
