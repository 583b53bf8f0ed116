"""Taking what is due: one that fails stops no other, and what somebody else did first is no failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.client.upkeep import AT_ONCE, Outcome, Upkept, keep_up
from hypernode_worker.core.accounts import Job, JobState, Node
from hypernode_worker.core.deadlines import Exit, Standing
from hypernode_worker.core.ports import ChainTime, Receipt
from hypernode_worker.core.ports.market import UpkeepChain
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.errors import AccountMissing, EndpointDown, HypernodeError, ProgramError
from tests.support.accounts import make_job, make_market, make_node

NOW = ChainTime(Slot(10_000), UnixTime(1_000))
DUE = {"deadline": UnixTime(1_000), "deadline_slot": Slot(10_000)}
RECEIPT = Receipt(Signature.default(), Slot(1), 5_000)
MARKET = make_market()


class Jobs:
    """Jobs as the scan saw them; `now` replaces what a later read finds, `errors` are what sending them raises."""

    def __init__(self, *jobs: Job, nodes: Sequence[Node] = ()) -> None:
        self.jobs = {job.address: job for job in jobs}
        self.nodes = {node.address: node for node in nodes}
        self.now: dict[Pubkey, Job | None] = {}
        self.errors: dict[Pubkey, HypernodeError] = {}
        self.sent: list[tuple[str, Pubkey]] = []
        self.sending = self.most_at_once = 0

    async def time(self) -> ChainTime:
        return NOW

    async def standings(self, market: Pubkey | None) -> list[tuple[Pubkey, Standing]]:
        assert market == MARKET.address
        return [(address, Standing.of(job)) for address, job in self.jobs.items()]

    async def unstaking(self, market: Pubkey | None) -> list[Pubkey]:
        return list(self.nodes)

    async def job(self, address: Pubkey) -> Job:
        found = self.now.get(address, self.jobs[address])
        if found is None:
            raise AccountMissing("gone")
        return found

    async def node(self, address: Pubkey) -> Node:
        return self.nodes[address]

    async def timeout_job(self, job: Job) -> Receipt:
        return await self._send("timeout_job", job.address)

    async def settle_job(self, job: Job) -> Receipt:
        return await self._send("settle_job", job.address)

    async def close_job(self, job: Job) -> Receipt:
        return await self._send("close_job", job.address)

    async def withdraw_stake(self, node: Node) -> Receipt:
        return await self._send("withdraw_stake", node.address)

    async def _send(self, verb: str, address: Pubkey) -> Receipt:
        self.sending += 1
        self.most_at_once = max(self.most_at_once, self.sending)
        await asyncio.sleep(0)
        self.sending -= 1
        if address in self.errors:
            raise self.errors[address]
        self.sent.append((verb, address))
        return RECEIPT

    async def keep_up(self, *, act: bool = True) -> dict[Pubkey, Upkept]:
        chain = cast("UpkeepChain", self)
        return {each.account: each async for each in keep_up(chain, MARKET.address, act=act)}


def due(**changes: object) -> Job:
    return replace(make_job(MARKET), **(DUE | changes))  # pyright: ignore[reportArgumentType]


def refused(name: str) -> ProgramError:
    return ProgramError(f"refused with {name}", code=6000, name=name)


async def test_each_state_gets_its_own_exit() -> None:
    node = replace(make_node(MARKET, Pubkey.new_unique()), unstaking=5, unstake_at=UnixTime(1_000))
    waiting = replace(make_node(MARKET, Pubkey.new_unique()), unstaking=5, unstake_at=UnixTime(1_001))
    jobs = [due(), due(state=JobState.RUNNING), due(state=JobState.SUBMITTED), due(state=JobState.DISPUTED)]
    owing = due(state=JobState.SETTLED, owed_node=1, settled_at=UnixTime(1_000))
    later = [due(deadline_slot=Slot(10_001)), due(state=JobState.CANCELLED, settled_at=UnixTime(1_000))]
    chain = Jobs(*jobs, owing, *later, nodes=[node, waiting])
    expected = {
        jobs[0].address: "timeout_job",
        jobs[1].address: "timeout_job",
        jobs[2].address: "settle_job",
        jobs[3].address: "settle_job",
        owing.address: "settle_job",
        node.address: "withdraw_stake",
    }
    dry = await chain.keep_up(act=False)
    assert {each.outcome for each in dry.values()} == {Outcome.DUE}
    assert dry.keys() == expected.keys()
    assert chain.sent == []
    found = await chain.keep_up()
    assert {each.outcome for each in found.values()} == {Outcome.DONE}
    assert all(each.receipt is RECEIPT for each in found.values())
    assert {address: verb for verb, address in chain.sent} == expected
    assert found[owing.address].exit is Exit.DELIVER


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (refused("WrongOwner"), Outcome.FAILED),
        (refused("NothingDelivered"), Outcome.UNDELIVERABLE),
        (EndpointDown("nobody answers"), Outcome.FAILED),
        (AccountMissing("gone"), Outcome.ELSEWHERE),
    ],
)
async def test_one_that_fails_stops_no_other(error: HypernodeError, outcome: Outcome) -> None:
    jobs = [due() for _ in range(5)]
    chain = Jobs(*jobs)
    chain.errors[jobs[2].address] = error
    found = await chain.keep_up()
    assert found[jobs[2].address].outcome is outcome
    assert outcome is Outcome.ELSEWHERE or found[jobs[2].address].message == str(error)
    assert [each.outcome for each in found.values()].count(Outcome.DONE) == 4


async def test_what_changed_since_the_scan_is_left_alone() -> None:
    gone, taken, raced = due(), due(), due()
    chain = Jobs(gone, taken, raced)
    chain.now = {gone.address: None, taken.address: replace(taken, state=JobState.CLAIMED, deadline=UnixTime(2_000))}
    chain.errors[raced.address] = refused("DeadlineNotPassed")

    async def changed_meanwhile(job: Job) -> Receipt:
        chain.now[raced.address] = replace(raced, state=JobState.EXPIRED, settled_at=UnixTime(1_000))
        raise chain.errors[job.address]

    chain.timeout_job = changed_meanwhile
    found = await chain.keep_up()
    assert {each.outcome for each in found.values()} == {Outcome.ELSEWHERE}
    assert chain.sent == []


async def test_many_are_sent_beside_each_other_but_not_all() -> None:
    chain = Jobs(*(due() for _ in range(5 * AT_ONCE)))
    found = await chain.keep_up()
    assert len(found) == 5 * AT_ONCE
    assert 1 < chain.most_at_once <= AT_ONCE
