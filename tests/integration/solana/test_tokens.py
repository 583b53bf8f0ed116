"""A market paid in an SPL token, with stake, secrets, review and dispute: on the localnet and on the real validator."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market, MarketTerms
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import AccountMissing
from hypernode_worker.solana.addresses import create_token_account, token_address
from hypernode_worker.solana.client import SolanaClient, open_chain
from hypernode_worker.solana.program import MarketsProgram
from tests.support.chains import RunningChain
from tests.support.solana_flow import RESULT, post, register
from tests.support.transactions import SOL, make_mint, mint_to, signed

HASH = bytes(range(32))
SAVINGS = 1_000_000
STAKE = 5_000
PROGRAM = MarketsProgram()


@dataclass(frozen=True, slots=True)
class Parties:
    """Wallets with tokens, a connection for each, and the mints. The authority is arbiter and has the fee."""

    rpc: AsyncClient
    keys: tuple[Keypair, Keypair, Keypair]
    authority: SolanaClient
    client: SolanaClient
    node: SolanaClient
    money: Pubkey
    stake: Pubkey

    async def send(self, instructions: list[Instruction], *signers: Keypair) -> None:
        await _send(self.rpc, instructions, *signers)

    async def tokens(self, mint: Pubkey) -> tuple[int, int, int]:
        """What authority, client and node have of a mint."""
        found = [await self.client.token_balance(key.pubkey(), mint) for key in self.keys]
        return found[0], found[1], found[2]

    async def market(self, **terms: int) -> Market:
        owner = self.authority.wallet
        chosen = MarketTerms(fee_receiver=owner, arbiter=owner, fee_bps=1_000, **terms)  # pyright: ignore[reportArgumentType]
        address, _ = await self.authority.create_market(1, chosen, payment_mint=self.money, stake_mint=self.stake)
        return await self.authority.market(address)

    async def finished(self, job: Job) -> Job:
        """The node runs a queued job."""
        await self.node.work_job(job, begin=True)
        running = await self.node.job(job.address)
        await self.node.finish_job(running, result_cid=RESULT, result_hash=HASH, exit_status=0)
        return await self.node.job(job.address)


async def _send(rpc: AsyncClient, instructions: list[Instruction], *signers: Keypair) -> None:
    blockhash = (await rpc.get_latest_blockhash(Confirmed)).value.blockhash
    sent = await rpc.send_raw_transaction(bytes(signed(instructions, signers, blockhash)))
    confirmed = await rpc.confirm_transaction(sent.value, Confirmed)
    (status,) = confirmed.value
    assert status is not None
    assert status.err is None


async def _make_money(rpc: AsyncClient, payer: Keypair, owners: tuple[Keypair, ...]) -> Pubkey:
    """A mint of which each owner has the same."""
    mint = Keypair()
    made = make_mint(payer, mint, 6)
    for owner in owners:
        made.append(create_token_account(payer.pubkey(), owner.pubkey(), mint.pubkey()))
        made.append(mint_to(payer, mint.pubkey(), token_address(owner.pubkey(), mint.pubkey()), SAVINGS))
    await _send(rpc, made, payer, mint)
    return mint.pubkey()


@pytest.fixture
async def who(chain: RunningChain) -> AsyncIterator[Parties]:
    keys = (Keypair(), Keypair(), Keypair())
    async with contextlib.AsyncExitStack() as stack:
        rpc = await stack.enter_async_context(AsyncClient(chain.rpc_url, Confirmed))
        clients = [
            await stack.enter_async_context(open_chain(chain.rpc_url, ws_url=chain.ws_url, wallet=key)) for key in keys
        ]
        for client in clients:
            await client.airdrop(2 * SOL)
        money, stake = await _make_money(rpc, keys[0], keys), await _make_money(rpc, keys[0], keys)
        authority, client, node = clients
        yield Parties(rpc, keys, authority, client, node, money, stake)


async def test_a_job_is_paid_in_tokens(who: Parties) -> None:
    market = await who.market()
    await register(who.node, market)
    posted = await post(who.client, market, price=1_000, timeout=60)
    assert await who.tokens(who.money) == (SAVINGS, SAVINGS - 60_000, SAVINGS)
    await who.client.extend_job(posted, 30)
    done = await who.finished(posted)
    assert (done.state, done.deposit, done.owed) == (JobState.SETTLED, 90_000, 0)
    assert done.paid + done.fee == 1_000 * done.used
    assert done.fee == 100 * done.used
    assert await who.tokens(who.money) == (
        SAVINGS + done.fee, SAVINGS - 90_000 + done.refunded, SAVINGS + done.paid,
    )  # fmt: skip
    assert done.paid + done.fee + done.refunded == 90_000

    another = await post(who.client, market, price=1_000, timeout=60)
    await who.client.cancel_job(another)
    for job in (done, await who.client.job(another.address)):
        await who.client.close_job(job)
        with pytest.raises(AccountMissing):
            await who.client.job(job.address)
        assert (await who.rpc.get_account_info(job.escrow, Confirmed)).value is None
    assert sum(await who.tokens(who.money)) == 3 * SAVINGS


async def test_a_dispute_costs_stake_and_the_node_leaves(who: Parties) -> None:
    authority, client, node = who.keys
    market = await who.market(
        review_period=600, bond_bps=1_000, slash_bps=5_000, min_stake=STAKE, lock_per_job=STAKE, unstake_cooldown=0
    )
    await register(who.node, market)
    address = PROGRAM.node_address(market.address, node.pubkey())
    await who.send([PROGRAM.stake(node.pubkey(), await who.node.node(address), who.stake, STAKE)], node)
    assert (await who.node.node(address)).staked == STAKE

    posted = await post(who.client, market, price=1_000, timeout=60)
    await who.node.work_job(posted, begin=False)
    claimed = await who.client.job(posted.address)
    await who.send([PROGRAM.share_secrets(claimed, Cid.of(b"sealed"))], client)
    await who.node.begin_job(claimed)
    running = await who.node.job(posted.address)
    assert running.secrets_cid == Cid.of(b"sealed")
    await who.node.finish_job(running, result_cid=RESULT, result_hash=HASH, exit_status=0)
    submitted = await who.client.job(posted.address)
    assert submitted.state == JobState.SUBMITTED
    await who.send([PROGRAM.dispute_result(submitted, Cid.of(b"why"))], client)
    disputed = await who.client.job(posted.address)
    assert (disputed.state, disputed.bond) == (JobState.DISPUTED, 6_000)
    await who.send([PROGRAM.resolve_dispute(disputed, pay_bps=0, slash_bps=5_000)], authority)
    resolved = await who.client.job(posted.address)
    assert (resolved.state, resolved.paid, resolved.refunded) == (JobState.SETTLED, 0, 66_000)
    assert await who.tokens(who.money) == (SAVINGS, SAVINGS, SAVINGS)

    slashed = await who.node.node(address)
    assert (slashed.staked, slashed.slashed, slashed.disputes_lost) == (STAKE // 2, STAKE // 2, 1)
    await who.send([PROGRAM.request_unstake(slashed, STAKE // 2)], node)
    await who.send([PROGRAM.withdraw_stake(await who.node.node(address), who.stake)], node)
    assert (await who.tokens(who.stake))[2] == SAVINGS - STAKE // 2
    await who.node.deregister_node(market.address)
    assert await who.node.node_of(market.address, node.pubkey()) is None
    supply = await who.rpc.get_token_supply(who.stake, Confirmed)
    assert int(supply.value.amount) == 3 * SAVINGS - STAKE // 2
