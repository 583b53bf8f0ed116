"""Market, node, job, claim, finish, paid: through JSON-RPC, on the localnet and on the real validator."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import JobState, NodeState, Reason
from hypernode_worker.errors import AccountMissing, InsufficientFunds, ProgramError
from hypernode_worker.solana.client import SolanaClient, open_chain
from tests.support.chains import RunningChain
from tests.support.solana_flow import RESULT, SPECS, open_market, post, register

RESULT_HASH = bytes(range(32))


class Parties:
    """A market's authority, a client and a node, each with a funded wallet and a connection of its own."""

    def __init__(self, clients: list[SolanaClient]) -> None:
        self.authority, self.client, self.node = clients


@contextlib.asynccontextmanager
async def parties(urls: RunningChain) -> AsyncGenerator[Parties]:
    async with contextlib.AsyncExitStack() as stack:
        clients: list[SolanaClient] = []
        for _ in range(3):
            chain = open_chain(urls.rpc_url, ws_url=urls.ws_url, wallet=Keypair(), max_priority_fee_lamports=10_000)
            clients.append(await stack.enter_async_context(chain))
        await asyncio.gather(*(client.airdrop(2 * 10**9) for client in clients))
        yield Parties(clients)


async def test_a_job_is_posted_run_paid_and_closed(chain: RunningChain) -> None:
    async with parties(chain) as who:
        assert (await who.node.checks.identity()).cluster == "local"
        await who.node.checks.program()
        market = await open_market(who.authority)
        await register(who.node, market)
        node = await who.node.node_of(market.address, who.node.wallet)
        assert node is not None
        assert (node.capacity, node.specs) == (4, SPECS)

        async with contextlib.aclosing(who.node.watch_queued(market.address)) as watch:
            seen = asyncio.create_task(anext(watch))
            posted = await post(who.client, market, price=1_000, timeout=60)
            queued = await asyncio.wait_for(seen, 20)
            assert queued.address == posted.address
            assert who.node.health().subscribed

            before = await who.node.balance(who.node.wallet)
            calls = sum(who.node.health().calls.values())
            started = time.monotonic()
            claimed = await who.node.work_job(queued, begin=True)
            running = await who.node.job(posted.address)
            assert (running.state, running.node) == (JobState.RUNNING, node.address)
            finished = await who.node.finish_job(running, result_cid=RESULT, result_hash=RESULT_HASH, exit_status=0)
            took = time.monotonic() - started
            settled = await who.node.job(posted.address)
            assert sum(who.node.health().calls.values()) - calls <= 10
        if not chain.is_real:
            assert took < 1.0

        assert settled.state == JobState.SETTLED
        assert (settled.result_cid, settled.result_hash) == (RESULT, RESULT_HASH)
        assert settled.deposit == settled.paid + settled.fee + settled.refunded == 60_000
        fees = (claimed.fee_lamports or 0) + (finished.fee_lamports or 0)
        assert await who.node.balance(who.node.wallet) == before + settled.paid - fees

        assert [job.address for job in await who.client.jobs(market.address, client=who.client.wallet)] == [
            posted.address
        ]
        assert [job.address for job in await who.client.jobs_of_node(node.address)] == [posted.address]
        rent = await who.client.job_rent(market)
        balance = await who.client.balance(who.client.wallet)
        closed = await who.client.close_job(settled)
        assert await who.client.balance(who.client.wallet) == balance + rent - (closed.fee_lamports or 0)
        with pytest.raises(AccountMissing):
            await who.client.job(posted.address)


async def test_what_the_program_refuses_comes_back_by_its_name(chain: RunningChain) -> None:
    async with parties(chain) as who:
        market = await open_market(who.authority)
        await register(who.node, market, capacity=1)
        first, second = await post(who.client, market), await post(who.client, market)
        await who.node.work_job(first, begin=False)
        with pytest.raises(ProgramError) as full:
            await who.node.work_job(second, begin=False)
        assert full.value.name == "NodeFull"
        with pytest.raises(ProgramError) as early:
            await who.client.timeout_job(second)
        assert early.value.name == "DeadlineNotPassed"

        claimed = await who.node.job(first.address)
        await who.node.begin_job(claimed)
        running = await who.node.job(first.address)
        await who.node.checkpoint_job(running, progress_bps=5_000, cid=RESULT)
        await who.node.release_job(running, Reason.NODE_FAULT)
        released = await who.client.job(first.address)
        assert (released.state, released.checkpoint_cid) == (JobState.QUEUED, RESULT)
        await who.client.cancel_job(released)
        await who.client.cancel_job(await who.client.job(second.address))
        assert {job.state for job in await who.client.jobs(market.address)} == {JobState.CANCELLED}

        await who.node.heartbeat_node(market.address, NodeState.DRAINING)
        third = await post(who.client, market)
        with pytest.raises(ProgramError) as draining:
            await who.node.work_job(third, begin=True)
        assert draining.value.name == "NodeNotActive"
        await who.node.deregister_node(market.address)
        assert await who.node.node_of(market.address, who.node.wallet) is None


async def test_a_wallet_without_money_is_told_so(chain: RunningChain) -> None:
    async with parties(chain) as who:
        market = await open_market(who.authority)
        async with open_chain(chain.rpc_url, ws_url=chain.ws_url, wallet=Keypair()) as poor:
            with pytest.raises(InsufficientFunds, match="airdrop"):
                await register(poor, market)
        with pytest.raises(InsufficientFunds, match="deposit 6 SOL"):
            await post(who.client, market, price=10**8, timeout=60)


async def test_a_job_is_followed_by_its_client(chain: RunningChain) -> None:
    async with parties(chain) as who:
        market = await open_market(who.authority)
        await register(who.node, market)
        posted = await post(who.client, market)
        states: list[JobState] = []

        async def follow() -> None:
            async with contextlib.aclosing(who.client.watch_job(posted.address)) as watch:
                async for job in watch:
                    assert job is not None
                    states.append(job.state)
                    if job.state.terminal:
                        return

        following = asyncio.create_task(follow())
        await who.node.work_job(posted, begin=True)
        job = await who.node.job(posted.address)
        await who.node.finish_job(job, result_cid=RESULT, result_hash=RESULT_HASH, exit_status=0)
        await asyncio.wait_for(following, 15)
        assert states[-1] == JobState.SETTLED
        assert states == sorted(set(states))


async def test_the_clock_runs(chain: RunningChain) -> None:
    async with open_chain(chain.rpc_url, ws_url=chain.ws_url) as reader:
        now = await reader.time()
        assert abs(now.unix_time - time.time()) < 60
        assert await reader.balance(Pubkey.new_unique()) == 0
