"""Transactions from simulation to their end, against the real program, in virtual time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from solders.transaction import Transaction

from hypernode_worker.core.accounts import Job, JobState, Market, NodeState
from hypernode_worker.errors import EndpointDown, InsufficientFunds, ProgramError, TransactionExpired, TransactionFailed
from hypernode_worker.solana.client import SolanaClient
from hypernode_worker.solana.transport import RpcRefused
from tests.support.inprocess import InProcessChain, InProcessTransport
from tests.support.solana_flow import RESULT, open_market, post, register

pytestmark = pytest.mark.looptime


class World:
    """A market, a client and a node whose transport the test bends."""

    def __init__(self, chain: InProcessChain) -> None:
        self.chain = chain
        self.transport: InProcessTransport = chain.transport()
        self.node: SolanaClient = chain.client(transport=self.transport)
        self.client: SolanaClient = chain.client()
        self.market: Market

    async def open(self) -> World:
        self.market = await open_market(self.client)
        await register(self.node, self.market)
        self.transport.calls.clear()
        return self

    async def job(self) -> Job:
        return await post(self.client, self.market)

    def lose_sends(self, count: int) -> list[str]:
        """The next `count` broadcasts are acknowledged and dropped; gives the list of all broadcasts seen."""
        seen: list[str] = []

        def intercept(method: str, params: Sequence[Any]) -> Any:
            if method != "sendTransaction":
                return None
            seen.append(params[0])
            return signature_of(params[0]) if len(seen) <= count else None

        self.transport.intercept = intercept
        return seen


def signature_of(wire: str) -> str:
    return str(Transaction.from_bytes(base64.b64decode(wire)).signatures[0])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with InProcessChain() as chain:
        yield await World(chain).open()


async def test_a_transaction_takes_three_requests(world: World) -> None:
    receipt = await world.node.heartbeat_node(world.market.address, NodeState.ACTIVE)
    assert dict(world.transport.calls) == {"simulateTransaction": 1, "signatureSubscribe": 1, "sendTransaction": 1}
    assert receipt.fee_lamports == 5_000
    assert receipt.compute_units is not None


async def test_a_claim_is_simulated_on_the_newest_state_with_a_confirmed_blockhash(world: World) -> None:
    """So a race that is lost already costs nothing, and no block that is dropped can take the claim with it."""
    asked: dict[str, str] = {}

    def note(method: str, params: Sequence[Any]) -> Any:
        if isinstance(params[-1], dict) and "commitment" in params[-1]:
            asked[method] = params[-1]["commitment"]

    world.transport.intercept = note
    job = await world.job()
    await world.node.work_job(job, begin=True)
    assert asked["simulateTransaction"] == "processed"
    assert asked["getLatestBlockhash"] == "confirmed"
    assert (await world.node.job(job.address)).state == JobState.RUNNING
    await world.node.finish_job(
        await world.node.job(job.address), result_cid=RESULT, result_hash=bytes(32), exit_status=0
    )
    assert asked["simulateTransaction"] == "confirmed"


async def test_a_job_takes_at_most_ten_requests_and_no_scan(world: World) -> None:
    posted = await world.job()
    job = await world.node.job(posted.address)
    await world.node.work_job(job, begin=True)
    job = await world.node.job(posted.address)
    await world.node.finish_job(job, result_cid=RESULT, result_hash=bytes(32), exit_status=0)
    job = await world.node.job(posted.address)
    assert job.state == JobState.SETTLED
    assert job.deposit == job.paid + job.fee + job.refunded
    assert world.transport.calls.total() <= 10
    assert "getProgramAccounts" not in world.transport.calls


async def test_a_refusal_in_simulation_costs_nothing(world: World) -> None:
    job = await world.job()
    await world.node.work_job(job, begin=True)
    before = await world.node.balance(world.node.wallet)
    with pytest.raises(ProgramError) as caught:
        await world.node.work_job(job, begin=True)
    assert caught.value.name == "WrongJobState"
    assert not caught.value.landed
    assert str(job.address) in str(caught.value)
    assert await world.node.balance(world.node.wallet) == before


async def test_a_transaction_that_landed_and_failed_is_a_failure(world: World) -> None:
    """The state changes between simulation and landing, as when another node is first."""
    job = await world.job()
    rival = world.chain.client()
    await register(rival, world.market)

    async def claim_first() -> None:
        await rival.work_job(job, begin=True)

    raced: list[asyncio.Task[None]] = []
    handle = world.transport.request

    async def request(method: str, params: Sequence[Any], **more: Any) -> Any:
        if method == "sendTransaction" and not raced:
            raced.append(asyncio.create_task(claim_first()))
            await raced[0]
        return await handle(method, params, **more)

    world.transport.request = request  # type: ignore[method-assign]
    with pytest.raises(ProgramError) as caught:
        await world.node.work_job(job, begin=True)
    assert caught.value.name == "WrongJobState"
    assert caught.value.landed


@pytest.mark.parametrize("push", [True, False])
async def test_a_lost_broadcast_is_repeated_with_the_same_bytes(world: World, push: bool) -> None:
    job = await world.job()
    world.transport.push_down = not push
    seen = world.lose_sends(3)
    receipt = await world.node.work_job(job, begin=True)
    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert signature_of(seen[0]) == str(receipt.signature)


async def test_without_push_the_end_is_polled(world: World) -> None:
    job = await world.job()
    world.transport.push_down = True
    await world.node.work_job(job, begin=True)
    assert world.transport.calls["getSignatureStatuses"] == 1


async def test_a_push_connection_lost_on_the_way_is_no_trouble(world: World) -> None:
    job = await world.job()
    seen = world.lose_sends(1)
    claim = asyncio.create_task(world.node.work_job(job, begin=True))
    await asyncio.sleep(0.1)
    assert seen
    world.transport.drop()
    await claim


async def test_expired_is_said_only_when_it_can_no_longer_land() -> None:
    async with InProcessChain() as chain:  # made here, so that its slots follow virtual time
        world = await World(chain).open()
        job = await world.job()
        seen = world.lose_sends(10_000)
        height = chain.bank.slot
        with pytest.raises(TransactionExpired, match="try again"):
            await world.node.work_job(job, begin=True)
        assert chain.bank.slot > height + 150
        assert len(seen) < 100
        world.transport.intercept = None
        again = await world.node.work_job(job, begin=True)
        assert str(again.signature) != signature_of(seen[0])


async def test_while_the_first_may_land_no_second_is_made(world: World) -> None:
    """The endpoint takes the transaction and falls silent for long; the caller comes back with the same intent."""
    job = await world.job()
    sent: list[str] = []
    world.transport.push_down = True

    def silent(method: str, params: Sequence[Any]) -> Any:
        if method == "sendTransaction":
            sent.append(params[0])
            world.chain.ticking = False
            world.transport.down = True
        return None

    world.transport.intercept = silent
    with pytest.raises(EndpointDown):
        await world.node.work_job(job, begin=True)
    world.transport.down = False
    world.transport.intercept = None
    world.transport.calls.clear()
    receipt = await world.node.work_job(job, begin=True)
    assert str(receipt.signature) == signature_of(sent[0])
    assert "simulateTransaction" not in world.transport.calls


async def test_the_same_intent_at_the_same_time_is_sent_once_after_the_other(world: World) -> None:
    market = world.market.address
    receipts = await asyncio.gather(*(world.node.heartbeat_node(market, NodeState.ACTIVE) for _ in range(3)))
    # The same instructions with the same blockhash would be the same transaction, which lands once.
    assert len({r.signature for r in receipts}) == 3


async def test_an_endpoint_that_fails_for_a_while_is_waited_for(world: World) -> None:
    job = await world.job()
    world.transport.push_down = True
    failures = iter([True] * 5)

    def flaky(method: str, params: Sequence[Any]) -> Any:
        if method in ("sendTransaction", "getSignatureStatuses") and next(failures, False):
            raise EndpointDown("slow")
        return None

    world.transport.intercept = flaky
    await world.node.work_job(job, begin=True)


async def test_a_refused_broadcast_is_translated(world: World) -> None:
    job = await world.job()

    def refuse(method: str, params: Sequence[Any]) -> Any:
        if method == "sendTransaction":
            raise RpcRefused("no", code=-32002, data={"err": {"InstructionError": [1, {"Custom": 6061}]}})
        return None

    world.transport.intercept = refuse
    with pytest.raises(ProgramError) as caught:
        await world.node.work_job(job, begin=True)
    assert caught.value.name == "NodeFull"


async def test_already_processed_means_look_at_how_it_ended(world: World) -> None:
    job = await world.job()
    transport = world.transport
    transport.push_down = True
    handle = transport.request

    async def request(method: str, params: Sequence[Any], **more: Any) -> Any:
        answer = await handle(method, params, **more)
        if method == "sendTransaction":
            raise RpcRefused("no", code=-32002, data={"err": "AlreadyProcessed"})
        return answer

    transport.request = request  # type: ignore[method-assign]
    await world.node.work_job(job, begin=True)
    assert (await world.client.job(job.address)).node != job.node


async def test_no_sol_for_fees_says_what_to_do(world: World) -> None:
    poor = world.chain.client(lamports=0)
    with pytest.raises(InsufficientFunds, match="airdrop"):
        await register(poor, world.market)


async def test_too_little_for_the_deposit_names_deposit_and_rent(world: World) -> None:
    poor = world.chain.client(lamports=20_000_000)
    with pytest.raises(InsufficientFunds, match=r"deposit 0\.06 SOL, rent 0\.0"):
        await post(poor, world.market, price=1_000_000, timeout=60)


async def test_an_unknown_program_is_a_sentence(world: World) -> None:
    from solders.keypair import Keypair
    from solders.pubkey import Pubkey

    from hypernode_worker.solana.program import MarketsProgram

    wallet = Keypair()
    world.chain.bank.airdrop(wallet.pubkey(), 10**9)
    stranger = SolanaClient(world.chain.transport(), MarketsProgram(Pubkey.new_unique()), wallet)
    with pytest.raises(TransactionFailed):
        await open_market(stranger)


async def test_our_own_writes_are_read_even_from_an_endpoint_that_is_behind(world: World) -> None:
    job = await world.job()
    await world.node.work_job(job, begin=True)
    asked: list[Any] = []

    def old(method: str, params: Sequence[Any]) -> Any:
        if method == "getAccountInfo":
            asked.append(params[1].get("minContextSlot"))
            if len(asked) < 3:
                return {"context": {"slot": asked[0] - 1}, "value": None}
        return None

    world.transport.intercept = old
    assert (await world.node.job(job.address)).state == JobState.RUNNING
    assert len(asked) == 3
    assert asked[0] is not None


async def test_an_endpoint_that_went_back_is_not_believed(world: World) -> None:
    await world.node.time()
    world.chain.bank.advance(1_000, 400)
    await world.node.time()
    world.transport.intercept = lambda method, _: (
        {"context": {"slot": 5}, "value": 77} if method == "getBalance" else None
    )
    reader = world.chain.client(transport=world.transport)
    await reader.time()
    with pytest.raises(EndpointDown, match="went back"):
        await reader.balance(reader.wallet)
