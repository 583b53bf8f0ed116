"""What no program can forbid, many identities and dealing with oneself, has a price: its bound, shown on the SVM."""

from __future__ import annotations

import math

import pytest
from solders.keypair import Keypair

from hypernode_worker.core.accounts import Reason
from hypernode_worker.core.claim_window import open_slot
from tests.support.accounts import make_job
from tests.support.market_world import World
from tests.support.svm import refused

HOUR, DAY = 3_600, 86_400
FEE_BPS, CREDIT_PAY = 250, 1_000_000
START_CREDIT, HIGH_TRUST = 75, 100
MIN_STAKE = 1_000


# --- self-dealing for credit ---


@pytest.fixture
def market() -> World:
    """Native; a point of credit for a job of at least CREDIT_PAY, of which the market takes 2.5 %."""
    return World(terms={"fee_bps": FEE_BPS, "credit_pay": CREDIT_PAY, "start_credit": START_CREDIT})


def deal(world: World, client: Keypair, operator: Keypair, price: int = CREDIT_PAY) -> int:
    """A job of one second for oneself, from posting to closing; the network's fees."""
    job = world.post(client=client, price=price, timeout=1)
    world.claim(job, begin=True, operator=operator)
    landed = world.finish(job, operator=operator)
    closed = world.close(job, caller=client)
    return landed.fee + closed.fee


def test_credit_by_self_dealing_costs_the_fee_of_each_point_and_an_hour(market: World) -> None:
    node, client = market.another_node(), market.svm.wallet()
    key = market.program.node_address(market.market_key, node.pubkey())
    before = market.money(node) + market.money(client)
    start, fees_before = market.svm.time, market.money(market.fees)
    points = HIGH_TRUST - START_CREDIT
    for point in range(1, points + 1):
        deal(market, client, node)
        deal(market, client, node)  # A second one in the same hour is paid for and gains nothing.
        assert market.svm.node(key).credit == START_CREDIT + point
        market.svm.advance(HOUR)
    fee = CREDIT_PAY * FEE_BPS // 10_000
    cost = before - market.money(node) - market.money(client)
    assert cost == 2 * points * fee == market.money(market.fees) - fees_before
    assert market.svm.time - start - HOUR >= (points - 1) * HOUR


def test_cheaper_jobs_and_own_wallets_give_no_credit(market: World) -> None:
    operator = market.another_node()
    key = market.program.node_address(market.market_key, operator.pubkey())
    deal(market, market.svm.wallet(), operator, price=CREDIT_PAY - 1)
    deal(market, operator, operator)
    market.svm.put(market.payout.pubkey(), b"", market.svm.get(operator.pubkey()).owner, 10**9)
    deal(market, market.payout, market.operator)
    assert (market.svm.node(key).credit, market.node.credit) == (START_CREDIT, START_CREDIT)


def test_one_lost_dispute_costs_a_day_of_self_dealing(market: World) -> None:
    market.update_market(review_period=60, arbiter=market.arbiter.pubkey())
    job = market.running()
    market.finish(job)
    market.dispute(job)
    market.resolve(job, 0)
    assert START_CREDIT - market.node.credit == 25
    market.update_market(review_period=0)
    client, hours = market.svm.wallet(), 0
    while market.node.credit < START_CREDIT:
        deal(market, client, market.operator)
        market.svm.advance(HOUR)
        hours += 1
    assert hours >= 24


# --- many identities ---


@pytest.fixture
def staked() -> World:
    """A node needs 1,000 of the stake mint, and waits a day to have it back."""
    world = World(staking=True, terms={"unstake_cooldown": DAY})
    world.update_market(min_stake=MIN_STAKE)
    return world


def identity(world: World) -> Keypair:
    operator = world.another_node()
    world.svm.tokens(operator.pubkey(), world.stake_mint, MIN_STAKE)
    return operator


def put_in(world: World, operator: Keypair, amount: int) -> None:
    node = world.svm.node(world.program.node_address(world.market_key, operator.pubkey()))
    world.send(world.program.stake(operator.pubkey(), node, world.stake_mint, amount), operator)


def test_each_identity_needs_a_stake_and_rent_of_its_own(staked: World) -> None:
    """k identities lock k stakes and k rents; one short of its stake claims nothing."""
    wallets = [identity(staked) for _ in range(5)]
    for operator in wallets:
        put_in(staked, operator, MIN_STAKE - 1)
        with refused("StakeTooLow"):
            staked.claim(staked.post(), operator=operator)
        put_in(staked, operator, 1)
        staked.claim(staked.post(), operator=operator)
        assert staked.svm.lamports(operator.pubkey()) == 100 * 10**9 - staked.svm.rent(320) - staked.svm.rent(165)
    nodes = [staked.program.node_address(staked.market_key, operator.pubkey()) for operator in wallets]
    vaults = [staked.svm.token_balance(staked.program.stake_address(node)) for node in nodes]
    assert sum(vaults) == 5 * MIN_STAKE


def test_one_stake_serves_one_identity_a_cooldown(staked: World) -> None:
    """What is asked back counts no more, and can't be moved to the next identity before the cooldown is over."""
    first, second = identity(staked), staked.another_node()
    put_in(staked, first, MIN_STAKE)
    node = staked.svm.node(staked.program.node_address(staked.market_key, first.pubkey()))
    staked.send(staked.program.request_unstake(node, MIN_STAKE), first)
    withdraw = staked.program.withdraw_stake(node, staked.stake_mint)
    with refused("StakeTooLow"):
        staked.claim(staked.post(), operator=first)
    staked.svm.advance(DAY - 1)
    with refused("CooldownNotOver"):
        staked.send(withdraw)
    staked.svm.advance(1)
    staked.send(withdraw)
    staked.svm.tokens(second.pubkey(), staked.stake_mint, MIN_STAKE)
    put_in(staked, second, MIN_STAKE)
    with refused("StakeTooLow"):
        staked.claim(staked.post(), operator=first)
    staked.claim(staked.post(), operator=second)


def test_a_bad_name_is_left_behind_for_a_cooldown_without_stake(staked: World) -> None:
    """Registered again a node has the credit of a newcomer, no more; until then it has neither stake nor jobs."""
    operator = identity(staked)
    put_in(staked, operator, MIN_STAKE)
    address = staked.program.node_address(staked.market_key, operator.pubkey())
    job = staked.post()
    staked.claim(job, begin=True, operator=operator)
    staked.send(staked.program.release_job(operator.pubkey(), staked.job(job), Reason.NODE_FAULT), operator)
    leave = staked.program.deregister_node(staked.svm.node(address), stake_mint=staked.stake_mint)
    with refused("NodeHasStake"):
        staked.send(leave, operator)
    began = staked.svm.time
    staked.send(staked.program.request_unstake(staked.svm.node(address), MIN_STAKE), operator)
    staked.svm.advance(DAY)
    staked.send(staked.program.withdraw_stake(staked.svm.node(address), staked.stake_mint))
    staked.send(leave, operator)
    staked.register(operator)
    assert staked.svm.node(address).credit == staked.market.terms.start_credit
    assert staked.svm.time - began >= DAY


@pytest.mark.parametrize(("own", "others"), [(1, 9), (10, 10), (30, 10)])
def test_identities_win_claims_in_proportion_and_no_more(own: int, others: int) -> None:
    """Each identity is one draw in the claim window: k of n win k / n of the jobs, for k stakes."""
    nodes, jobs = [Keypair().pubkey() for _ in range(own + others)], 1_200
    won = 0.0
    for _ in range(jobs):
        job = make_job(claim_spread_slots=24)
        opens = [open_slot(job, node) for node in nodes]
        first = [place for place, slot in enumerate(opens) if slot == min(opens)]
        won += sum(place < own for place in first) / len(first)
    share = own / (own + others)
    assert abs(won / jobs - share) < 5 * math.sqrt(share * (1 - share) / jobs)
