"""Queued jobs by push and poll together, over hours of virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market, QueuedJob
from hypernode_worker.errors import AccountInvalid, EndpointDown
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.solana.client import SolanaClient
from hypernode_worker.solana.reader import JOB_BYTES
from tests.support.inprocess import InProcessChain, InProcessTransport
from tests.support.solana_flow import RESULT, open_market, post, register

pytestmark = pytest.mark.looptime


class World:
    def __init__(self, chain: InProcessChain) -> None:
        self.chain = chain
        self.transport: InProcessTransport = chain.transport()
        self.node: SolanaClient = chain.client(transport=self.transport)
        self.client: SolanaClient = chain.client()
        self.market: Market


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with InProcessChain() as chain:
        world = World(chain)
        world.market = await open_market(world.client)
        await register(world.node, world.market)
        world.transport.calls.clear()
        yield world


class Seen:
    """Runs a watch and keeps what it gives."""

    def __init__(self, watch: Any) -> None:
        self.items: list[Any] = []
        self._watch = watch
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with contextlib.aclosing(self._watch):
            async for item in self._watch:
                self.items.append(item)

    @property
    def ended(self) -> bool:
        return self._task.done()

    async def end(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@contextlib.asynccontextmanager
async def seeing(watch: Any) -> AsyncGenerator[Seen]:
    seen = Seen(watch)
    await asyncio.sleep(0.1)
    yield seen
    await seen.end()


def addresses(seen: Seen) -> list[Pubkey]:
    return [job.address for job in seen.items]


async def test_jobs_from_before_and_after_are_seen_at_once(world: World) -> None:
    first = await post(world.client, world.market)
    async with seeing(world.node.watch_queued(world.market.address)) as seen:
        assert addresses(seen) == [first.address]
        second = await post(world.client, world.market)
        assert addresses(seen) == [first.address, second.address]
        assert seen.items[1] == second.as_queued()
        assert isinstance(seen.items[1], QueuedJob)


async def test_an_idle_watch_costs_one_request_a_minute_and_a_look_at_the_slots() -> None:
    async with InProcessChain() as chain:  # made here, so that its slots follow virtual time
        world = World(chain)
        world.market = await open_market(world.client)
        async with seeing(world.node.watch_queued(world.market.address)):
            world.transport.calls.clear()
            await asyncio.sleep(1800)
            slots = world.transport.calls.pop("slotSubscribe")
            assert 13 <= slots <= 17
            assert dict(world.transport.calls) == {"getProgramAccounts": 30}
            assert world.node.health().subscribed


async def test_jobs_of_other_markets_and_states_are_not_seen(world: World) -> None:
    other = await open_market(world.client, 2)
    taken = await post(world.client, world.market)
    await world.node.work_job(taken, begin=True)
    async with seeing(world.node.watch_queued(world.market.address)) as seen:
        await post(world.client, other)
        await asyncio.sleep(200)
        assert seen.items == []


async def test_a_lost_subscription_is_renewed_and_what_was_missed_is_caught_up(world: World) -> None:
    async with seeing(world.node.watch_queued(world.market.address)) as seen:
        await asyncio.sleep(30)
        world.transport.down = True
        world.transport.drop()
        missed = await post(world.client, world.market)
        await asyncio.sleep(5)
        assert not world.node.health().subscribed
        assert world.node.health().trouble is not None
        world.transport.down = False
        await asyncio.sleep(12)
        assert addresses(seen) == [missed.address]
        assert world.node.health().subscribed
        assert world.node.health().trouble is None


async def test_without_subscriptions_the_queue_is_polled_every_interval(world: World) -> None:
    world.transport.push_down = True
    async with seeing(world.node.watch_queued(world.market.address)) as seen:
        job = await post(world.client, world.market)
        world.transport.calls.clear()
        await asyncio.sleep(100)
        assert set(addresses(seen)) == {job.address}
        assert 9 <= world.transport.calls["getProgramAccounts"] <= 12
        assert not world.node.health().subscribed


async def test_a_failed_catch_up_is_tried_again_at_the_poll_interval(world: World) -> None:
    job = await post(world.client, world.market)
    failures = iter([True] * 2)

    def fail(method: str, params: Sequence[Any]) -> Any:
        if method == "getProgramAccounts" and next(failures, False):
            raise EndpointDown("slow")
        return None

    world.transport.intercept = fail
    async with seeing(world.node.watch_queued(world.market.address)) as seen:
        assert seen.items == []
        await asyncio.sleep(21)
        assert addresses(seen) == [job.address]


async def test_a_subscription_that_breaks_at_once_is_not_renewed_in_a_tight_loop(world: World) -> None:
    async with seeing(world.node.watch_queued(world.market.address)):
        world.transport.calls.clear()
        for _ in range(600):
            world.transport.drop()
            await asyncio.sleep(0.1)
        assert world.transport.calls.total() <= 20


async def test_a_lying_endpoint_makes_no_job_and_ends_no_watch(world: World) -> None:
    job = await post(world.client, world.market)

    def lie(method: str, params: Sequence[Any]) -> Any:
        if method != "getProgramAccounts":
            return None
        answer: Any = world.chain.rpc.handle(method, list(params))
        for item in answer["value"]:
            item["account"]["owner"] = str(Pubkey.new_unique())
        return answer

    world.transport.intercept = lie
    async with seeing(world.node.watch_queued(world.market.address)) as seen:
        assert seen.items == []
        assert "belongs to the program" in str(world.node.health().trouble)
        world.transport.intercept = None
        await asyncio.sleep(70)
        assert set(addresses(seen)) == {job.address}


async def test_an_account_of_a_later_version_does_not_hide_the_others(world: World) -> None:
    job = await post(world.client, world.market)
    account = world.chain.bank.account(job.address)
    assert account is not None
    later = bytearray(account.data)
    later[8] = 99
    world.chain.bank.set_account(Pubkey.new_unique(), ChainAccount(account.lamports, bytes(later), account.owner))
    async with seeing(world.node.watch_queued(world.market.address)) as seen:
        assert addresses(seen) == [job.address]


async def test_ten_thousand_jobs_of_other_markets_change_nothing(world: World) -> None:
    job = await post(world.client, world.market)
    account = world.chain.bank.account(job.address)
    assert account is not None
    foreign = bytearray(account.data)
    for number in range(10_000):
        foreign[16:48] = number.to_bytes(32, "little")
        world.chain.bank.set_account(
            Pubkey(number.to_bytes(32, "big")), ChainAccount(account.lamports, bytes(foreign), account.owner)
        )
    async with seeing(world.node.watch_queued(world.market.address)) as seen:
        await asyncio.sleep(130)
        assert set(addresses(seen)) == {job.address}
        assert world.transport.calls["getProgramAccounts"] == 3


async def test_a_job_is_followed_to_its_end(world: World) -> None:
    posted = await post(world.client, world.market)
    async with seeing(world.client.watch_job(posted.address)) as seen:
        await world.node.work_job(posted, begin=True)
        job = await world.node.job(posted.address)
        await world.node.finish_job(job, result_cid=RESULT, result_hash=bytes(32), exit_status=0)
        await asyncio.sleep(0.1)
        settled = await world.client.job(posted.address)
        await world.client.close_job(settled)
        await asyncio.sleep(0.1)
        assert [job and job.state for job in seen.items] == [
            JobState.QUEUED,
            JobState.RUNNING,
            JobState.SETTLED,
            None,
        ]
        assert seen.ended


async def test_a_job_is_followed_by_polling_where_nothing_is_pushed(world: World) -> None:
    posted = await post(world.client, world.market)
    world.transport.push_down = True
    async with seeing(world.node.watch_job(posted.address)) as seen:
        await world.client.cancel_job(posted)
        await asyncio.sleep(25)
        states = [job.state for job in seen.items if isinstance(job, Job)]
        assert states == [JobState.QUEUED, JobState.CANCELLED]


async def test_a_job_that_is_none_is_refused(world: World) -> None:
    watch = world.node.watch_job(world.market.address)
    with pytest.raises(AccountInvalid):
        await anext(watch)


async def test_a_job_that_is_not_there_ends_the_watch(world: World) -> None:
    assert [job async for job in world.node.watch_job(Pubkey.new_unique())] == [None]


def test_the_size_filter_is_the_jobs_size() -> None:
    from hypernode_worker.solana.codec import codec

    assert codec().account_bytes("Job") == JOB_BYTES
