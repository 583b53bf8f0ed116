"""Fees are bounded by a daily budget and a balance floor. Both stop new claims; neither stops what is held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.events import RunSettled, RunStarted, WarningRaised
from hypernode_worker.errors import ConfigError
from hypernode_worker.node.fee_budget import DAY_S, FeeBudget
from hypernode_worker.providers.mock import MockRun
from hypernode_worker.solana.client import SolanaClient
from tests.support.inprocess import START
from tests.support.worker import World, crash, worker

Worlds = Callable[..., AbstractAsyncContextManager[World]]


class Ledger:
    """Fees by the time at which they were paid."""

    def __init__(self, *paid: tuple[float, int]) -> None:
        self.paid = list(paid)

    def since(self, unix_time: float) -> int:
        return sum(lamports for at, lamports in self.paid if at > unix_time)


def poor(world: World, wallet: SolanaClient) -> None:
    """Leaves less than the floor in it."""
    account = world.chain.bank.account(wallet.wallet)
    assert account is not None
    world.chain.bank.set_account(wallet.wallet, replace(account, lamports=980_000))


def test_the_budget_is_spent_when_the_limit_is_reached() -> None:
    ledger = Ledger((1_000.0, 60))
    budget = FeeBudget(ledger.since, lamports_a_day=100)
    assert budget.refuses(2_000) is None
    ledger.paid.append((2_000.0, 40))
    assert "DAILY_FEE_BUDGET" in str(budget.refuses(2_001))
    assert budget.refuses(1_000 + DAY_S) is None, "what is a day old counts no more"


def test_without_a_limit_nobody_counts() -> None:
    def since(_: float) -> int:
        raise AssertionError

    assert FeeBudget(since, lamports_a_day=0).refuses(5) is None


@given(
    st.lists(st.tuples(st.floats(0, 3 * DAY_S), st.integers(0, 1000)), max_size=50),
    st.floats(0, 3 * DAY_S),
    st.integers(1, 5000),
)
def test_it_refuses_exactly_when_the_last_day_cost_the_limit(
    paid: list[tuple[float, int]], now: float, limit: int
) -> None:
    budget = FeeBudget(Ledger(*paid).since, lamports_a_day=limit)
    spent = sum(lamports for at, lamports in paid if at > now - DAY_S)
    assert (budget.refuses(now) is not None) == (spent >= limit)
    assert budget.spent(now) == spent


@pytest.mark.looptime
async def test_a_spent_budget_stops_claims_until_it_is_a_day_old_and_finishes_what_is_held(worlds: Worlds) -> None:
    ledger = Ledger((START - 86_000.0, 100))
    async with worlds(queue_timeout=86_400) as world:
        world.behave = lambda _: MockRun(seconds=100)
        async with worker(world, fees_since=ledger.since, fee_budget_lamports=200) as node:
            held = await world.post()
            await node.until_said(RunStarted)
            ledger.paid.append((START, 100))
            await asyncio.sleep(70)
            assert any("Fees" in warning.message for warning in node.said(WarningRaised))
            waiting = await world.post()
            assert (await world.until(held.address, JobState.SETTLED)).exit_status == 0
            await asyncio.sleep(200)
            assert (await world.client.job(waiting.address)).attempts == 0
            assert "DAILY_FEE_BUDGET" in str(node.manager.status()["refuses"])
            await asyncio.sleep(100)  # the first 100 lamports are a day old now
            await world.until(waiting.address, JobState.SETTLED)


@pytest.mark.looptime
async def test_below_the_floor_nothing_is_claimed_until_the_wallet_is_filled(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=100)
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as node:
            held = await world.post()
            await node.until_said(RunStarted)
            poor(world, wallet)
            await asyncio.sleep(70)
            assert any("Balance" in warning.message for warning in node.said(WarningRaised))
            waiting = await world.post()
            assert (await world.until(held.address, JobState.SETTLED)).exit_status == 0, "what is held is finished"
            poor(world, wallet)
            await asyncio.sleep(200)
            assert (await world.client.job(waiting.address)).attempts == 0
            world.chain.bank.airdrop(wallet.wallet, 10**9)
            await world.until(waiting.address, JobState.SETTLED)
            assert len(node.said(RunSettled)) == 2


@pytest.mark.looptime
async def test_a_poor_wallet_that_holds_a_job_may_start_and_finish_it(worlds: Worlds) -> None:
    async with worlds(heartbeat_timeout=0) as world:
        world.behave = lambda _: MockRun(seconds=100)
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as node:
            held = await world.post()
            await node.until_said(RunStarted)
            await crash(node)
        assert (await world.client.job(held.address)).state is JobState.RUNNING
        poor(world, wallet)
        async with worker(world, wallet=wallet):
            assert (await world.until(held.address, JobState.SETTLED)).exit_status == 0


@pytest.mark.looptime
async def test_a_poor_wallet_that_holds_nothing_is_told_so_at_the_start(worlds: Worlds) -> None:
    async with worlds() as world:
        wallet = world.chain.client(lamports=980_000)
        async with worker(world, wallet=wallet, wait=False) as node:
            with pytest.raises(ConfigError, match="too few for fees"):
                await node.task
