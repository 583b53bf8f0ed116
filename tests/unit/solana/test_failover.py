"""Which of several endpoints is asked, which is left alone, and who is believed, in virtual time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.accounts import Job, JobState, Market
from hypernode_worker.errors import AccountInvalid, EndpointDown, RateLimited
from hypernode_worker.solana.agreement import MAX_BELIEVED_LAG, MAX_LAG_SLOTS, chosen_chain, majority, odd_slots
from hypernode_worker.solana.client import SolanaClient
from hypernode_worker.solana.failover import FailoverTransport
from hypernode_worker.solana.health import FIRST_REST_S, GONE_AFTER_S, MAX_REST_S, EndpointHealth
from hypernode_worker.solana.transport import EndpointsDisagree, json_object
from tests.support.inprocess import InProcessChain, InProcessTransport, failover
from tests.support.solana_flow import RESULT, open_market, post, register
from tests.unit.solana.test_watch import addresses, seeing

pytestmark = pytest.mark.looptime

SOMEONE = Pubkey.new_unique()


class Town:
    """A chain behind several endpoints, and a node that asks them all."""

    def __init__(self, chain: InProcessChain, count: int) -> None:
        self.chain = chain
        self.endpoints = chain.endpoints(count)
        self.transport: FailoverTransport = failover(self.endpoints)
        self.node: SolanaClient = chain.client(transport=self.transport)
        self.client = chain.client()
        self.market: Market

    async def open(self) -> Job:
        """A market with a job that this node runs."""
        self.market = await open_market(self.client)
        await register(self.node, self.market)
        posted = await post(self.client, self.market)
        await self.node.work_job(posted, begin=True)
        return await self.node.job(posted.address)

    def asked(self, method: str) -> list[int]:
        return [endpoint.calls[method] for endpoint in self.endpoints]

    def rests(self) -> list[bool]:
        return [state.rests_s is None or state.rests_s > 0 for state in self.transport.states()]


def answering(endpoint: InProcessTransport, method: str, answer: Callable[[Any], Any]) -> None:
    """Changes what an endpoint answers to a method."""

    def intercept(asked: str, params: Sequence[Any]) -> Any:
        if asked != method:
            return None
        return answer(endpoint.answer(asked, list(params)))

    endpoint.intercept = intercept


def no_account(answer: Any) -> Any:
    return {**answer, "value": None}


def at_slot(change: Callable[[int], int]) -> Callable[[Any], Any]:
    def moved(answer: Any) -> Any:
        return {**answer, "context": {**answer["context"], "slot": change(answer["context"]["slot"])}}

    return moved


def frozen(endpoint: InProcessTransport, slot: int) -> None:
    """It answers from this slot for ever."""

    def intercept(asked: str, params: Sequence[Any]) -> Any:
        answer: Any = endpoint.answer(asked, list(params))
        if asked == "getSlot":
            return slot
        return at_slot(lambda _: slot)(answer) if "context" in json_object(answer) else answer

    endpoint.intercept = intercept


# --- pure ---


def test_most_endpoints_decide_on_the_chain_and_else_the_operators_order() -> None:
    assert chosen_chain(["odd", "a", "a"]) == "a"
    assert chosen_chain(["first", "second"]) == "first"
    assert chosen_chain([None, "second", "third"]) == "second"
    assert chosen_chain([None, None]) is None


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=9))
def test_never_more_than_half_are_odd(slots: list[int]) -> None:
    odd = odd_slots(dict(enumerate(slots)))
    assert 2 * len(odd) <= len(slots)


@given(st.integers(0, 10**9), st.integers(MAX_LAG_SLOTS + 1, 10**6), st.integers(0, 2), st.booleans())
def test_one_of_three_that_is_far_from_the_others_is_odd(slot: int, far: int, who: int, ahead: bool) -> None:
    slots = {place: slot + 10**6 + place for place in range(3)}
    slots[who] += (far + 2) if ahead else -(far + 2)
    assert odd_slots(slots) == {who}


def test_of_two_the_one_that_is_further_on_counts_unless_it_must_be_lying() -> None:
    assert odd_slots({0: 1000, 1: 1000 + MAX_LAG_SLOTS}) == frozenset()
    assert odd_slots({0: 1000, 1: 1001 + MAX_LAG_SLOTS}) == {0}
    assert odd_slots({0: 1000, 1: 1001 + MAX_BELIEVED_LAG}) == {1}
    assert odd_slots({0: 5}) == frozenset()


def test_a_majority_is_more_than_half() -> None:
    assert majority({0: "a", 1: "b", 2: "b"}) == "b"
    assert majority({4: None}) is None
    with pytest.raises(LookupError):
        majority({0: "a", 1: "b"})
    with pytest.raises(LookupError):
        majority({})


def test_an_endpoint_rests_longer_after_each_failure_and_with_jitter() -> None:
    rests: list[float] = []
    health = EndpointHealth("one")
    now = 0.0
    for _ in range(12):
        health.failed(now, "down")
        rests.append(health.rest_ends() - now)
        now = health.rest_ends()
        assert not health.rests(now)
        health.succeeded(now)
    expected = [min(FIRST_REST_S * 2**n, MAX_REST_S) for n in range(12)]
    assert all(0.9 * want <= got <= 1.1 * want for want, got in zip(expected, rests, strict=True))
    assert len({got / want for want, got in zip(expected, rests, strict=True)}) > 3
    health.succeeded(now + 2 * MAX_REST_S + 100)
    health.failed(now + 1000, "down again, long after")
    assert health.rest_ends() - now - 1000 <= FIRST_REST_S * 1.1


def test_many_requests_that_fail_together_are_one_failure() -> None:
    health = EndpointHealth("one")
    for _ in range(50):
        health.failed(10.0, "down", asked_at=9.0)
    assert health.rest_ends() <= 10.0 + FIRST_REST_S * 1.1


# --- over a chain ---


async def test_an_endpoint_that_fails_is_left_alone_for_a_growing_while() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        await town.node.balance(SOMEONE)
        town.endpoints[0].down = True
        for _ in range(720):
            await town.node.balance(SOMEONE)
            await asyncio.sleep(5)
        assert 10 <= town.asked("getBalance")[0] <= 22, "an hour: 5, 10, 20 ... 300 s apart"
        assert town.node.health().endpoint == "http://endpoint-2"
        town.endpoints[0].down = False
        await asyncio.sleep(MAX_REST_S * 1.1)
        await town.node.balance(SOMEONE)
        assert town.node.health().endpoint == "http://endpoint-1"


async def test_retry_after_is_honoured_and_another_is_asked_meanwhile() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        await town.node.balance(SOMEONE)

        def busy(method: str, params: Sequence[Any]) -> Any:
            raise RateLimited("busy", retry_after_s=100.0)

        town.endpoints[0].intercept = busy
        for _ in range(95):
            await town.node.balance(SOMEONE)
            await asyncio.sleep(1)
        assert town.asked("getBalance") == [2, 95]


@pytest.mark.parametrize("stranger", [0, 1, 2])
async def test_one_of_three_that_serves_another_chain_is_never_used(stranger: int) -> None:
    async with InProcessChain() as chain, InProcessChain() as other:
        endpoints = chain.endpoints(3)
        endpoints[stranger] = other.transport(name="http://stranger")
        node = chain.client(transport=failover(endpoints))
        for _ in range(20):
            await node.balance(node.wallet)
            await asyncio.sleep(60)
        assert await node.balance(node.wallet) > 0
        assert dict(endpoints[stranger].calls) == {"getGenesisHash": 1}
        state = node.health().endpoints[stranger]
        assert state.rests_s is None
        assert "serves another chain" in str(state.trouble)


async def test_of_two_that_serve_different_chains_the_first_named_is_used() -> None:
    async with InProcessChain() as chain, InProcessChain() as other:
        endpoints = [chain.transport(), other.transport(name="http://stranger")]
        node = chain.client(transport=failover(endpoints))
        await node.balance(node.wallet)
        endpoints[0].down = True
        with pytest.raises(EndpointDown):
            await node.balance(node.wallet)
        assert dict(endpoints[1].calls) == {"getGenesisHash": 1}


async def test_an_endpoint_that_was_away_at_the_start_must_serve_the_chain_too() -> None:
    async with InProcessChain() as chain, InProcessChain() as other:
        endpoints = [other.transport(name="http://stranger"), chain.transport()]
        endpoints[0].down = True
        node = chain.client(transport=failover(endpoints))
        await node.balance(node.wallet)
        endpoints[0].down = False
        await asyncio.sleep(400)
        assert await node.balance(node.wallet) > 0
        assert endpoints[0].calls["getBalance"] == 0


async def test_a_frozen_endpoint_is_left_out_also_when_it_is_the_first() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        await town.node.balance(SOMEONE)
        frozen(town.endpoints[0], 5)
        for _ in range(12):
            await asyncio.sleep(15)
            await town.node.balance(SOMEONE)
        assert town.asked("getBalance")[1] >= 8
        assert town.node.health().endpoint == "http://endpoint-2"
        assert town.rests() == [True, False]
        assert "at slot 5, others" in str(town.node.health().endpoints[0].trouble)


async def test_a_halted_chain_makes_no_endpoint_odd() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 3)
        await town.node.balance(SOMEONE)
        chain.ticking = False
        for _ in range(20):
            await asyncio.sleep(30)
            await town.node.balance(SOMEONE)
        assert town.rests() == [False] * 3


async def test_one_that_runs_ahead_of_the_others_is_left_out() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 3)
        answering(town.endpoints[0], "getAccountInfo", at_slot(lambda slot: slot + 10**6))
        await town.node.time()
        assert town.rests() == [True, False, False]


async def test_the_chains_time_is_not_one_endpoints_word() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 3)
        real = await town.client.time()

        def later(answer: Any) -> Any:
            data = bytearray(base64.b64decode(answer["value"]["data"][0]))
            data[32:40] = (real.unix_time + 10**6).to_bytes(8, "little")
            return {**answer, "value": {**answer["value"], "data": [base64.b64encode(data).decode(), "base64"]}}

        answering(town.endpoints[0], "getAccountInfo", later)
        assert (await town.node.time()).unix_time <= real.unix_time + 5


async def test_one_endpoints_word_that_a_job_is_gone_is_not_enough() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        job = await town.open()
        answering(town.endpoints[0], "getAccountInfo", no_account)
        with pytest.raises(EndpointsDisagree, match="contradict each other"):
            await town.node.certain_job(job.address, None)
        assert town.rests() == [True, False], "the other is asked from now on"
        answering(town.endpoints[1], "getAccountInfo", no_account)
        assert await town.node.certain_job(job.address, None) is None


async def test_a_liar_among_three_is_outvoted_and_left_out() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 3)
        job = await town.open()
        answering(town.endpoints[0], "getAccountInfo", no_account)
        assert await town.node.certain_job(job.address, None) == job
        assert town.rests() == [True, False, False]


async def test_bad_news_waits_for_a_second_opinion_but_not_for_ever() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        job = await town.open()
        town.endpoints[1].down = True
        with pytest.raises(EndpointsDisagree, match="no other confirms"):
            await town.node.certain_job(job.address, None)
        await asyncio.sleep(GONE_AFTER_S + 1)
        assert await town.node.certain_job(job.address, None) == job


async def test_a_second_opinion_is_no_older_than_our_own_writes() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        job = await town.open()
        before = chain.bank.slot
        await asyncio.sleep(8)
        await town.node.finish_job(job, result_cid=RESULT, result_hash=bytes(32), exit_status=0)
        frozen(town.endpoints[1], before)
        with pytest.raises(EndpointsDisagree, match="no other confirms"):
            await town.node.certain_job(job.address, None)


async def test_an_account_that_is_none_is_read_from_another_endpoint() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        job = await town.open()

        def wrong_owner(answer: Any) -> Any:
            return {**answer, "value": {**answer["value"], "owner": str(SOMEONE)}}

        answering(town.endpoints[0], "getAccountInfo", wrong_owner)
        assert await town.node.job(job.address) == job
        assert town.rests() == [True, False]
        answering(town.endpoints[1], "getAccountInfo", wrong_owner)
        with pytest.raises(AccountInvalid):
            await town.node.job(job.address)


async def test_a_transaction_goes_to_each_endpoint_in_case_one_swallows_it() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        job = await town.open()

        def swallow(method: str, params: Sequence[Any]) -> Any:
            return str(Signature.default()) if method == "sendTransaction" else None

        town.endpoints[0].intercept = swallow
        await town.node.finish_job(job, result_cid=RESULT, result_hash=bytes(32), exit_status=0)
        assert (await town.client.job(job.address)).state is JobState.SETTLED


async def test_subscriptions_move_to_another_endpoint_and_miss_nothing() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        await town.open()
        async with seeing(town.node.watch_queued(town.market.address)) as seen:
            await asyncio.sleep(30)
            assert [state.listening for state in town.transport.states()] == [True, False]
            town.endpoints[0].push_down = True
            town.endpoints[0].drop()
            missed = await post(town.client, town.market)
            await asyncio.sleep(11)
            assert addresses(seen) == [missed.address]
            told = await post(town.client, town.market)
            assert addresses(seen) == [missed.address, told.address]
            assert [state.listening for state in town.transport.states()] == [False, True]
            assert town.node.health().subscribed


async def test_a_connection_that_tells_nothing_is_noticed_by_its_slots() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        await town.open()
        async with seeing(town.node.watch_queued(town.market.address)) as seen:
            town.endpoints[0].mute = True
            await asyncio.sleep(160)
            assert [state.listening for state in town.transport.states()] == [False, True]
            told = await post(town.client, town.market)
            await asyncio.sleep(0.1)
            assert addresses(seen) == [told.address]


async def test_a_subscription_that_misses_a_job_is_renewed_elsewhere() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        await town.open()
        async with seeing(town.node.watch_queued(town.market.address)) as seen:
            town.endpoints[0].mute = True
            await asyncio.sleep(2)
            missed = await post(town.client, town.market)
            await asyncio.sleep(75)
            assert addresses(seen)[0] == missed.address
            assert [state.listening for state in town.transport.states()] == [False, True]


async def test_silence_on_a_halted_chain_is_nobodys_fault() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 2)
        await town.open()
        async with seeing(town.node.watch_queued(town.market.address)):
            await asyncio.sleep(61)
            chain.ticking = False
            await asyncio.sleep(61)
            before = sum(town.asked("programSubscribe"))
            await asyncio.sleep(600)
            assert sum(town.asked("programSubscribe")) == before


async def test_an_idle_worker_with_three_endpoints_stays_under_four_calls_a_minute() -> None:
    async with InProcessChain() as chain:
        town = Town(chain, 3)
        await town.open()
        async with seeing(town.node.watch_queued(town.market.address)):
            before = sum(endpoint.calls.total() for endpoint in town.endpoints)
            for minute in range(20):  # what node/ asks for beside the watch
                await town.node.balance(SOMEONE)
                if minute % 5 == 0:
                    await town.node.time()
                    await town.node.market(town.market.address)
                await asyncio.sleep(60)
            calls = sum(endpoint.calls.total() for endpoint in town.endpoints) - before
            assert calls / 20 <= 4
