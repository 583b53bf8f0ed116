"""The loop that sees to it that what finished runs have earned arrives.

A result may be under review, in dispute, or paid to a wallet that can't receive; each has a deadline after which anyone
may call settle_job, and nobody else has a reason to. Due runs stand in the journal (RunState.DUE); reads are spaced, so
that many of them don't make an idle worker busy.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import assert_never

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.accounts import Job
from hypernode_worker.core.events import DisputeLost, Event, RunDisputed, RunLost, RunOwed, RunPaid
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.runs import RunRecord, RunState
from hypernode_worker.core.settlement import Arrived, Deliver, Gone, LookAgain, Settle, Step, WaitFor, next_step
from hypernode_worker.errors import AccountMissing, HypernodeError, ProgramError
from hypernode_worker.node.backoff import Backoff
from hypernode_worker.node.run_book import RunBook
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.stopping import wait_for_event

log = logging.getLogger(__name__)

SETTLERS = 4
LOOK_EVERY_S = 600.0
"""A dispute, and its end, is noticed this late at most, unless more than LOOK_EVERY_S / LOOKS_APART_S runs are due."""
LOOKS_APART_S = 60.0
MARGIN_S = 2.0
"""After a deadline: the client may settle at it, and the chain's clock steps."""
UNREACHABLE_MOST_S = 600.0
UNDELIVERED_MOST_S = 6 * 3600.0
DRAIN_S = 5.0


@dataclass(slots=True)
class _Due:
    """One run whose pay isn't here.

    Attributes:
        at: when to look at it next, in the loop's time.
        told: what was said of it already, so that no look repeats it.
    """

    record: RunRecord
    at: float
    signature: Signature | None = None
    told: set[str] = field(default_factory=set[str])
    unreachable: Backoff = field(default_factory=lambda: Backoff(first_s=5.0, most_s=UNREACHABLE_MOST_S))
    undelivered: Backoff = field(default_factory=lambda: Backoff(first_s=60.0, most_s=UNDELIVERED_MOST_S))


class Settling:
    """Runs whose pay is due; `jobs` are theirs."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._waiting: dict[Pubkey, _Due] = {}
        self.jobs: set[Pubkey] = set()
        self._changed = asyncio.Event()
        self._next_look = 0.0

    def __len__(self) -> int:
        return len(self.jobs)

    def add(self, record: RunRecord, job: Job | None = None) -> None:
        """Takes over a run that stands as DUE in the journal; `job` when its account has just been seen."""
        due = _Due(record, asyncio.get_running_loop().time())
        self._waiting[record.job] = due
        self.jobs.add(record.job)
        if job is not None:
            due.at += self._pause(due, job)
        self._changed.set()

    async def settle(self) -> None:
        """Until the worker drains; what is due then stays in the journal for the next start."""
        settlers = [asyncio.create_task(self._settler(), name=f"settler {number}") for number in range(SETTLERS)]
        stopped = asyncio.create_task(self._context.stop.wait(), name="stop of settling")
        try:
            await asyncio.wait([*settlers, stopped], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(settlers, timeout=DRAIN_S)
        finally:
            for task in (*settlers, stopped):
                task.cancel()
            results = await asyncio.gather(*settlers, return_exceptions=True)
        for error in results:
            if isinstance(error, Exception):
                raise error

    async def _settler(self) -> None:
        loop = asyncio.get_running_loop()
        with self._context.stop.listening(self._changed.set):
            while not self._context.stop.draining:
                self._changed.clear()
                due = min(self._waiting.values(), key=lambda due: due.at, default=None)
                if due is None or due.at > loop.time():
                    await wait_for_event(self._changed, None if due is None else due.at - loop.time())
                    continue
                # Out of the others' sight while it is looked at.
                del self._waiting[due.record.job]
                if await self._look(due):
                    self._waiting[due.record.job] = due
                    self._changed.set()
                else:
                    self.jobs.discard(due.record.job)

    async def _look(self, due: _Due) -> bool:
        """Reads the job and does what is next; True while it is to be looked at again."""
        loop, chain = asyncio.get_running_loop(), self._context.chain
        try:
            job = await chain.job(due.record.job)
            step = self._step(due, job)
            if isinstance(step, Settle | Deliver):
                await self._send(due, job)
                job = await chain.job(due.record.job)
        except AccountMissing:
            self._close(due, message="The job was settled by someone else, and its account is closed.")
            return False
        except HypernodeError as error:
            pause = due.unreachable.failed(error)
            log.warning("The pay of %s couldn't be seen to: %s (again in %.0f s)", due.record.job, error, pause)
            due.at = loop.time() + pause
            return True
        if self._concluded(due, job):
            return False
        due.at = loop.time() + self._pause(due, job)
        return True

    async def _send(self, due: _Due, job: Job) -> None:
        """One settle_job. What the program refuses is for the read that follows to explain."""
        try:
            due.signature = (await self._context.chain.settle_job(job)).signature
        except ProgramError as error:
            log.info("The pay of %s: %s", job.address, error)
            if error.name == "DeadlineNotPassed":
                self._context.chain_clock.see(await self._context.chain.time())

    def _step(self, due: _Due, job: Job) -> Step:
        clock, record = self._context.chain_clock, due.record
        return next_step(
            job, node=self._context.node.address, run=record.run, now=clock.now() - MARGIN_S, slot=clock.slot()
        )

    def _concluded(self, due: _Due, job: Job) -> bool:
        """Closes the run when nothing is to be expected any more."""
        step = self._step(due, job)
        match step:
            case Arrived(paid, granted, gross):
                lost = [DisputeLost(job.address, granted, gross)] if step.cut else []
                self._close(due, *lost, RunPaid(job.address, paid, due.signature))
                return True
            case Gone():
                message = f"The job is {job.state.name.lower()} on chain and no longer this node's."
                self._close(due, RunLost(job.address, RunOutcome.LOST, message), message=message)
                return True
            case WaitFor() | Settle() | Deliver() | LookAgain():
                return False
            case _:
                assert_never(step)

    def _pause(self, due: _Due, job: Job) -> float:
        """Seconds until the next look, and what there is to tell."""
        step = self._step(due, job)
        match step:
            case WaitFor(seconds, disputed):
                due.unreachable.succeeded()
                if disputed:
                    self._tell(due, RunDisputed(job.address, seconds))
                return seconds if seconds < LOOK_EVERY_S else min(seconds, self._spaced())
            case Deliver(owed):
                due.unreachable.succeeded()
                self._tell(due, RunOwed(job.address, owed, _how_to_receive(job, owed)))
                return due.undelivered.failed()
            case Settle() | LookAgain():
                return due.unreachable.failed()
            case Arrived() | Gone():
                return 0.0
            case _:
                assert_never(step)

    def _spaced(self) -> float:
        """A place among the looks that only look: never two within LOOKS_APART_S."""
        now = asyncio.get_running_loop().time()
        self._next_look = max(now + LOOK_EVERY_S, self._next_look + LOOKS_APART_S)
        return self._next_look - now

    def _tell(self, due: _Due, event: Event) -> None:
        name = type(event).__name__
        if name not in due.told:
            due.told.add(name)
            self._context.announce(event)

    def _close(self, due: _Due, *events: Event, message: str = "") -> None:
        RunBook(self._context, due.record, opened=True).advance(RunState.CLOSED, *events, message=message)


def _how_to_receive(job: Job, owed: int) -> str:
    if job.is_native:
        return (
            f"{owed} lamports wait for the wallet {job.payout}, which can't receive them: send it enough SOL for rent "
            "exemption (0.001 SOL), then they are delivered by themselves."
        )
    return (
        f"{owed} base units of {job.payment_mint} wait for the wallet {job.payout}, whose token account is missing or "
        "frozen: make it able to receive, then they are delivered by themselves."
    )
