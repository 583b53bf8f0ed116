"""Who may claim a job, and when."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Requirements, Trust
from hypernode_worker.core.claim_window import open_slot
from hypernode_worker.core.types import Slot
from tests.support.accounts import make_job
from tests.support.market_world import SPECS, World
from tests.support.svm import START_SLOT, refused


@pytest.mark.parametrize(
    "wish",
    [
        {"gpu_vendor": 2},
        {"gpu_count": 3},
        {"vram_mb": 24_001},
        {"framework": 5},
        {"framework": 63},
    ],
)
def test_an_unable_node_is_refused(native: World, wish: dict[str, Any]) -> None:
    with refused("NodeUnable"):
        native.claim(native.post(requirements=Requirements(**wish)))


@pytest.mark.parametrize("wish", [{"gpu_vendor": 1}, {"gpu_count": 2}, {"vram_mb": 24_000}, {"framework": 4}])
def test_an_able_node_is_not(native: World, wish: dict[str, Any]) -> None:
    native.claim(native.post(requirements=Requirements(**wish)))


def test_every_framework_bit_counts(native: World) -> None:
    operator = native.another_node(specs=dataclasses.replace(SPECS, frameworks=1 << 63))
    native.claim(native.post(requirements=Requirements(framework=63)), operator=operator)
    with refused("NodeUnable"):
        native.claim(native.post(), operator=operator)


@pytest.mark.parametrize(
    ("credit", "isolation", "tier"),
    [(0, 1, 0), (49, 1, 0), (50, 1, 1), (99, 1, 1), (100, 1, 2), (200, 1, 2), (200, 0, 0)],
)
def test_trust_comes_from_credit_and_isolation(native: World, credit: int, isolation: int, tier: int) -> None:
    native.svm.change(native.node_key, "Node", credit=credit, isolation=isolation)
    assert native.node.trust == tier
    for least in Trust:
        job = native.post(requirements=Requirements(min_trust=least))
        if tier >= least:
            native.claim(job)
        else:
            with refused("NodeUntrusted"):
                native.claim(job)


def test_capacity_is_the_nodes_and_the_markets(native: World) -> None:
    jobs = [native.post() for _ in range(5)]
    for job in jobs[:4]:
        native.claim(job)
    with refused("NodeFull"):
        native.claim(jobs[4])
    native.begin(jobs[0])
    native.finish(jobs[0])
    native.update_market(max_capacity=3)
    with refused("NodeFull"):
        native.claim(jobs[4])
    native.update_market(max_capacity=4)
    native.claim(jobs[4])


def test_one_node_a_job(native: World) -> None:
    job, other = native.post(), native.another_node()
    both = native.program.work_job(other.pubkey(), native.job(job), begin=False)
    native.claim(job)
    with refused("WrongJobState"):
        native.send(both, other)


def test_a_claim_is_signed_by_the_nodes_authority(native: World) -> None:
    job, thief = native.post(), native.svm.wallet()
    built = native.program.work_job(native.operator.pubkey(), native.job(job), begin=False)
    metas = [type(built.accounts[0])(thief.pubkey(), True, False), *built.accounts[1:]]
    with refused("WrongAuthority"):
        native.send(type(built)(built.program_id, bytes(built.data), metas), thief)


def test_nodes_and_jobs_of_another_market_dont_meet(native: World) -> None:
    job = native.post()
    second = native.make_market()
    operator = native.svm.wallet()
    build = native.program
    native.send(build.register_node(operator.pubkey(), second, SPECS, capacity=1, payout=operator.pubkey()), operator)
    foreign = build.node_address(second, operator.pubkey())
    for market in (native.market_key, second):
        accounts = {"authority": operator.pubkey(), "node": foreign, "job": job, "market": market}
        claim = build.instruction("work_job", accounts, {"begin": False, "queued_slot": START_SLOT})
        with refused("WrongMarket"):
            native.send(claim, operator)


def test_the_last_node_waits_150_slots(native: World) -> None:
    job = native.post()
    native.claim(job)
    native.svm.advance(4)
    native.release(job)
    native.svm.advance(slots=149)
    with refused("WindowNotOpen"):
        native.claim(job)
    native.svm.advance(slots=1)
    native.claim(job)


def opens_in(world: World, job: Pubkey, node: Pubkey) -> int:
    """Slots from the queueing on, as workers compute them."""
    account = world.job(job)
    return open_slot(account, node) - account.queued_slot


@pytest.mark.parametrize("spread", [1, 2, 24, 100, 7200])
def test_each_node_claims_from_its_own_slot_on(spread: int) -> None:
    world = World(terms={"claim_spread_slots": spread})
    opened: list[int] = []
    for _ in range(8):
        job, operator = world.post(), world.another_node()
        opens = opens_in(world, job, world.program.node_address(world.market_key, operator.pubkey()))
        assert 0 <= opens <= spread
        opened.append(opens)
        world.svm.advance(slots=max(0, opens - 1))
        if opens:
            with refused("WindowNotOpen"):
                world.claim(job, operator=operator)
            world.svm.advance(slots=1)
        world.claim(job, operator=operator)
    assert spread < 24 or len(set(opened)) > 1


@pytest.fixture(scope="module")
def posted() -> tuple[World, Pubkey]:
    """A world and a queued job; copies of the job's account are put wherever a test wants them."""
    world = World()
    return world, world.post()


@settings(max_examples=300, deadline=None)
@given(
    name=st.binary(min_size=32, max_size=32).filter(any),
    queued=st.integers(1_000, 2**40),
    spread=st.one_of(st.integers(0, 60), st.integers(0, 65_535)),
    had_it=st.booleans(),
)
def test_workers_know_the_programs_window(
    posted: tuple[World, Pubkey], name: bytes, queued: int, spread: int, had_it: bool
) -> None:
    """Any job, queued at any time: the program refuses the slot before the one that workers compute, and takes that."""
    world, original = posted
    job, account, now = Pubkey(name), world.svm.get(original), world.svm.time
    world.svm.put(job, bytes(account.data), account.owner, account.lamports)
    last = world.node_key if had_it else Pubkey.default()
    world.svm.change(job, "Job", queued_slot=queued, claim_spread_slots=spread, node=last)
    opens = opens_in(world, job, world.node_key)
    assert opens == spread + 150 if had_it else 0 <= opens <= spread
    world.svm.set_clock(now, queued + opens - 1)
    if opens:
        with refused("WindowNotOpen"):
            world.claim(job)
    world.svm.set_clock(now, queued + opens)
    world.claim(job)
    world.svm.change(world.node_key, "Node", active_jobs=0, open_jobs=0)
    world.svm.put(job, b"", Pubkey.default(), 0)


def test_half_the_nodes_open_in_the_last_two_slots() -> None:
    job = make_job(claim_spread_slots=24, queued_slot=Slot(0))
    early = [24 - open_slot(job, Pubkey.new_unique()) for _ in range(2000)]
    assert 0.45 < sum(e < 2 for e in early) / 2000 < 0.55
    assert 0.2 < sum(2 <= e < 4 for e in early) / 2000 < 0.3


def test_credit_is_earned_once_an_hour(native: World) -> None:
    def job_of(seconds: int) -> int:
        job = native.running()
        native.svm.advance(seconds)
        native.finish(job)
        return native.node.credit

    assert [job_of(60), job_of(60), job_of(60)] == [76, 76, 76]
    native.svm.advance(3420)
    assert job_of(60) == 77


def test_credit_needs_pay_and_a_stranger(native: World) -> None:
    native.update_market(credit_pay=10_001)
    job = native.running()
    native.svm.advance(10)
    native.finish(job)
    assert native.node.credit == 75
    native.update_market(credit_pay=1)
    for own in (native.operator, native.payout):
        native.svm.put(own.pubkey(), b"", Pubkey.default(), 10**9)
        job = native.post(client=own, price=10)
        native.claim(job, begin=True)
        native.finish(job)
        assert native.node.credit == 75
    native.finish(native.running())
    assert native.node.credit == 76


def test_credit_stays_between_0_and_200(native: World) -> None:
    native.svm.change(native.node_key, "Node", credit=200)
    native.finish(native.running())
    assert native.node.credit == 200
    native.svm.change(native.node_key, "Node", credit=3)
    job = native.post(requirements=Requirements(min_trust=0))
    native.claim(job, begin=True)
    native.release(job)
    assert native.node.credit == 0


@pytest.mark.parametrize("name", ["completed", "failed", "released", "abandoned"])
def test_counters_saturate_and_block_no_exit(native: World, name: str) -> None:
    full = 2**32 - 1
    native.svm.change(native.node_key, "Node", **{name: full, "compute_seconds": 2**64 - 1, "earned": 2**64 - 1})
    native.finish(native.running())
    native.finish(native.running(), exit_status=1)
    native.release(native.running())
    late = native.running()
    native.svm.advance(1_000)
    native.time_out(late)
    assert getattr(native.node, name) == full
