"""Compares what chain, journal, container runtime and this process have of each run, and mends what differs.

At the start, and each minute. What to do is decided by core.reconcile; here it is looked up and done. While nothing
stands open the chain itself is asked every five minutes only: an idle worker makes few calls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.definition import MAX_BYTES, JobDefinition
from hypernode_worker.core.events import RunLost, RunReleased, RunResumed
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import Container
from hypernode_worker.core.reconcile import OnChain, SideBySide, Verdict, is_doubtful, on_chain, reconcile
from hypernode_worker.core.runs import RunRecord, RunState
from hypernode_worker.core.types import Slot
from hypernode_worker.errors import HypernodeError
from hypernode_worker.node.backoff import Backoff
from hypernode_worker.node.dispatcher import Dispatcher
from hypernode_worker.node.offer import Offer
from hypernode_worker.node.run_book import RunBook
from hypernode_worker.node.run_chain import certain_job, read_job
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.run_folder import RunFolder, delete_run_folder, run_folders, run_name
from hypernode_worker.node.settling import Settling
from hypernode_worker.node.setup import prepare_image

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
ASK_CHAIN_EVERY = 5
"""Looks; each, while something stands open."""
AT_ONCE = 16
"""Runs that are taken up side by side."""

RunName = str
"""See run_folder.run_name; containers' labels say the same."""


@dataclass(slots=True)
class _Run:
    """What was found of one run."""

    job: Job | None = None
    record: RunRecord | None = None
    containers: list[Container] = field(default_factory=list[Container])


class Reconciler:
    """The looks of one worker."""

    def __init__(self, context: RunContext, dispatcher: Dispatcher, settling: Settling) -> None:
        self._context = context
        self._dispatcher = dispatcher
        self._settling = settling
        self._doubted: frozenset[RunName] = frozenset()

    async def watch(self) -> None:
        """Each minute until the worker drains; the first time as soon as what was sent before a restart has ended."""
        context = self._context
        await self._follow_up()
        looks, pause_s = 0, 0.0 if self._left_open() and not self._doubted else LOOK_EVERY_S
        while not await context.stop.wait(pause_s):
            looks, pause_s = looks + 1, LOOK_EVERY_S
            try:
                ask = self._left_open() or looks % ASK_CHAIN_EVERY == 0
                await self.look((await context.chain.node(context.node.address)).open_jobs if ask else 0)
            except HypernodeError as error:
                log.warning("Chain, journal and containers couldn't be compared: %s", error)

    async def look(self, open_jobs: int) -> None:
        """One comparison. `open_jobs`: how many the chain says that this node has."""
        runs = await self._gather(open_jobs)
        held = {str(address) for address in (*self._dispatcher.running, *self._settling.jobs)}
        verdicts = {name: self._verdict(name, run, name.rpartition("-")[0] in held) for name, run in runs.items()}
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._act(gate, name, runs[name], verdict) for name, verdict in verdicts.items()))
        await asyncio.to_thread(self._delete_folders, verdicts)

    async def _gather(self, open_jobs: int) -> Mapping[RunName, _Run]:
        context, runs = self._context, dict[RunName, _Run]()

        def of(job: object, run: object) -> _Run:
            return runs.setdefault(run_name(job, run), _Run())

        # Before the chain: what is claimed meanwhile must not look like an orphan.
        containers = await context.provider.containers(str(context.node.address))
        records = context.journal.open_runs()
        for record in records:
            of(record.job, record.run).record = record
        in_hand = len(self._dispatcher.running) + len(self._settling)
        if open_jobs > in_hand or any(not self._in_hand(record.job) for record in records):
            for job in await context.chain.jobs_of_node(context.node.address):
                if on_chain(job, context.node.address, job.queued_slot) is not OnChain.NOTHING:
                    found = of(job.address, job.queued_slot)
                    found.job = job
                    found.record = found.record or context.journal.run(job.address, job.queued_slot)
        await asyncio.gather(*(self._look_for(run) for run in runs.values()))
        for container in containers:
            of(container.job, container.run).containers.append(container)
        for folder in await asyncio.to_thread(run_folders, context.settings.data_dir):
            runs.setdefault(folder.name, _Run())
        return runs

    async def _look_for(self, run: _Run) -> None:
        """Reads the job of an open run that the scan left out: an endpoint may forget some, or lie."""
        context, record = self._context, run.record
        if record is None or run.job is not None or record.state is RunState.DUE or self._in_hand(record.job):
            return
        job = await certain_job(context, record.job, await read_job(context, record.job))
        if on_chain(job, context.node.address, record.run) is not OnChain.NOTHING:
            run.job = job

    def _verdict(self, name: RunName, run: _Run, in_hand: bool) -> Verdict:
        context, record = self._context, run.record
        seen = SideBySide(
            chain=on_chain(run.job, context.node.address, run.job.queued_slot) if run.job else OnChain.NOTHING,
            journal=record.state if record else None,
            in_hand=in_hand,
            left_over=run.job is None and record is None,
            may_land=record is not None and context.chain.may_land(record.job),
        )
        verdict = reconcile(seen)
        settled = verdict in (Verdict.LEAVE, Verdict.WAIT) or not is_doubtful(seen)
        if settled or name in self._doubted or self._up_to_date():
            self._doubted -= {name}
            return verdict
        self._doubted |= {name}
        return Verdict.WAIT

    async def _act(self, gate: asyncio.Semaphore, name: RunName, run: _Run, verdict: Verdict) -> None:
        match verdict:
            case Verdict.LEAVE | Verdict.WAIT:
                pass
            case Verdict.TAKE_UP if run.job is not None:
                async with gate:
                    await self._take_up(run.job, run.record, run.containers)
            case Verdict.COLLECT if run.job is not None or run.record is not None:
                self._collect(run.job, run.record)
                await self._remove(run.containers)
            case Verdict.CLOSE_UNCLAIMED | Verdict.CLOSE_LOST if run.record is not None:
                self._close(run.record, verdict)
                if run.record.result_cid is not None:
                    await self._context.uploads.drop(run.record.result_cid)
                await self._remove(run.containers)
            case _:
                log.info("Removing what is left of the run %s, which is over", name)
                await self._remove(run.containers)

    async def _take_up(self, job: Job, record: RunRecord | None, containers: Sequence[Container]) -> None:
        context = self._context
        try:
            definition = await self._definition(job)
        except HypernodeError as error:
            if record is not None and record.result_cid is not None:
                log.warning("Job %s has a result, but its definition can't be read: %s", job.address, error)
                return  # what was made must not be given back: the next look tries again
            book = await self._book(job, record, None)
            await self._give_back(book, job, str(error))
            return
        book = await self._book(job, record, definition)
        operations = book.record.detail.get("operations")
        current = len(operations) if isinstance(operations, list) else 0  # pyright: ignore[reportUnknownArgumentType]
        attached = any(container.operation == current for container in containers)
        self._dispatcher.start(Offer(job, definition), book.record, attached=attached)
        context.announce(RunResumed(job.address, attached))

    async def _definition(self, job: Job) -> JobDefinition:
        """From the run's own folder, else from IPFS: what is running must not wait for a gateway."""
        context = self._context
        folder = RunFolder(context.settings.data_dir, job.address, job.queued_slot)
        kept = await asyncio.to_thread(folder.read_definition)
        data = kept or await context.store.read(
            job.definition_cid, max_bytes=MAX_BYTES, timeout_s=context.settings.definition_timeout_s
        )
        return JobDefinition.from_bytes(data)

    async def _book(self, job: Job, record: RunRecord | None, definition: JobDefinition | None) -> RunBook:
        """The run's line in the journal, brought to where the chain is; made anew where the journal was lost."""
        context = self._context
        if record is None or record.state is RunState.CLOSED:
            detail = await self._rebuilt(job, definition)
            record = RunRecord(
                job.address, job.queued_slot, RunState.CLAIMING, job.definition_cid, job.timeout, detail=detail
            )
            context.journal.open_run(record, at=context.clock.unix_time())
        book = RunBook(context, record, opened=True)
        if record.state is RunState.CLAIMING:  # the answer to the claim was lost
            book.advance(RunState.CLAIMED if job.state is JobState.CLAIMED else RunState.RUNNING)
        elif record.state is RunState.CLAIMED and job.state is JobState.RUNNING:
            book.advance(RunState.RUNNING)
        return book

    async def _rebuilt(self, job: Job, definition: JobDefinition | None) -> Mapping[str, object]:
        """What a manifest needs and only the journal knew. Ended operations are found again in their containers."""
        if definition is None or job.state is not JobState.RUNNING:
            return {}
        try:
            image = await prepare_image(self._context, definition)
        except HypernodeError as error:
            log.warning("The image of %s couldn't be found again: %s", job.address, error)
            return {}
        return {"started_at": float(job.started_at), "image": image.model_dump() if image else None}

    async def _give_back(self, book: RunBook, job: Job, why: str) -> None:
        outcome = RunOutcome.FILES_UNAVAILABLE
        try:
            receipt = await self._context.chain.release_job(job, outcome.release_reason)
        except HypernodeError as error:
            message = f"It couldn't be given back after a restart: {error}"
            book.advance(RunState.CLOSED, RunLost(job.address, RunOutcome.LOST, message), outcome=RunOutcome.LOST)
        else:
            released = RunReleased(job.address, receipt.signature, outcome.release_reason)
            book.advance(RunState.CLOSED, released, outcome=outcome, message=why)

    def _collect(self, job: Job | None, record: RunRecord | None) -> None:
        """Hands over what is due: by the journal, and by the chain where the journal is new."""
        context = self._context
        if record is not None and record.state is RunState.STORED:
            book = RunBook(context, record, opened=True)
            book.advance(RunState.DUE)
            record = book.record
        elif job is not None and (record is None or record.state is not RunState.DUE):
            record = RunRecord(job.address, job.queued_slot, RunState.DUE, job.definition_cid, job.timeout)
            context.journal.open_run(record, at=context.clock.unix_time())
        assert record is not None  # one of the two is why this is collected
        self._settling.add(record, job)

    def _close(self, record: RunRecord, verdict: Verdict) -> None:
        book = RunBook(self._context, record, opened=True)
        if verdict is Verdict.CLOSE_UNCLAIMED:
            book.advance(RunState.CLOSED, outcome=RunOutcome.NOT_CLAIMED)
        else:
            message = "The chain gave it to others while the worker was away."
            book.advance(RunState.CLOSED, RunLost(record.job, RunOutcome.LOST, message), outcome=RunOutcome.LOST)

    async def _remove(self, containers: Sequence[Container]) -> None:
        for container in containers:
            log.info("Removing the container %s of a run that is over", container.id)
            await self._context.provider.remove(container)

    def _delete_folders(self, verdicts: Mapping[RunName, Verdict]) -> None:
        kept = {Verdict.LEAVE, Verdict.WAIT, Verdict.TAKE_UP}
        for folder in run_folders(self._context.settings.data_dir):
            verdict = verdicts.get(folder.name)
            if verdict is not None and verdict not in kept:
                delete_run_folder(folder)

    async def _follow_up(self) -> None:
        backoff = Backoff()
        while not self._context.stop.draining:
            try:
                await self._context.chain.follow_up()
            except HypernodeError as error:
                log.warning("What was sent before the restart couldn't be followed: %s", error)
                await self._context.stop.wait(backoff.failed(error))
            else:
                return

    def _in_hand(self, job: Pubkey) -> bool:
        return job in self._dispatcher.running or job in self._settling.jobs

    def _left_open(self) -> bool:
        """A run that nobody here has in hand stands open in the journal, or is in doubt."""
        return bool(self._doubted) or any(not self._in_hand(run.job) for run in self._context.journal.open_runs())

    def _up_to_date(self) -> bool:
        """The endpoint has shown a slot that isn't behind the last one in which something of ours landed."""
        return Slot(self._context.chain.health().last_slot) >= self._context.journal.last_slot()
