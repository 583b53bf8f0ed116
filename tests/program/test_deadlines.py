"""What happens when nobody acts: every state has an exit after a deadline, in time and in slots."""

from __future__ import annotations

import pytest

from hypernode_worker.core.accounts import JobState, Reason
from hypernode_worker.solana.program import Payees
from tests.support.market_world import World
from tests.support.svm import START_SLOT, START_TIME, refused


def wait(world: World, seconds: int) -> None:
    """Exactly two slots a second, the slowest that deadlines count on."""
    world.svm.advance(seconds, slots=2 * seconds)


def test_nobody_claims(world: World) -> None:
    job = world.post()
    paid_in = world.money(world.client)
    wait(world, 3599)
    with refused("DeadlineNotPassed"):
        world.time_out(job)
    wait(world, 1)
    with refused("DeadlinePassed"):
        world.claim(job)
    world.time_out(job, Payees(client_to=world.program.payees(world.job(job)).client_to))
    assert (world.job(job).state, world.job(job).reason) == (JobState.EXPIRED, Reason.TIMED_OUT)
    assert world.money(world.client) == paid_in + 600_000


def test_a_claimed_job_is_not_begun(world: World) -> None:
    job = world.post()
    world.claim(job)
    wait(world, 599)
    with refused("DeadlineNotPassed"):
        world.time_out(job)
    wait(world, 1)
    with refused("DeadlinePassed"):
        world.begin(job)
    with refused("DeadlinePassed"):
        world.release(job)
    landed = world.time_out(job)
    queued = world.job(job)
    assert (queued.state, queued.reason, queued.attempts) == (JobState.QUEUED, Reason.TIMED_OUT, 1)
    assert (queued.deadline, queued.queued_slot) == (START_TIME + 4200, START_SLOT + 1200)
    assert (world.node.credit, world.node.abandoned, world.node.active_jobs) == (65, 1, 0)
    assert landed.events[0].name == "JobRequeued"


def test_a_running_job_outlasts_its_time_and_grace(world: World) -> None:
    world.update_market(heartbeat_timeout=0)
    job = world.running()
    assert (world.job(job).deadline, world.job(job).deadline_slot) == (START_TIME + 720, START_SLOT + 1440)
    wait(world, 719)
    with refused("DeadlineNotPassed"):
        world.time_out(job)
    wait(world, 1)
    world.time_out(job)
    assert world.job(job).state == JobState.QUEUED


def test_a_silent_node_loses_its_job_and_a_sign_of_life_keeps_it(world: World) -> None:
    job = world.running()
    for _ in range(4):
        wait(world, 119)
        world.checkpoint(job)
    wait(world, 120)
    world.time_out(job)
    assert world.job(job).state == JobState.QUEUED


def test_signs_of_life_do_not_outlast_time_and_grace(world: World) -> None:
    job = world.running()
    for _ in range(7):
        wait(world, 100)
        world.checkpoint(job)
    assert world.job(job).deadline == START_TIME + 720
    world.svm.advance(100)
    world.checkpoint(job)
    assert world.job(job).deadline == START_TIME + 720
    world.time_out(job)


def test_a_stopped_node_has_its_grace_and_then_nothing_is_paid(world: World) -> None:
    world.update_market(heartbeat_timeout=0)
    job = world.running()
    paid_in = world.money(world.client)
    wait(world, 30)
    world.stop(job)
    wait(world, 119)
    with refused("DeadlineNotPassed"):
        world.time_out(job)
    world.checkpoint(job)
    wait(world, 1)
    world.time_out(job)
    assert (world.job(job).state, world.job(job).reason) == (JobState.EXPIRED, Reason.STOPPED)
    assert world.money(world.client) == paid_in + 600_000
    assert world.node.abandoned == 1


def test_the_last_attempt_expires(world: World) -> None:
    world.update_market(max_attempts=1)
    job = world.running()
    wait(world, 120)
    world.time_out(job)
    assert (world.job(job).state, world.job(job).reason) == (JobState.EXPIRED, Reason.ATTEMPTS_SPENT)
    assert world.job(job).refunded == 600_000


def test_a_halt_of_the_chain_costs_nothing(world: World) -> None:
    """Time jumps when a halted chain starts again; its slots don't."""
    queued, claimed, running = world.post(), world.post(), world.running()
    world.claim(claimed)
    world.svm.advance(7 * 3600, slots=1)
    for job in (queued, claimed, running):
        with refused("DeadlineNotPassed"):
            world.time_out(job)
    world.begin(claimed)
    world.checkpoint(running)
    # The sign of life doesn't give up what the halt is owed: 240 slots since the claim, at the least.
    assert world.job(running).deadline_slot >= START_SLOT + 240
    with refused("DeadlineNotPassed"):
        world.time_out(running)
    world.claim(queued)
    world.finish(running)
    assert world.job(running).used == 600


def test_slots_alone_pass_no_deadline(world: World) -> None:
    job = world.post()
    world.svm.advance(3599, slots=1_000_000)
    with refused("DeadlineNotPassed"):
        world.time_out(job)


def test_stopping_after_a_halt_leaves_the_node_its_slots(world: World) -> None:
    job = world.running()
    before = world.job(job)
    world.svm.advance(7 * 3600, slots=1)
    world.stop(job)
    after = world.job(job)
    assert (after.deadline, after.deadline_slot) == (before.deadline, before.deadline_slot)


@pytest.mark.parametrize("begin", [False, True])
def test_a_timed_out_node_cannot_go_on(world: World, begin: bool) -> None:
    job = world.post()
    world.claim(job, begin=begin)
    wait(world, 600)
    world.time_out(job)
    for attempt in (world.begin, world.checkpoint, world.release, world.finish):
        with refused("WrongJobState"):
            attempt(job)
    other = world.another_node()
    world.claim(job, begin=True, operator=other)
    for attempt in (world.checkpoint, world.finish, world.release):
        with refused("WrongNode"):
            attempt(job)
    world.finish(job, operator=other)
