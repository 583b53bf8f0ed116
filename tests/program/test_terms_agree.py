"""What core.market_terms says of a market's terms is what the program does: neither refuses what the other takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NATIVE_MINT, MarketTerms
from hypernode_worker.core.market_terms import MAX_PERIOD_S, check_market_terms
from hypernode_worker.errors import ConfigError
from tests.support.market_world import World
from tests.support.svm import Refused

SOMEONE = Pubkey.new_unique()
SHARES = st.sampled_from([0, 1, 9_999, 10_000, 10_001, 65_535])
PERIODS = st.sampled_from([0, 1, 60, MAX_PERIOD_S, MAX_PERIOD_S + 1, 2**32 - 1])
COUNTS = st.sampled_from([0, 1, 255])
AMOUNTS = st.sampled_from([0, 1, 2**64 - 1])
KEYS = st.sampled_from([NATIVE_MINT, SOMEONE])
TERMS = st.fixed_dictionaries(
    {},
    optional={
        **{name: SHARES for name in ("fee_bps", "slash_bps", "bond_bps")},
        **{
            name: PERIODS
            for name in (
                "max_timeout", "setup_timeout", "queue_timeout", "review_period", "resolve_timeout",
                "heartbeat_timeout", "finish_grace", "unstake_cooldown",
            )
        },
        **{name: COUNTS for name in ("max_attempts", "max_capacity")},
        **{name: AMOUNTS for name in ("min_price", "min_stake", "lock_per_job", "credit_pay")},
        **{name: KEYS for name in ("arbiter", "fee_receiver")},
        "start_credit": st.sampled_from([0, 200, 201, 255]),
        "claim_spread_slots": st.sampled_from([0, 2, 3, 120, 121, 65_535]),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def worlds() -> dict[bool, World]:
    return {staking: World(staking=staking) for staking in (False, True)}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.booleans(), TERMS)
def test_both_take_or_both_refuse(worlds: dict[bool, World], staking: bool, changes: dict[str, Any]) -> None:
    world = worlds[staking]
    terms = replace(MarketTerms(fee_receiver=SOMEONE), **changes)
    try:
        check_market_terms(terms, stake_mint=world.stake_mint)
    except ConfigError:
        with pytest.raises(Refused):
            world.make_market(**{name: getattr(terms, name) for name in terms.__slots__})
    else:
        world.make_market(**{name: getattr(terms, name) for name in terms.__slots__})
