"""A machine's own clock may be wrong, be set, or stand still: deadlines and pay are taken from the chain's."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from hypernode_worker.cli.status_text import status_text
from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.events import RunStarted, WarningEnded, WarningRaised
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import ChainTime
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.node.clocks import ChainClock, follow_chain_time
from hypernode_worker.node.stopping import StopSignal
from hypernode_worker.providers.mock import MockRun
from tests.support.inprocess import START
from tests.support.worker import LoopClock, World, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]
HOUR = 3600.0


@pytest.mark.parametrize("ahead_s", [HOUR, -HOUR])
async def test_a_clock_that_is_an_hour_off_changes_neither_time_nor_pay(
    worlds: Worlds, tmp_path: Path, ahead_s: float
) -> None:
    async with worlds() as world:
        world.clock.ahead_s = ahead_s
        world.behave = lambda spec: MockRun(seconds=50 if "short" in spec.command[-1] else math.inf)
        async with worker(world) as node:
            short = await world.post(operations=[{"command": "short"}], timeout=60)
            ended = await world.until(short.address, JobState.SETTLED)
            assert ended.exit_status == 0
            assert 50 <= ended.used <= 52
            manifest = await world.manifest(ended, node.chain, tmp_path / "result")
            assert manifest.ended_at is not None
            assert abs(manifest.ended_at - ended.settled_at) < 5
            endless = await world.post(operations=[{"command": "endless"}], timeout=60)
            ended = await world.until(endless.address, JobState.SETTLED)
            assert ended.exit_status == RunOutcome.TIMED_OUT.fixed_exit_status
            assert 60 <= ended.used <= 62


@pytest.mark.parametrize("jump_s", [HOUR, -HOUR, 30 * 24 * HOUR])
async def test_a_clock_that_is_set_while_a_job_runs_is_no_reason_to_end_it(
    worlds: Worlds, tmp_path: Path, jump_s: float
) -> None:
    async with worlds(heartbeat_timeout=30) as world:
        world.behave = lambda _: MockRun(seconds=100)
        async with worker(world) as node:
            posted = await world.post(timeout=120)
            await node.until_said(RunStarted)
            await asyncio.sleep(40)
            world.clock.ahead_s = jump_s
            ended = await world.until(posted.address, JobState.SETTLED)
            assert (ended.exit_status, 100 <= ended.used <= 102) == (0, True)
            manifest = await world.manifest(ended, node.chain, tmp_path / "result")
            assert manifest.started_at is not None
            assert manifest.ended_at is not None
            assert 99 <= manifest.ended_at - manifest.started_at <= 102
            assert node.manager.status()["uptime_s"] < 200  # pyright: ignore[reportOperatorIssue]


async def test_skew_is_shown_and_warned_about_until_it_is_gone(worlds: Worlds) -> None:
    async with worlds() as world:
        world.clock.ahead_s = -HOUR
        async with worker(world, health_interval_s=60) as node:
            await asyncio.sleep(61)
            (said,) = node.said(WarningRaised)
            assert "3600 s behind the chain's" in said.message
            status = node.manager.status()
            assert status["clock_skew_s"] == pytest.approx(-HOUR, abs=2)
            assert "3600 s behind" in status_text(status)
            assert status["refuses"] is None
            world.clock.ahead_s = 1.0
            await asyncio.sleep(70)
            assert [event.message for event in node.said(WarningEnded)] == ["Clock"]
            assert "clock" not in status_text(node.manager.status())


class Chain:
    """A chain that goes on while the machine sleeps, and counts how often it is asked."""

    def __init__(self) -> None:
        self.slept_s = 0.0
        self.asked = 0

    async def time(self) -> ChainTime:
        self.asked += 1
        now = asyncio.get_running_loop().time() + self.slept_s
        return ChainTime(Slot(int(now / 0.4)), UnixTime(int(START + now)))


async def test_after_the_machine_slept_the_chains_time_is_known_within_seconds() -> None:
    chain, own, clock, stop = Chain(), LoopClock(), ChainClock(), StopSignal()
    following = asyncio.create_task(follow_chain_time(chain, clock, own, stop))  # pyright: ignore[reportArgumentType]
    await asyncio.sleep(200)
    assert chain.asked == 1
    chain.slept_s = own.ahead_s = 900.0  # the loop's time stood still meanwhile
    await asyncio.sleep(6)
    assert clock.now() == pytest.approx(START + 206 + 900, abs=1.5)
    assert chain.asked == 2
    assert abs(clock.skew_s) < 2
    stop.now()
    await following


async def test_time_from_an_endpoint_that_lags_behind_is_passed_over() -> None:
    clock = ChainClock()
    clock.see(ChainTime(Slot(1000), UnixTime(START)))
    clock.see(ChainTime(Slot(900), UnixTime(START - 40)))
    assert clock.now() == pytest.approx(START)


async def test_one_answer_from_the_future_does_not_stop_the_clock() -> None:
    clock = ChainClock()
    clock.see(ChainTime(Slot(1_000_000), UnixTime(START + 400_000)))
    clock.see(ChainTime(Slot(1000), UnixTime(START)))
    assert (clock.now(), clock.slot()) == (pytest.approx(START), 1000)
