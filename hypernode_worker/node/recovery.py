"""What the chain says that this node holds when a worker starts: taken up again, or given back; and orphans removed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.definition import MAX_BYTES, JobDefinition
from hypernode_worker.core.events import RunLost, RunReleased, RunResumed
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import Container
from hypernode_worker.core.runs import RunRecord, RunState
from hypernode_worker.errors import HypernodeError
from hypernode_worker.node.dispatcher import Dispatcher
from hypernode_worker.node.offer import Offer
from hypernode_worker.node.run_book import RunBook
from hypernode_worker.node.run_chain import certain_job, read_job
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.run_folder import RunFolder, delete_run_folder, run_folders
from hypernode_worker.node.settling import Settling

log = logging.getLogger(__name__)

_HELD = (JobState.CLAIMED, JobState.RUNNING)
_UNPAID = (JobState.SUBMITTED, JobState.DISPUTED)


async def recover(context: RunContext, dispatcher: Dispatcher, settling: Settling) -> None:
    """Before the first new job. The chain decides what is held; journal and containers, what can go on."""
    node = context.node
    scanned: Sequence[Job] = await context.chain.jobs_of_node(node.address) if node.open_jobs else ()
    found = [*scanned, *await _missing(context, scanned)]
    jobs = [job for job in found if job.state in _HELD]
    containers = await context.provider.containers(str(node.address))
    for job in jobs:
        await _take_up(context, dispatcher, job, [c for c in containers if _belongs(c, job)])
    held = {str(job.address): str(job.queued_slot) for job in jobs if job.address in dispatcher.running}
    for container in containers:
        if held.get(container.job) != container.run:
            log.info("Removing the container %s of a run that is over", container.id)
            await context.provider.remove(container)
    await asyncio.to_thread(_delete_folders, context, jobs)
    _close_records(context, jobs)
    _collect(context, settling, [job for job in found if job.state in _UNPAID or job.owed_node])


async def _missing(context: RunContext, scanned: Sequence[Job]) -> list[Job]:
    """Jobs of runs that stand open in the journal and that a scan left out: an endpoint may forget some, or lie."""
    known = {(job.address, job.queued_slot) for job in scanned}
    found: list[Job] = []
    for record in context.journal.open_runs():
        if record.state is RunState.DUE or (record.job, record.run) in known:
            continue
        job = await certain_job(context, record.job, await read_job(context, record.job))
        if job is not None and job.node == context.node.address and job.queued_slot == record.run:
            found.append(job)
    return found


async def _take_up(context: RunContext, dispatcher: Dispatcher, job: Job, containers: Sequence[Container]) -> None:
    record = context.journal.run(job.address, job.queued_slot)
    if record is None or record.state is RunState.CLOSED:
        record = RunRecord(job.address, job.queued_slot, RunState.CLAIMING, job.definition_cid, job.timeout)
        context.journal.open_run(record, at=context.clock.unix_time())
    book = RunBook(context, record, opened=True)
    if record.state is RunState.CLAIMING:  # the answer to the claim was lost
        book.advance(RunState.CLAIMED if job.state is JobState.CLAIMED else RunState.RUNNING)
    elif record.state is RunState.CLAIMED and job.state is JobState.RUNNING:
        book.advance(RunState.RUNNING)
    try:
        data = await context.store.read(
            job.definition_cid, max_bytes=MAX_BYTES, timeout_s=context.settings.definition_timeout_s
        )
        definition = JobDefinition.from_bytes(data)
    except HypernodeError as error:
        await _give_back(context, book, job, RunOutcome.FILES_UNAVAILABLE, str(error))
        return
    operations = book.record.detail.get("operations")
    current = len(operations) if isinstance(operations, list) else 0  # pyright: ignore[reportUnknownArgumentType]
    attached = any(container.operation == current for container in containers)
    dispatcher.start(Offer(job, definition), book.record, attached=attached)
    context.announce(RunResumed(job.address, attached))


async def _give_back(context: RunContext, book: RunBook, job: Job, outcome: RunOutcome, why: str) -> None:
    try:
        receipt = await context.chain.release_job(job, outcome.release_reason)
    except HypernodeError as error:
        message = f"It couldn't be given back after a restart: {error}"
        book.advance(RunState.CLOSED, RunLost(job.address, RunOutcome.LOST, message), outcome=RunOutcome.LOST)
    else:
        released = RunReleased(job.address, receipt.signature, outcome.release_reason)
        book.advance(RunState.CLOSED, released, outcome=outcome, message=why)


def _belongs(container: Container, job: Job) -> bool:
    return container.job == str(job.address) and container.run == str(job.queued_slot)


def _delete_folders(context: RunContext, jobs: Sequence[Job]) -> None:
    held = {RunFolder(context.settings.data_dir, job.address, job.queued_slot).path for job in jobs}
    for folder in run_folders(context.settings.data_dir):
        if folder not in held:
            delete_run_folder(folder)


def _close_records(context: RunContext, jobs: Sequence[Job]) -> None:
    """Runs that the chain no longer gives to this node were lost; of those with a result, the settling finds out."""
    held = {(job.address, job.queued_slot) for job in jobs}
    for record in context.journal.open_runs():
        if record.state is RunState.DUE or (record.job, record.run) in held:
            continue
        book = RunBook(context, record, opened=True)
        if record.state is RunState.STORED:
            book.advance(RunState.DUE)
        elif record.state is RunState.CLAIMING:
            book.advance(RunState.CLOSED, outcome=RunOutcome.NOT_CLAIMED)
        else:
            message = "The chain gave it to others while the worker was away."
            book.advance(RunState.CLOSED, RunLost(record.job, RunOutcome.LOST, message), outcome=RunOutcome.LOST)


def _collect(context: RunContext, settling: Settling, unpaid: Sequence[Job]) -> None:
    """Hands over what is due: by the journal, and by the chain where the journal is new."""
    known = {(record.job, record.run): record for record in context.journal.open_runs() if record.state is RunState.DUE}
    for job in unpaid:
        if (job.address, job.queued_slot) not in known:
            record = RunRecord(job.address, job.queued_slot, RunState.DUE, job.definition_cid, job.timeout)
            context.journal.open_run(record, at=context.clock.unix_time())
            known[job.address, job.queued_slot] = record
    seen = {(job.address, job.queued_slot): job for job in unpaid}
    for key, record in known.items():
        settling.add(record, seen.get(key))
