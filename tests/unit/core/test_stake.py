"""What a market asks of stake, and what a node is told to type."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hypernode_worker.core.accounts import Market, MarketTerms, Node
from hypernode_worker.core.stake import counted_stake, free_stake, jobs_at_once, required_stake, stake_missing
from tests.support.accounts import NOBODY, make_market, make_node


def market(**terms: int) -> Market:
    return make_market(terms=replace(MarketTerms(), **terms))  # pyright: ignore[reportArgumentType]


def node(**changes: int) -> Node:
    return replace(make_node(make_market(), NOBODY), capacity=4, **changes)  # pyright: ignore[reportArgumentType]


def test_what_is_asked_back_does_not_count_and_what_is_locked_is_not_free() -> None:
    staked = node(staked=100, unstaking=30, locked=60)
    assert (counted_stake(staked), free_stake(staked)) == (70, 40)
    assert free_stake(node(staked=10, locked=20)) == 0, "a slash may leave less than is locked"
    assert counted_stake(None) == 0


@pytest.mark.parametrize(
    ("terms", "staked", "jobs"),
    [
        ({}, 0, 4),
        ({"min_stake": 50}, 49, 0),
        ({"min_stake": 50}, 50, 4),
        ({"lock_per_job": 20}, 59, 2),
        ({"lock_per_job": 20}, 500, 4),
        ({"min_stake": 50, "lock_per_job": 20}, 49, 0),
    ],
)
def test_a_stake_is_enough_for_so_many_jobs(terms: dict[str, int], staked: int, jobs: int) -> None:
    assert jobs_at_once(node(staked=staked), market(**terms).terms) == jobs
    assert (stake_missing(market(**terms), node(staked=staked)) is None) is (jobs > 0)


def test_the_sentence_names_the_command_with_what_is_missing() -> None:
    asked = market(min_stake=50, lock_per_job=80)
    assert required_stake(asked.terms) == 80
    assert (stake_missing(asked, node(staked=10)) or "").endswith("run 'hypernode-worker stake add 70'.")
    unregistered = stake_missing(asked, None) or ""
    assert "has registered the node" in unregistered
    assert "stake add 80'" in unregistered
