"""The simulation of the claim window: its model by hand, by conservation, and against the program's own function."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from hypernode_worker.core.claim_window import open_slot
from hypernode_worker.core.types import Slot
from tests.simulate.bag import Bag
from tests.simulate.chain_cost import CLAIM, CREATE, FINISH, load
from tests.simulate.lots import openings
from tests.simulate.model import Claims, Scenario, Simulation
from tests.simulate.network import Network
from tests.simulate.scenarios import Case, by_rule, cases, figures, gini, scenario
from tests.support.accounts import make_job

# Every request takes 0.1 s, a push half of that, and nothing is lost.
STEADY = Network(fastest_s=0.1, slowest_s=0.1, lost=0.0, processed_s=0.2, confirmed_s=0.8)


def alone(spread: int, posts: list[float], nodes: int = 1) -> Claims:
    return Simulation(Scenario(nodes, posts, 1.0, spread, STEADY.processed_s, network=STEADY)).run()


def test_one_node_without_a_window_by_hand() -> None:
    claims = alone(0, [1.0])
    # Confirmed, pushed, read, simulated, sent.
    assert claims.waited_s == [pytest.approx(0.8 + 0.05 + 0.1 + 0.1 + 0.05)]
    assert (claims.won, claims.wasted, claims.refused) == ([1], 0, 0)
    assert dict(claims.won_in) == {5: 1}  # executed at 2.1 s


def test_one_node_with_a_window_by_hand() -> None:
    (wait, _), *_ = openings(1, 100, _chance_after_the_clock())
    claims = alone(100, [1.0])
    # Queued in slot 2, open `wait` slots later by a clock that is 0.85 s late; then simulated and sent.
    assert claims.waited_s == [pytest.approx((2 + wait) * 0.4 + 0.85 + 0.15 - 1.0)]


def _chance_after_the_clock() -> random.Random:
    """As the simulation's own once it has drawn its node's clock."""
    chance = random.Random(1)
    STEADY.one_way(chance)
    return chance


def test_equal_nodes_without_a_window_all_claim() -> None:
    claims = alone(0, [1.0], nodes=7)
    assert (sum(claims.won), claims.wasted, claims.refused) == (1, 6, 0)
    assert load(claims, fees_in_one_account=False).account == 7 * CLAIM
    assert load(claims, fees_in_one_account=True).block == 7 * CLAIM + CREATE + FINISH


@pytest.mark.parametrize("spread", [0, 8])
def test_one_node_works_off_a_queue(spread: int) -> None:
    claims = alone(spread, [number / 40 for number in range(200)])
    assert (claims.won, claims.wasted) == ([200], 0)


@settings(max_examples=30, deadline=None)
@given(
    nodes=st.integers(1, 60),
    posts=st.lists(st.floats(0, 30), min_size=1, max_size=40).map(sorted),
    spread=st.sampled_from([0, 1, 8, 24]),
    lost=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 9),
)
def test_every_job_is_claimed_once(nodes: int, posts: list[float], spread: int, lost: float, seed: int) -> None:
    network = replace(STEADY, lost=lost, slowest_s=0.3)
    claims = Simulation(Scenario(nodes, posts, 0.5, spread, 0.2, seed, network)).run()
    landed = Counter[int]()
    for slot in claims.landed.values():
        landed.update(slot)
    assert sum(claims.won) == len(posts) == sum(claims.won_in.values())
    assert landed.total() == len(posts) + claims.wasted
    assert set(landed) == set(range(len(posts)))
    assert all(waited is not None and waited > network.confirmed_s for waited in claims.waited_s)


def test_a_seed_gives_the_same_and_another_does_not() -> None:
    case = Case(200, 16, aim=False, load=(50.0, 10.0))
    first, again, other = (Simulation(scenario(case, seed)).run() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_each_node_draws_one_lot() -> None:
    drawn = list(openings(500, 24, random.Random(3)))
    assert sorted(node for _, node in drawn) == list(range(500))
    # By doublings: inside one, the lowest bit decides.
    assert all(later >= earlier - 1 for (earlier, _), (later, _) in pairwise(drawn))


def test_lots_are_spread_as_the_hash_spreads_them() -> None:
    """The first to open of 50 nodes, by hash and by lot: the same distribution, up to chance."""
    jobs = [make_job(claim_spread_slots=40, queued_slot=Slot(7)) for _ in range(200)]
    nodes = [Pubkey.new_unique() for _ in range(50)]
    hashed = sum(min(open_slot(job, node) for node in nodes) - 7 for job in jobs) / 200
    chance = random.Random(4)
    drawn = sum(min(wait for wait, _ in openings(50, 40, chance)) for _ in range(2000)) / 2000
    assert hashed == pytest.approx(drawn, abs=1.0)


def test_the_rule_adds_two_slots_for_each_doubling() -> None:
    assert [by_rule(idle) for idle in (1, 10, 20, 1_000, 10_000)] == [0, 12, 14, 24, 32]


@pytest.mark.parametrize("idle", [10, 100, 1_000, 10_000])
def test_the_rule_meets_the_aims(idle: int) -> None:
    found = {figure.name.split(": ")[1]: figure for figure in figures(Case(idle, by_rule(idle), aim=True), seed=1)}
    assert found["wasted"].met
    assert found["p99"].met


def test_the_full_load_is_in_the_table() -> None:
    full = [case for case in cases(60) if case.load is not None]
    assert {case.spread > 0 for case in full} == {True, False}
    assert all(case.load == (1_000, 60) and case.idle == 10_000 for case in full)


def test_gini() -> None:
    assert gini([5, 5, 5]) == 0
    assert gini([0, 0, 0, 12]) == 0.75
    assert gini([0, 0]) == 0


def test_a_bag_keeps_its_places() -> None:
    bag = Bag([1, 2, 3])
    bag.discard(1)
    bag.discard(9)
    bag.add(4)
    bag.add(4)
    assert sorted(bag) == [2, 3, 4]
    assert {bag.any(random.Random(seed)) for seed in range(30)} == {2, 3, 4}
