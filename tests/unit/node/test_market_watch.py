"""A market that is paused, closed or made again: one sentence saying what to do, and nothing claimed in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from solders.keypair import Keypair

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.events import MarketOpened, RunPaid, WarningRaised
from hypernode_worker.errors import AccountMissing, ConfigError
from tests.support.solana_flow import open_market
from tests.support.worker import World, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]


async def pause(world: World, paused: bool) -> None:
    market = await world.client.market(world.market.address)
    await world.client.update_market(market, market.terms, paused=paused)
    world.market = await world.client.market(world.market.address)  # its revision is another one


async def close(world: World) -> None:
    await asyncio.sleep(1)  # not in the slot of its creation
    await world.client.close_market(world.market)


async def test_a_market_paused_while_a_worker_runs_is_seen_and_waited_for(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        posted = await world.post()
        await world.until(posted.address, JobState.SETTLED)
        await pause(world, True)
        warned = await node.until_said(WarningRaised)
        assert "paused" in warned.message
        assert node.manager.status()["refuses"] == warned.message
        await pause(world, False)
        await node.until_said(MarketOpened)
        posted = await world.post()
        await world.until(posted.address, JobState.SETTLED)


async def test_a_worker_starts_in_a_paused_market_and_claims_nothing(worlds: Worlds) -> None:
    async with worlds() as world:
        posted = await world.post()
        await pause(world, True)
        async with worker(world) as node:
            assert "paused" in node.said(WarningRaised)[0].message
            await asyncio.sleep(60)
            assert (await world.client.job(posted.address)).attempts == 0
            await pause(world, False)
            await world.until(posted.address, JobState.SETTLED)


async def test_a_market_closed_while_a_worker_runs_is_said(worlds: Worlds) -> None:
    async with worlds() as world, worker(world) as node:
        await close(world)
        assert "MARKET_PUBKEY" in (await node.until_said(WarningRaised)).message


async def test_a_market_that_never_was_is_said(worlds: Worlds) -> None:
    async with worlds() as world:
        world.market = replace(world.market, address=Keypair().pubkey())
        with pytest.raises(AccountMissing, match="no market"):
            async with worker(world):
                pass


@pytest.mark.parametrize("again", [False, True])
async def test_a_node_of_a_closed_market_is_told_to_deregister(worlds: Worlds, again: bool) -> None:
    async with worlds() as world:
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as node:
            await node.stop()
        await close(world)
        if again:
            await open_market(world.client)
        with pytest.raises(ConfigError, match="node deregister"):
            async with worker(world, wallet=wallet):
                pass
        await wallet.deregister_node(world.market.address)
        if again:
            async with worker(world, wallet=wallet):
                pass


@pytest.mark.parametrize("again", [False, True])
async def test_what_a_closed_market_still_owes_is_collected(worlds: Worlds, again: bool) -> None:
    async with worlds(review_period=300) as world:
        wallet = world.chain.client()
        async with worker(world, wallet=wallet) as node:
            posted = await world.post(price=1_000_000)
            await world.until(posted.address, JobState.SUBMITTED)
            await node.stop()
        await close(world)
        if again:
            await open_market(world.client)
        async with worker(world, wallet=wallet) as node:
            refuses = str(node.manager.status()["refuses"])
            assert "1 open jobs" in refuses
            assert "node deregister" in refuses
            assert (await node.until_said(RunPaid)).job == posted.address
