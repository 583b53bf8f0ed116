"""How fast an endpoint is asked, and what a transaction offers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernode_worker.solana.fees import MAX_UNITS, PriorityFee, fee_lamports, unit_limit
from hypernode_worker.solana.pace import Pace
from hypernode_worker.solana.rpc import Rpc
from tests.support.inprocess import InProcessChain


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    pace = Pace(10.0, burst=5)
    assert [pace.wait_s(100.0) for _ in range(5)] == [0.0] * 5
    assert pace.wait_s(100.0) == pytest.approx(0.1)
    assert pace.wait_s(100.0) == pytest.approx(0.2)
    assert pace.wait_s(110.0) == 0.0


def test_a_pause_holds_without_a_rate_too() -> None:
    pace = Pace(None)
    pace.pause_until(12.0)
    pace.pause_until(11.0)
    assert pace.wait_s(10.0) == 2.0
    assert pace.wait_s(12.0) == 0.0


@given(st.lists(st.floats(0.0, 1.0), max_size=60))
def test_never_more_than_burst_and_rate_allow(gaps: list[float]) -> None:
    pace, now, at = Pace(5.0, burst=3), 0.0, list[float]()
    for gap in gaps:
        now += gap
        at.append(now + pace.wait_s(now))
    for i in range(len(at)):
        for j in range(i, len(at)):
            assert j - i + 1 <= 3 + 5.0 * (at[j] - at[i]) + 1.001


def test_the_unit_limit_has_room_and_a_ceiling() -> None:
    assert unit_limit(2_000) == 3_200
    assert unit_limit(None) == MAX_UNITS
    assert unit_limit(1_399_999) == MAX_UNITS


def test_a_fee_is_rounded_up() -> None:
    assert fee_lamports(signatures=1, units=3_000, price=0) == 5_000
    assert fee_lamports(signatures=2, units=3_001, price=1_000) == 10_004


@pytest.mark.looptime
async def test_the_priority_fee_is_capped_and_kept_for_a_while() -> None:
    async with InProcessChain() as chain:
        transport = chain.transport()
        paid = [0, 10, 1_000_000, 90]
        transport.intercept = lambda method, _: (
            [{"slot": i, "prioritizationFee": fee} for i, fee in enumerate(paid)]
            if method == "getRecentPrioritizationFees"
            else None
        )
        fees = PriorityFee(Rpc(transport), cap_lamports=100)
        assert await fees.price(10_000, []) == 10_000
        assert await fees.price(1_000, []) == 100_000
        assert transport.calls["getRecentPrioritizationFees"] == 1


async def test_a_cap_of_zero_asks_nothing() -> None:
    async with InProcessChain() as chain:
        transport = chain.transport()
        assert await PriorityFee(Rpc(transport), cap_lamports=0).price(10_000, []) == 0
        assert not transport.calls


async def test_an_endpoint_without_fee_statistics_stops_nothing() -> None:
    async with InProcessChain() as chain:
        transport = chain.transport()
        transport.down = True
        assert await PriorityFee(Rpc(transport), cap_lamports=100).price(10_000, []) == 0
