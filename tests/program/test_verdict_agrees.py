"""What core.settlement says of an arbiter's decision is what the program pays, to the last base unit."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Requirements, Trust
from hypernode_worker.core.settlement import verdict
from hypernode_worker.errors import ConfigError
from tests.support.market_world import World
from tests.support.svm import Refused

BPS = st.sampled_from([0, 1, 33, 4_999, 5_000, 9_999, 10_000])


@pytest.fixture(scope="module")
def world() -> World:
    made = World(staking=True, terms={"review_period": 100, "arbiter": Pubkey.new_unique()})
    made.update_market(arbiter=made.arbiter.pubkey(), lock_per_job=997)
    made.stake(10**9)
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pay_bps=BPS,
    slash_bps=st.sampled_from([0, 1, 3_000, 3_001]),
    fee_bps=BPS,
    bond_bps=BPS,
    price=st.integers(10, 10_000),
    used=st.integers(1, 600),
)
def test_the_money_goes_where_it_was_said(
    world: World, pay_bps: int, slash_bps: int, fee_bps: int, bond_bps: int, price: int, used: int
) -> None:
    world.update_market(fee_bps=fee_bps, bond_bps=bond_bps, slash_bps=3_000, arbiter=world.arbiter.pubkey())
    job = world.running(price=price, timeout=600, requirements=Requirements(min_trust=Trust.LOW))
    world.svm.advance(used)
    world.finish(job)
    world.dispute(job)
    disputed, staked = world.job(job), world.node.staked
    try:
        said = verdict(disputed, pay_bps=pay_bps, slash_bps=slash_bps)
    except ConfigError:
        with pytest.raises(Refused):
            world.resolve(job, pay_bps, slash_bps)
        world.svm.advance(disputed.resolve_timeout)
        world.settle(job)
        world.close(job)
        return
    world.resolve(job, pay_bps, slash_bps)
    done = world.job(job)
    assert (done.paid, done.fee, done.refunded) == (said.node, said.fee, said.client)
    assert staked - world.node.staked == said.slashed
    assert said.node + said.fee + said.client == disputed.deposit + disputed.bond
    world.close(job)
