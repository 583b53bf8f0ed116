"""Following a job: each change once, and a job whose time is over is ended by whoever follows it. Virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import cast

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.client.following import follow
from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.ports import ChainTime, ClientChain
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.errors import EndpointDown, PermanentError
from tests.support.accounts import make_job

pytestmark = pytest.mark.looptime


class ChainOf:
    """One job, changed by the test, on a chain whose clock is the loop's."""

    def __init__(self, job: Job) -> None:
        self._changes: asyncio.Queue[Job | None] = asyncio.Queue()
        self._changes.put_nowait(job)
        self.job = job
        self.ended: list[str] = []
        self.refusals: list[Exception] = []

    def becomes(self, **changes: object) -> None:
        self.job = replace(self.job, **changes)  # pyright: ignore[reportArgumentType]
        self._changes.put_nowait(self.job)

    def vanishes(self) -> None:
        self._changes.put_nowait(None)

    async def time(self) -> ChainTime:
        now = int(asyncio.get_running_loop().time())
        return ChainTime(Slot(now * 2), UnixTime(now))

    async def watch_job(self, address: Pubkey) -> AsyncGenerator[Job | None, None]:
        assert address == self.job.address
        while True:
            yield await self._changes.get()

    async def timeout_job(self, job: Job) -> None:
        self._end("timeout_job")

    async def settle_job(self, job: Job) -> None:
        self._end("settle_job")

    def _end(self, how: str) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self.ended.append(how)
        self.becomes(state=JobState.SETTLED if how == "settle_job" else JobState.EXPIRED)


async def states(chain: ChainOf, *, act: bool = True) -> list[JobState]:
    return [job.state async for job in follow(cast("ClientChain", chain), chain.job.address, act=act)]


def queued(deadline: int = 100) -> Job:
    return make_job(deadline=UnixTime(deadline), deadline_slot=Slot(deadline))


async def test_each_change_is_given_once_until_the_end() -> None:
    chain = ChainOf(queued())
    chain.becomes(state=JobState.RUNNING)
    chain.becomes()  # a notification without a change
    chain.becomes(state=JobState.SETTLED)
    assert await states(chain) == [JobState.QUEUED, JobState.RUNNING, JobState.SETTLED]
    assert chain.ended == []


async def test_a_job_that_nobody_takes_is_timed_out_after_its_deadline() -> None:
    chain = ChainOf(queued(deadline=3_600))
    assert await states(chain) == [JobState.QUEUED, JobState.EXPIRED]
    assert chain.ended == ["timeout_job"]
    assert 3_600 <= asyncio.get_running_loop().time() < 3_610


async def test_a_submitted_result_is_settled_after_its_review() -> None:
    chain = ChainOf(replace(queued(), state=JobState.SUBMITTED))
    assert await states(chain) == [JobState.SUBMITTED, JobState.SETTLED]
    assert chain.ended == ["settle_job"]


@pytest.mark.parametrize("refusal", [PermanentError("somebody was faster"), EndpointDown("gone")])
async def test_a_refused_ending_is_tried_again(refusal: Exception) -> None:
    chain = ChainOf(queued(deadline=10))
    chain.refusals.append(refusal)
    assert await states(chain) == [JobState.QUEUED, JobState.EXPIRED]
    assert chain.ended == ["timeout_job"]


async def test_without_act_nothing_is_sent() -> None:
    chain = ChainOf(queued(deadline=10))
    asyncio.get_running_loop().call_later(1_000, lambda: chain.becomes(state=JobState.CANCELLED))
    assert await states(chain, act=False) == [JobState.QUEUED, JobState.CANCELLED]
    assert chain.ended == []


async def test_a_closed_account_ends_it() -> None:
    chain = ChainOf(queued())
    chain.vanishes()
    assert await states(chain) == [JobState.QUEUED]
