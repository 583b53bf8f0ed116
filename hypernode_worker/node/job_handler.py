"""JobHandler: one run of one job. Observe, let core.lifecycle decide, act; until the chain holds nothing of it.

Long steps are background work (node.run_work), so that a stop, a deadline or a sign of life never waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import assert_never

from solders.signature import Signature

from hypernode_worker.core.accounts import FLAG_PINNED, Job, JobState
from hypernode_worker.core.definition import JobDefinition
from hypernode_worker.core.events import (
    Event,
    RunClaimed,
    RunReleased,
    RunStarted,
    WarningRaised,
)
from hypernode_worker.core.lifecycle import (
    Action,
    Begin,
    Claim,
    Close,
    Execute,
    Finish,
    Interrupt,
    Observation,
    Progress,
    Release,
    SendSignOfLife,
    SetUp,
    Step,
    StopWaiting,
    Store,
    Wait,
    decide,
    is_older,
)
from hypernode_worker.core.outcome import Effect, RunOutcome
from hypernode_worker.core.ports import Receipt
from hypernode_worker.core.runs import RunRecord, RunState
from hypernode_worker.errors import (
    HypernodeError,
    InsufficientFunds,
    PermanentError,
    ProgramError,
    TransientError,
)
from hypernode_worker.node.backoff import Backoff
from hypernode_worker.node.execution import Ended, RunInput
from hypernode_worker.node.offer import Offer
from hypernode_worker.node.run_book import RunBook
from hypernode_worker.node.run_chain import (
    after_begin,
    after_claim,
    after_finish,
    after_release,
    find_claim,
    read_job,
)
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.run_folder import RunFolder
from hypernode_worker.node.run_report import Report, closing_event, pay_may_be_due
from hypernode_worker.node.run_work import RunWork
from hypernode_worker.node.stopping import wait_for_event

log = logging.getLogger(__name__)

WATCH_AFTER_S = 0.6
"""A run that is over sooner needs no subscription of its own; a stop from before it is still seen within two slots."""
LOOK_S = 15.0
"""How long a wait is trusted: the chain's time may be corrected meanwhile."""
ASK_AGAIN_S = 5.0
FINISH_AFTER_DOUBTS = 5
"""So many times it is asked whether our own finish_job has landed, as one endpoint says, before it is sent again."""


class JobHandler:
    """Runs one job: `run` claims it (unless it is held already) and returns when all is settled and cleaned up."""

    def __init__(
        self, context: RunContext, offer: Offer, *, gpus: tuple[str, ...] = (), held: RunRecord | None = None
    ) -> None:
        job = offer.job
        self._context = context
        self._offer = offer
        self._gpus = gpus
        self._wake = asyncio.Event()
        self._folder = RunFolder(context.settings.data_dir, job.address, job.queued_slot)
        record = held or RunRecord(job.address, job.queued_slot, RunState.CLAIMING, job.definition_cid, job.timeout)
        self.book = RunBook(context, record, opened=held is not None)
        self.work = RunWork(context, offer.definition, self._folder, self.book, self._wake.set)
        self.job: Job | None = job
        self._claimed = asyncio.Event()
        if held is not None:
            self._claimed.set()
        self._heartbeat_at: float | None = None
        self._signature: Signature | None = None
        self._trusted: Job | None = job
        self._released_itself = False
        self._doubts = 0
        self._refused = ""
        self._why_given_up = ""
        self._backoff = Backoff()

    async def run(self) -> Report:
        follower = asyncio.create_task(self._follow(), name=f"follow {self._offer.job.address}")
        try:
            with self._context.stop.listening(self._wake.set):
                if not self._claimed.is_set():
                    await self.work.set_up_early()
                while True:
                    # Cleared before looking, so that what changes while it acts is seen next time.
                    self._wake.clear()
                    action = decide(self._observe())
                    if self._must_be_certain(action):
                        action = await self._certain_action()
                    else:
                        self._trusted = self.job
                    if isinstance(action, Close):
                        return await self._close(action.outcome)
                    await self._act(action)
        finally:
            follower.cancel()
            await asyncio.wait([follower])
            await self.work.cancel()

    def resume(self, record: RunRecord, *, attached: bool) -> None:
        """Takes up a run that is held on chain after a restart; `attached`: its container is still there."""
        job = self._offer.job
        if job.state is JobState.RUNNING:
            self.work.resume(record, attached=attached)
            self._start_heartbeats(job)

    @property
    def definition(self) -> JobDefinition:
        return self._offer.definition

    @property
    def given_up(self) -> bool:
        return bool(self._why_given_up)

    def give_up(self, why: str) -> None:
        """Gives the job back: this node can't go on with it, and `why`, a sentence."""
        self._why_given_up = why
        self._wake.set()

    def saw(self, job: Job | None) -> None:
        """The chain has shown the account; what lags behind what is known is passed over."""
        if job is not None and self.job is not None:
            if is_older(job, self.job):
                return
            self._context.chain_clock.see_at_least(max(job.claimed_at, job.started_at, job.stopped_at))
        self.job = job
        self._wake.set()

    def _must_be_certain(self, action: Action) -> bool:
        """Whether it gives a held run up, or cuts it short, because of what the chain is said to be."""
        given_up = isinstance(action, Close) and self._claimed.is_set() and not self._released_itself
        return given_up or action == Interrupt(RunOutcome.STOPPED)

    async def _certain_action(self) -> Action:
        """What most endpoints' view leads to; while they contradict each other, what was known before."""
        news, finished = self.job, self._signature is not None
        try:
            self.job = await self._context.chain.certain_job(self._offer.job.address, news, expected=finished)
        except TransientError as error:
            log.warning("Job %s is held until it is certain: %s", self._offer.job.address, error)
            self._doubts += 1
            if finished and self._doubts % FINISH_AFTER_DOUBTS:
                await asyncio.sleep(1.0)  # our finish_job is on its way to the others
                return await self._certain_action()
            self.job = self._trusted
            asyncio.get_running_loop().call_later(ASK_AGAIN_S, self._recall, news)
        return decide(self._observe())

    def _recall(self, news: Job | None) -> None:
        self.job = news
        self._wake.set()

    def _observe(self) -> Observation:
        job, definition, record = self.job, self._offer.definition, self.book.record
        extended = max(0, job.timeout - record.timeout) if job else 0
        return Observation(
            job=job,
            node=self._context.node.address,
            run=record.run,
            claimed=self._claimed.is_set(),
            now=self._context.chain_clock.now(),
            time_limit=definition.timeout + extended,
            progress=self.work.progress,
            outcome=self.work.ended.outcome if self.work.ended else None,
            heartbeat_at=self._heartbeat_at,
            stop=self._context.stop.request,
            given_up=self.given_up,
            postable=self.work.kept is not None and job is not None and not job.flags & FLAG_PINNED,
        )

    async def _act(self, action: Step) -> None:
        job = self.job
        assert job is not None  # decide closes a run without an account
        match action:
            case Claim(begin):
                await self._claim(job, begin=begin)
            case SetUp():
                self.work.start_set_up(within_s=job.deadline - self._context.chain_clock.now())
            case Begin():
                await self._send(self._context.chain.begin_job(job), lambda receipt: self._begun(job, receipt))
            case Execute():
                self.work.start_execution(self._run_input(job))
            case Interrupt(outcome):
                await self.work.interrupt(outcome, self._why_given_up)
            case Store():
                self.work.start_store(job)
            case StopWaiting():
                await self.work.stop_waiting()
            case Finish():
                await self._finish(job)
            case Release(reason):
                await self._delete_folder()  # now: on a full disk the journal needs the room to write the release
                released = self._context.chain.release_job(job, reason)
                await self._send(released, lambda receipt: self._released(job, action, receipt))
            case SendSignOfLife():
                await self._send_sign_of_life(job)
            case Wait(until):
                delay = None if until is None else min(LOOK_S, max(0.01, until - self._context.chain_clock.now()))
                await wait_for_event(self._wake, delay)
            case _:
                assert_never(action)

    async def _claim(self, job: Job, *, begin: bool) -> None:
        try:
            self.book.open()
            receipt = await self._context.chain.work_job(job, begin=begin)
        except TransientError as error:
            log.warning("The claim of %s is uncertain: %s", job.address, error)
            found = await find_claim(self._context, job, may_land=self._context.chain.may_land(job.address))
            if found is None:
                self._not_claimed(str(error))
            else:
                self._claimed.set()
                self.saw(found)
                self._start_heartbeats(found)
                state = RunState.RUNNING if found.state is JobState.RUNNING else RunState.CLAIMED
                self.book.advance(state)
        except HypernodeError as error:
            self._refused = error.name if isinstance(error, ProgramError) else ""
            self._not_claimed(str(error))
        else:
            self._claimed.set()
            self.job = after_claim(job, self._context.node, self._context.chain_clock.now(), begin=begin)
            events: list[Event] = [RunClaimed(job.address, receipt.signature, begin)]
            if begin:
                self._start_heartbeats(self.job)
                events.append(RunStarted(job.address, None))
            self.book.advance(RunState.RUNNING if begin else RunState.CLAIMED, *events)

    def _not_claimed(self, why: str) -> None:
        self.work.ended = Ended(RunOutcome.NOT_CLAIMED, why)

    def _begun(self, job: Job, receipt: Receipt) -> None:
        self.job = after_begin(job, self._context.chain_clock.now())
        self._start_heartbeats(self.job)
        self.book.advance(RunState.RUNNING, RunStarted(job.address, receipt.signature))

    def _released(self, job: Job, action: Release, receipt: Receipt) -> None:
        self._released_itself = True
        self.job = after_release(job, receipt.slot)
        self._context.announce(RunReleased(job.address, receipt.signature, action.reason))

    async def _finish(self, job: Job) -> None:
        stored = self.work.stored
        assert stored is not None  # STORED is set with it

        def finished(receipt: Receipt) -> None:
            self._signature = receipt.signature
            self.job = after_finish(job)

        sent = self._context.chain.finish_job(
            job, result_cid=stored.cid, result_hash=stored.result_hash, exit_status=stored.exit_status
        )
        await self._send(sent, finished)

    async def _send_sign_of_life(self, job: Job) -> None:
        sent = self._context.chain.checkpoint_job(job, progress_bps=job.progress_bps, cid=job.checkpoint_cid)
        await self._send(sent, lambda _: self._start_heartbeats(job))

    def _start_heartbeats(self, job: Job) -> None:
        if job.heartbeat_timeout:
            self._heartbeat_at = self._context.chain_clock.now() + job.heartbeat_timeout / 3

    async def _send(self, sent: Awaitable[Receipt], confirmed: Callable[[Receipt], None]) -> None:
        """The one place where a transaction of a held job is tried again: after a pause, and a look at the chain."""
        try:
            receipt = await sent
        except (TransientError, PermanentError) as error:
            delay = self._backoff.failed(error)
            if isinstance(error, InsufficientFunds):
                self._context.announce(WarningRaised(str(error)))
            log.warning("Job %s: %s (trying again in %.1f s)", self._offer.job.address, error, delay)
            await asyncio.sleep(delay)
            self.saw(await read_job(self._context, self._offer.job.address))
        else:
            self._backoff.succeeded()
            confirmed(receipt)

    def _run_input(self, job: Job) -> RunInput:
        definition = self._offer.definition
        return RunInput(
            job=job.address,
            run=self.book.record.run,
            definition=definition,
            image=self.work.image,
            network=job.network and self._context.settings.allow_network and definition.requirements.network,
            gpus=self._gpus,
            ended=self.work.ended_operations,
        )

    async def _follow(self) -> None:
        """Stops, extensions and cancellations by the client arrive here."""
        await self._claimed.wait()
        await asyncio.sleep(WATCH_AFTER_S)
        backoff = Backoff(first_s=5.0, most_s=60.0)
        while True:
            try:
                async for job in self._context.chain.watch_job(self._offer.job.address):
                    self.saw(job)
            except HypernodeError as error:
                log.warning("Job %s can't be watched: %s", self._offer.job.address, error)
            # A watch ends with the account; where an endpoint only claims so, the run goes on and is followed again.
            await asyncio.sleep(backoff.failed())

    async def _close(self, outcome: RunOutcome) -> Report:
        message = self.work.ended.message if self.work.ended else ""
        if outcome in (RunOutcome.LOST, RunOutcome.CANCELLED):
            stands = self.job.state.name.lower() if self.job else "closed"
            message = f"The job is {stands} on chain and no longer this node's. {message}".rstrip()
        due = outcome.effect is Effect.FINISH and pay_may_be_due(self.job, self._context.chain.wallet)
        event = closing_event(self._offer.job.address, outcome, message, self.job, self.work.stored, self._signature)
        state = RunState.DUE if due else RunState.CLOSED
        self.book.advance(state, *([event] if event else []), outcome=outcome, message=message)
        await self._clean_up()
        return Report(outcome, message, due=self.book.record if due else None, refused=self._refused)

    async def _clean_up(self) -> None:
        if self.work.progress is Progress.EXECUTING:
            await self.work.interrupt(RunOutcome.LOST)
        await self.work.cancel()
        await self.work.withdraw()
        await self.work.remove_containers()
        await self._delete_folder()

    async def _delete_folder(self) -> None:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._folder.delete)
