"""Jobs that are paid in an SPL token: deposits, pay and refunds through token accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market, MarketTerms
from hypernode_worker.errors import AccountInvalid, InsufficientFunds
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.solana.addresses import TOKEN_PROGRAM, token_address
from hypernode_worker.solana.client import SolanaClient
from tests.support.inprocess import InProcessChain
from tests.support.solana_flow import RESULT, post, register

pytestmark = pytest.mark.looptime


class World:
    """A market that pays in a mint of its own, with a client who has some of it and a node that has none."""

    def __init__(self, chain: InProcessChain) -> None:
        self.chain = chain
        self.mint = Pubkey.new_unique()
        self.client: SolanaClient = chain.client()
        self.node: SolanaClient = chain.client()
        self.market: Market

    async def open(self) -> World:
        # A mint: no authority, supply, 6 decimals, initialized, no freeze authority.
        self._set(self.mint, bytes(36) + (10**9).to_bytes(8, "little") + bytes([6, 1]) + bytes(36))
        self.give(self.client.wallet, 100_000)
        terms = MarketTerms(fee_receiver=self.client.wallet, arbiter=self.client.wallet)
        address, _ = await self.client.create_market(1, terms, payment_mint=self.mint, stake_mint=Pubkey.default())
        self.market = await self.client.market(address)
        await register(self.node, self.market)
        return self

    def give(self, wallet: Pubkey, amount: int) -> None:
        data = bytes(self.mint) + bytes(wallet) + amount.to_bytes(8, "little") + bytes(36) + bytes([1]) + bytes(56)
        self._set(token_address(wallet, self.mint), data)

    def _set(self, address: Pubkey, data: bytes) -> None:
        self.chain.bank.set_account(address, ChainAccount(10_000_000, data, TOKEN_PROGRAM))

    async def running(self) -> Job:
        posted = await post(self.client, self.market, price=1_000, timeout=60)
        await self.node.work_job(posted, begin=True)
        return await self.node.job(posted.address)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with InProcessChain() as chain:
        yield await World(chain).open()


async def test_a_node_without_a_token_account_is_paid_all_the_same(world: World) -> None:
    job = await world.running()
    assert await world.client.token_balance(world.client.wallet, world.mint) == 40_000
    assert await world.node.token_balance(world.node.wallet, world.mint) == 0
    await world.node.finish_job(job, result_cid=RESULT, result_hash=bytes(32), exit_status=0)
    settled = await world.node.job(job.address)
    assert (settled.state, settled.owed) == (JobState.SETTLED, 0)
    assert await world.node.token_balance(world.node.wallet, world.mint) == settled.paid
    assert settled.paid + settled.fee + settled.refunded == 60_000


async def test_a_client_whose_token_account_is_gone_gets_the_refund_in_a_new_one(world: World) -> None:
    job = await post(world.client, world.market, price=1_000, timeout=60)
    world.chain.bank.set_account(token_address(world.client.wallet, world.mint), None)
    await world.client.cancel_job(job)
    assert await world.client.token_balance(world.client.wallet, world.mint) == 60_000


async def test_closing_gives_the_rent_of_both_accounts_back(world: World) -> None:
    before = await world.client.balance(world.client.wallet)
    job = await post(world.client, world.market)
    rent = await world.client.job_rent(world.market)
    assert await world.client.balance(world.client.wallet) == before - rent - 5_000
    await world.client.cancel_job(job)
    await world.client.close_job(await world.client.job(job.address))
    assert await world.client.balance(world.client.wallet) == before - 3 * 5_000


async def test_too_few_tokens_names_the_deposit(world: World) -> None:
    with pytest.raises(InsufficientFunds, match="deposit of 600000 base units"):
        await post(world.client, world.market, price=10_000, timeout=60)


async def test_a_token_account_of_somebody_else_is_not_counted(world: World) -> None:
    stranger = token_address(world.node.wallet, world.mint)
    data = bytes(world.mint) + bytes(world.client.wallet) + bytes(8) + bytes(36) + bytes([1]) + bytes(56)
    world.chain.bank.set_account(stranger, ChainAccount(10_000_000, data, TOKEN_PROGRAM))
    with pytest.raises(AccountInvalid):
        await world.node.token_balance(world.node.wallet, world.mint)
