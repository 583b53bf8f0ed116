"""A job from its creation to its end, in both currencies: who is paid what, and what each instruction changes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction

from hypernode_worker.core.accounts import JobState, Reason, Requirements
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.program import Payees
from tests.support.market_world import CID, DIGEST, RESULT, World
from tests.support.svm import START_SLOT, START_TIME, refused

PRICE, TIMEOUT = 1000, 600
DEPOSIT = PRICE * TIMEOUT


def test_creating_takes_the_deposit_and_copies_the_terms(world: World) -> None:
    before, rent = world.money(world.client), world.svm.rent(768)
    wishes = Requirements(min_trust=2, gpu_vendor=1, gpu_count=2, vram_mb=16_000, framework=3)
    job = world.job(world.post(requirements=wishes))
    assert before - world.money(world.client) == DEPOSIT + (0 if world.is_spl else rent)
    assert (job.state, job.requirements, job.definition_cid) == (JobState.QUEUED, wishes, CID)
    assert (job.market, job.client, job.price, job.timeout) == (
        world.market_key, world.client.pubkey(), PRICE, TIMEOUT,
    )  # fmt: skip
    assert (job.deposit, job.bond, job.owed, job.attempts) == (DEPOSIT, 0, 0, 0)
    assert (job.queued_slot, job.created_at, job.market_slot) == (START_SLOT, START_TIME, START_SLOT)
    assert (job.deadline, job.deadline_slot) == (START_TIME + 3600, START_SLOT + 7200)
    assert job.payment_mint == world.mint
    if world.is_spl:
        assert job.escrow == world.program.escrow_address(job.address)
        assert world.svm.token_balance(job.escrow) == DEPOSIT
    copied = {f.name for f in dataclasses.fields(job)} & {f.name for f in dataclasses.fields(world.terms)}
    assert len(copied) > 10
    for name in copied:
        assert getattr(job, name) == getattr(world.terms, name), name
    assert (job.lock, job.credit_pay) == (0, 60)


def test_the_main_path_pays_node_fee_and_rest(world: World) -> None:
    purse = [world.money(w) for w in (world.payout, world.fees)]
    job = world.post()
    paid_in = world.money(world.client)
    world.svm.advance(5)
    world.claim(job)
    claimed = world.job(job)
    assert (claimed.state, claimed.node, claimed.payout) == (JobState.CLAIMED, world.node_key, world.payout.pubkey())
    assert (claimed.attempts, claimed.claimed_at, claimed.deadline) == (1, START_TIME + 5, START_TIME + 605)
    world.svm.advance(60)
    world.begin(job)
    assert (world.job(job).state, world.job(job).started_at) == (JobState.RUNNING, START_TIME + 65)
    world.svm.advance(100)
    landed = world.finish(job, exit_status=-7)
    done = world.job(job)
    assert (done.state, done.used, done.exit_status) == (JobState.SETTLED, 100, -7)
    assert (done.result_cid, done.result_hash) == (RESULT, DIGEST)
    assert (done.paid, done.fee, done.refunded, done.owed) == (99_000, 1_000, 500_000, 0)
    assert (done.ended_at, done.settled_at) == (START_TIME + 165, START_TIME + 165)
    assert [world.money(w) - p for w, p in zip((world.payout, world.fees), purse, strict=True)] == [99_000, 1_000]
    assert world.money(world.client) - paid_in == 500_000
    node = world.node
    assert (node.failed, node.completed, node.compute_seconds, node.earned) == (1, 0, 100, 99_000)
    (event,) = landed.events
    assert (event.name, event.fields["paid"], event.fields["refunded"]) == ("JobEnded", 99_000, 500_000)


@pytest.mark.parametrize(("ran", "used"), [(0, 1), (1, 1), (599, 599), (600, 600), (719, 600)])
def test_billed_seconds_are_at_least_one_and_at_most_the_timeout(world: World, ran: int, used: int) -> None:
    world.update_market(heartbeat_timeout=0)
    job = world.running()
    world.svm.advance(ran)
    world.finish(job)
    assert world.job(job).used == used


def test_late_is_fine_until_timed_out(world: World) -> None:
    job = world.running()
    world.svm.advance(100_000)
    world.finish(job)
    assert (world.job(job).state, world.job(job).used) == (JobState.SETTLED, TIMEOUT)


def test_begin_with_the_claim(world: World) -> None:
    job = world.running()
    running = world.job(job)
    assert (running.state, running.started_at, running.claimed_at) == (JobState.RUNNING, START_TIME, START_TIME)


@pytest.mark.parametrize("claimed", [False, True])
def test_cancelling_refunds_everything(world: World, claimed: bool) -> None:
    job = world.post()
    paid_in = world.money(world.client)
    if claimed:
        world.claim(job)
    world.cancel(job)
    assert world.money(world.client) == paid_in + DEPOSIT
    assert (world.job(job).state, world.job(job).refunded) == (JobState.CANCELLED, DEPOSIT)
    assert (world.node.credit, world.node.open_jobs) == (75, 0)


def test_a_claimed_job_is_cancelled_with_its_own_node_only(world: World) -> None:
    job = world.post()
    world.claim(job)
    built = world.program.cancel_job(world.job(job))
    absent = AccountMeta(world.program.id, False, False)
    with refused("MissingAccount"):
        metas = [*built.accounts[:2], absent, *built.accounts[3:]]
        world.send(Instruction(built.program_id, bytes(built.data), metas), world.client)
    other = world.program.node_address(world.market_key, world.another_node().pubkey())
    with refused("WrongNode"):
        metas = [*built.accounts[:2], AccountMeta(other, False, True), *built.accounts[3:]]
        world.send(Instruction(built.program_id, bytes(built.data), metas), world.client)


def test_a_checkpoint_is_a_sign_of_life_and_keeps_the_last_cid(world: World) -> None:
    job, first = world.running(), Cid.of(b"epoch 1")
    world.svm.advance(50)
    landed = world.checkpoint(job, 2_500, first)
    seen = world.job(job)
    assert (seen.progress_bps, seen.checkpoint_cid, seen.checkpoint_seq) == (2_500, first, 1)
    assert (seen.checkpoint_at, seen.deadline) == (START_TIME + 50, START_TIME + 170)
    assert landed.events[0].fields["checkpoint_seq"] == 1
    world.checkpoint(job, 5_000)
    assert (world.job(job).checkpoint_cid, world.job(job).checkpoint_seq) == (first, 1)
    with refused("InvalidProgress"):
        world.checkpoint(job, 10_001)


@pytest.mark.parametrize("state", ["queued", "claimed", "running"])
def test_extending_buys_seconds(world: World, state: str) -> None:
    job = world.post()
    if state != "queued":
        world.claim(job, begin=state == "running")
    before = world.money(world.client)
    world.extend(job, 400)
    assert before - world.money(world.client) == 400 * PRICE
    assert (world.job(job).timeout, world.job(job).deposit) == (1000, 1000 * PRICE)


def test_extending_stays_within_the_markets_limit_and_before_stop_and_end(world: World) -> None:
    job = world.running()
    with refused("InvalidAmount"):
        world.extend(job, 0)
    with refused("TimeoutOutOfRange"):
        world.extend(job, 86_400 - TIMEOUT + 1)
    with refused("Overflow"):
        world.extend(job, 2**32 - 1)
    world.extend(job, 86_400 - TIMEOUT)
    world.stop(job)
    with refused("JobStopped"):
        world.extend(job, 1)
    world.finish(job)
    with refused("WrongJobState"):
        world.extend(job, 1)
    late = world.post()
    world.svm.advance(3600)
    with refused("DeadlinePassed"):
        world.extend(late, 1)


def test_an_extended_job_runs_longer(world: World) -> None:
    world.update_market(heartbeat_timeout=0)
    job = world.running()
    world.svm.advance(500)
    world.extend(job, 300)
    assert world.job(job).deadline == START_TIME + TIMEOUT + 300 + 120
    world.svm.advance(350)
    world.finish(job)
    assert (world.job(job).used, world.job(job).paid) == (850, 850 * PRICE - 8_500)


def test_stopping_ends_billing_at_once(world: World) -> None:
    job = world.running()
    world.svm.advance(40)
    world.stop(job)
    assert world.job(job).deadline == START_TIME + 120
    with refused("JobStopped"):
        world.stop(job)
    world.svm.advance(70)
    world.finish(job)
    assert (world.job(job).used, world.job(job).refunded) == (40, DEPOSIT - 40 * PRICE)


def test_only_running_jobs_can_be_stopped(world: World) -> None:
    job = world.post()
    with refused("WrongJobState"):
        world.stop(job)
    world.claim(job)
    with refused("WrongJobState"):
        world.stop(job)


@pytest.mark.parametrize(("begin", "loss"), [(False, 1), (True, 5)])
def test_releasing_requeues_and_costs_credit(world: World, begin: bool, loss: int) -> None:
    job = world.post()
    world.claim(job, begin=begin)
    world.svm.advance(10)
    world.release(job, Reason.IMAGE_UNAVAILABLE)
    queued = world.job(job)
    assert (queued.state, queued.reason, queued.node) == (
        JobState.QUEUED, Reason.IMAGE_UNAVAILABLE, world.node_key,
    )  # fmt: skip
    assert (queued.queued_slot, queued.claimed_at, queued.started_at) == (START_SLOT + 25, 0, 0)
    assert queued.deadline == START_TIME + 10 + 3600
    assert (world.node.credit, world.node.released, world.node.active_jobs) == (75 - loss, 1, 0)


@pytest.mark.parametrize("reason", [Reason.NONE, Reason.TIMED_OUT, Reason.STOPPED, Reason.ATTEMPTS_SPENT])
def test_a_node_gives_only_a_nodes_reasons(native: World, reason: Reason) -> None:
    job = native.running()
    with refused("InvalidReason"):
        native.release(job, reason)


def test_checkpoints_outlive_a_release(world: World) -> None:
    job, progress = world.running(), Cid.of(b"epoch 1")
    world.checkpoint(job, 5_000, progress)
    world.release(job)
    other = world.another_node()
    world.claim(job, operator=other)
    assert (world.job(job).checkpoint_cid, world.job(job).progress_bps) == (progress, 5_000)


def test_a_job_out_of_attempts_cannot_be_claimed_and_is_refunded_by_anyone(world: World) -> None:
    job = world.post()
    paid_in = world.money(world.client)
    for _ in range(3):
        world.claim(job, operator=(node := world.another_node()))
        world.send(world.program.release_job(node.pubkey(), world.job(job), Reason.NODE_FAULT), node)
    with refused("AttemptsSpent"):
        world.claim(job)
    world.time_out(job)
    assert (world.job(job).state, world.job(job).reason) == (JobState.EXPIRED, Reason.ATTEMPTS_SPENT)
    assert world.money(world.client) == paid_in + DEPOSIT


def test_a_stopped_job_that_is_released_is_nobodys_and_refunded(world: World) -> None:
    job = world.running()
    world.stop(job)
    world.release(job)
    with refused("DeadlinePassed"):
        world.claim(job, operator=world.another_node())
    world.time_out(job)
    assert (world.job(job).state, world.job(job).reason) == (JobState.EXPIRED, Reason.STOPPED)
    assert world.job(job).refunded == DEPOSIT


def test_closing_returns_all_rent_and_leaves_nothing(world: World) -> None:
    start = world.svm.lamports(world.client.pubkey())
    job = world.running()
    world.svm.advance(10)
    world.finish(job)
    escrow = world.job(job).escrow
    world.close(job)
    spent = 0 if world.is_spl else 10 * PRICE
    assert world.svm.lamports(world.client.pubkey()) == start - spent
    assert not world.svm.exists(job)
    assert not (world.is_spl and world.svm.exists(escrow))


@pytest.mark.parametrize("state", ["queued", "claimed", "running"])
def test_unfinished_jobs_are_not_closed_nor_settled(world: World, state: str) -> None:
    job = world.post()
    if state != "queued":
        world.claim(job, begin=state == "running")
    with refused("WrongJobState"):
        world.close(job)
    with refused("WrongJobState"):
        world.settle(job)


def test_terminal_states_stay_as_they_are(world: World) -> None:
    settled, cancelled, expired = world.running(), world.post(), world.post()
    world.finish(settled)
    world.cancel(cancelled)
    world.svm.advance(3600)
    world.time_out(expired)
    for job in (settled, cancelled, expired):
        before = world.svm.get(job).data
        tries: list[Any] = [
            lambda job=job: world.claim(job),
            lambda job=job: world.begin(job),
            lambda job=job: world.cancel(job),
            lambda job=job: world.stop(job),
            lambda job=job: world.extend(job, 1),
            lambda job=job: world.time_out(job),
            lambda job=job: world.finish(job),
            lambda job=job: world.release(job),
            lambda job=job: world.checkpoint(job),
            lambda job=job: world.settle(job),
        ]
        for attempt in tries:
            with pytest.raises(Exception, match=r"WrongJobState|WrongNode|NothingOwed"):
                attempt()
        assert world.svm.get(job).data == before


def test_a_closed_job_is_not_revived_by_its_successor(world: World) -> None:
    nonce = 1_000
    first = world.post(nonce=nonce)
    old = world.job(first)
    world.cancel(first)
    world.close(first)
    world.svm.advance(1)
    second = world.post(nonce=nonce)
    assert second == first
    stale = world.program.work_job(world.operator.pubkey(), old, begin=True)
    with refused("JobReplaced"):
        world.send(stale, world.operator)
    world.claim(second)


def test_a_nonce_is_used_once_at_a_time(world: World) -> None:
    job = world.post(nonce=5)
    assert job == world.program.job_address(world.market_key, world.client.pubkey(), 5)
    with refused("AccountExists"):
        world.post(nonce=5)


BAD_JOBS: list[tuple[dict[str, Any], str]] = [
    ({"price": 9}, "PriceTooLow"),
    ({"timeout": 0}, "TimeoutOutOfRange"),
    ({"timeout": 86_401}, "TimeoutOutOfRange"),
    ({"price": 2**64 - 1}, "Overflow"),
    ({"requirements": Requirements(min_trust=3)}, "InvalidRequirements"),
    ({"requirements": Requirements(gpu_vendor=4)}, "InvalidRequirements"),
    ({"requirements": Requirements(framework=64)}, "InvalidRequirements"),
    ({"definition_cid": None}, "InvalidCid"),
]


@pytest.mark.parametrize(("changes", "error"), BAD_JOBS)
def test_bad_jobs_are_refused(world: World, changes: dict[str, Any], error: str) -> None:
    with refused(error):
        world.post(**changes)


def test_a_client_gets_the_terms_that_it_read(world: World) -> None:
    seen = world.market
    world.update_market(fee_bps=10_000)
    build = world.program.create_job
    stale = build(
        world.client.pubkey(), seen, nonce=1, definition_cid=CID, price=PRICE, timeout=60, requirements=Requirements()
    )
    with refused("RevisionChanged"):
        world.send(stale, world.client)


def test_a_result_is_required(world: World) -> None:
    job = world.running()
    built = world.program.finish_job(
        world.operator.pubkey(), world.job(job), result_cid=RESULT, result_hash=DIGEST, exit_status=0
    )
    data = bytearray(built.data)
    data[8:44] = bytes(36)
    with refused("InvalidCid"):
        world.send(Instruction(built.program_id, bytes(data), built.accounts), world.operator)


def test_payees_that_are_due_must_be_given(world: World) -> None:
    job = world.running()
    everyone = world.program.payees(world.job(job))
    for absent in ("payout_to", "client_to", "fee_to"):
        with refused("MissingAccount"):
            world.finish(job, payees=dataclasses.replace(everyone, **{absent: None}))
    world.finish(job)


def test_refunds_need_the_client_only(world: World) -> None:
    job = world.post()
    everyone = world.program.payees(world.job(job))
    world.cancel(job, payees=Payees(client_to=everyone.client_to))
