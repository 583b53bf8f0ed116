"""After a kill: what was sent is followed, what was lost is found again on chain and among the containers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.transaction import Transaction

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.events import RunClaimed, RunResumed, RunSettled, RunStarted
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import ContainerSpec
from hypernode_worker.core.runs import RunState
from hypernode_worker.providers.mock import MockRun
from hypernode_worker.solana.client import SolanaClient
from tests.support.inprocess import InProcessTransport
from tests.support.worker import World, crash, worker

pytestmark = pytest.mark.looptime

Worlds = Callable[..., AbstractAsyncContextManager[World]]


class Operator:
    """A wallet of which each start is a process of its own: nothing is remembered but what is on the disk."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = Keypair()
        self.transport = world.chain.transport()
        world.chain.bank.airdrop(self._key.pubkey(), 10**10)

    def start(self) -> SolanaClient:
        self.transport = self._world.chain.transport()
        return self._world.chain.client(key=self._key, transport=self.transport)


def signature_of(wire: str) -> str:
    return str(Transaction.from_bytes(base64.b64decode(wire)).signatures[0])


def hold_back(transport: InProcessTransport, word: bytes, signature: str | None = None) -> list[str]:
    """Transactions with this in their data (or the one of this signature) are acknowledged, and kept from the chain."""
    kept: list[str] = []

    def intercept(method: str, params: Sequence[Any]) -> Any:
        if method != "sendTransaction":
            return None
        transaction = Transaction.from_bytes(base64.b64decode(params[0]))
        if not any(bytes(each.data).startswith(word) for each in transaction.message.instructions):
            return None
        if signature not in (None, signature_of(params[0])):
            return None
        kept.append(params[0])
        return signature_of(params[0])

    transport.intercept = intercept
    return kept


def word_of(world: World, instruction: str) -> bytes:
    from hypernode_worker.solana.codec import codec

    return codec().idl.instructions[instruction].discriminator


async def land(world: World, wire: str) -> None:
    options = {"encoding": "base64", "skipPreflight": True}
    await world.chain.transport().request("sendTransaction", [wire, options])


async def until_kept(kept: list[str]) -> None:
    async with asyncio.timeout(60):
        while not kept:  # noqa: ASYNC110 -- the endpoint's side of the wire
            await asyncio.sleep(0.1)


async def test_a_claim_that_lands_after_the_restart_is_taken_up(worlds: Worlds) -> None:
    async with worlds() as world:
        operator = Operator(world)
        async with worker(world, wallet=operator.start()) as first:
            kept = hold_back(operator.transport, word_of(world, "work_job"))
            job = await world.post()
            await until_kept(kept)
            await crash(first)
        wallet = operator.start()
        again = hold_back(operator.transport, word_of(world, "work_job"))
        async with worker(world, wallet=wallet) as second:
            (run,) = second.journal.open_runs()
            assert run.state is RunState.CLAIMING, "while it may land it isn't given up"
            await asyncio.sleep(5)
            assert set(again) <= set(kept), "and nothing else is signed"
            await land(world, kept[0])
            settled = await second.until_said(RunSettled, timeout_s=300)
            assert settled.job == job.address
            assert not second.journal.open_transactions()
            assert (await world.client.job(job.address)).attempts == 1


async def test_a_claim_that_never_lands_is_forgotten_and_may_be_tried_again(worlds: Worlds) -> None:
    async with worlds() as world:
        operator = Operator(world)
        async with worker(world, wallet=operator.start()) as first:
            kept = hold_back(operator.transport, word_of(world, "work_job"))
            job = await world.post()
            await until_kept(kept)
            await crash(first)
        wallet = operator.start()
        again = hold_back(operator.transport, word_of(world, "work_job"), signature_of(kept[0]))
        async with worker(world, wallet=wallet) as second:
            await asyncio.sleep(10)
            assert set(again) == set(kept), "until it can't land any more no other is signed"
            claimed = await second.until_said(RunClaimed, timeout_s=400)
            assert claimed.job == job.address
            await world.until(job.address, JobState.SETTLED)
            assert (await world.client.job(job.address)).attempts == 1


async def test_a_result_is_not_posted_twice(worlds: Worlds) -> None:
    """finish_job was sent and the worker killed: the next one follows that transaction and signs no other."""
    async with worlds() as world:
        operator = Operator(world)
        async with worker(world, wallet=operator.start()) as first:
            kept = hold_back(operator.transport, word_of(world, "finish_job"))
            job = await world.post()
            await until_kept(kept)
            await crash(first)
        wallet = operator.start()
        again = hold_back(operator.transport, word_of(world, "finish_job"))
        async with worker(world, wallet=wallet) as second:
            await until_kept(again)
            assert set(again) == set(kept)
            await land(world, kept[0])
            await second.until_said(RunSettled)
            seen = await world.client.job(job.address)
            assert seen.state is JobState.SETTLED
            assert set(again) == set(kept)


async def test_without_its_journal_a_run_is_found_by_its_containers(worlds: Worlds, tmp_path: Path) -> None:
    starts: list[int] = []

    def behave(spec: ContainerSpec) -> MockRun:
        starts.append(spec.operation)
        (spec.workspace / "output" / f"{spec.operation}").write_text("made")
        return MockRun(seconds=60, exit_code=0)

    async with worlds() as world:
        world.behave = behave
        operator = Operator(world)
        async with worker(world, wallet=operator.start()) as first:
            job = await world.post(operations=[{"command": "a"}, {"command": "b"}])
            await first.until_said(RunStarted)
            await asyncio.sleep(90)
            await crash(first)
        (world.data_dir / "journal.db").write_bytes(b"what a disk gives back" * 1000)
        async with worker(world, wallet=operator.start()) as second:
            assert second.journal.set_aside is not None
            assert second.said(RunResumed)[0].attached
            settled = await world.until(job.address, JobState.SETTLED)
            manifest = await world.manifest(settled, second.chain, tmp_path / "result")
    assert starts == [0, 1], "nothing ran twice"
    assert manifest.outcome is RunOutcome.COMPLETED
    assert [operation.exit_code for operation in manifest.operations] == [0, 0]


async def test_a_restart_needs_no_gateway_to_go_on(worlds: Worlds) -> None:
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=60)
        operator = Operator(world)
        async with worker(world, wallet=operator.start()) as first:
            job = await world.post()
            await first.until_said(RunStarted)
            await crash(first)
        world.store._files.clear()  # pyright: ignore
        async with worker(world, wallet=operator.start()):
            assert (await world.until(job.address, JobState.SETTLED)).exit_status == 0


async def test_an_endpoint_that_is_behind_makes_nothing_forgotten(worlds: Worlds) -> None:
    """After the restart an endpoint shows the chain as it was before the claim."""
    async with worlds() as world:
        world.behave = lambda _: MockRun(seconds=120)
        operator = Operator(world)
        async with worker(world, wallet=operator.start()) as first:
            await asyncio.sleep(5)
            job = await world.post()
            await first.until_said(RunStarted)
            await crash(first)
        wallet = operator.start()
        behind = [True]

        def intercept(method: str, params: Sequence[Any]) -> Any:
            if behind[0] and method == "getProgramAccounts":
                return {"context": {"slot": 1}, "value": []}
            return None

        operator.transport.intercept = intercept
        async with worker(world, wallet=wallet) as second:
            (run,) = second.journal.open_runs()
            assert run.state is RunState.RUNNING
            assert world.engine.held, "its container runs on"
            behind[0] = False
            assert (await world.until(job.address, JobState.SETTLED)).exit_status == 0
