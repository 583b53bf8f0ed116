"""The long steps of a run, one at a time in the background: setting up, executing, storing; and their early ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import cast

from hypernode_worker.core.accounts import FLAG_PINNED, Job
from hypernode_worker.core.definition import JobDefinition
from hypernode_worker.core.events import Event, ResultPinned, RunEnded, SetupFinished, WarningRaised
from hypernode_worker.core.lifecycle import Progress
from hypernode_worker.core.manifest import ImageUsed, OperationResult
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import Reach
from hypernode_worker.core.runs import RunRecord, RunState
from hypernode_worker.errors import ContentInvalid, HypernodeError, PermanentError
from hypernode_worker.node.execution import Ended, Execution, RunInput
from hypernode_worker.node.result import Outputs, StoredResult, keep_result
from hypernode_worker.node.run_book import RunBook
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.run_folder import RunFolder
from hypernode_worker.node.setup import NotQuick, SetupFailed, set_up, set_up_early

log = logging.getLogger(__name__)

STOP_S = 30.0

_MESSAGES = {
    RunOutcome.TIMED_OUT: "It was still running when the time that was paid for had passed.",
    RunOutcome.STOPPED: "Its client stopped it; this is what there was by then.",
    RunOutcome.NODE_SHUTDOWN: "The node was told to stop.",
    RunOutcome.SETUP_TIMED_OUT: "Image and files didn't arrive within the market's setup_timeout.",
    RunOutcome.RESULT_UNAVAILABLE: "The node couldn't store the result in time.",
    RunOutcome.NODE_FAULT: "The node lost track of the run.",
}


class RunWork:
    """What is in hand of one run.

    Attributes:
        progress, ended, stored: what decisions are made of.
        kept: the result, once it lies on this machine's disk and the journal knows its CID; its upload may go on.
        image: resolved, once set up.
    """

    def __init__(
        self, context: RunContext, definition: JobDefinition, folder: RunFolder, book: RunBook, wake: Callable[[], None]
    ) -> None:
        self._context = context
        self._definition = definition
        self._folder = folder
        self._book = book
        self._wake = wake
        self._task: asyncio.Task[None] | None = None
        self._interrupting: Ended | None = None
        self._started_at = context.chain_clock.now()
        self._execution: Execution | None = None
        self.progress = Progress.NEW
        self.ended: Ended | None = None
        self.kept: StoredResult | None = None
        self.stored: StoredResult | None = None
        self.image: ImageUsed | None = None
        self._resumed = False
        self.ended_operations: tuple[OperationResult, ...] = ()

    def resume(self, record: RunRecord, *, attached: bool) -> None:
        """Takes up what the journal and the container runtime still have of a run that is Running on chain.

        Args:
            attached: the container of the operation that was going on is there.
        """
        self._resumed = True
        self._started_at = _number(record.detail.get("started_at"), self._started_at)
        image, operations = record.detail.get("image"), record.detail.get("operations")
        self.image = ImageUsed.model_validate(image) if image else None
        if isinstance(operations, list):
            found = cast("list[object]", operations)
            self.ended_operations = tuple(OperationResult.model_validate(item) for item in found)
        ended = Ended(record.outcome, record.message, record.exit_status) if record.outcome else None
        if record.result_cid and ended:
            self.kept = StoredResult(record.result_cid, record.result_hash, record.exit_status, ended)
        if record.state is RunState.STORED and self.kept:
            self.ended, self.stored, self.progress = ended, self.kept, Progress.STORED
        elif record.state is RunState.ENDED and ended and (self.kept or self._folder.result.is_dir()):
            self.ended, self.progress = ended, Progress.ENDED
        elif record.state is RunState.RUNNING and attached and self._folder.workspace.is_dir():
            self.progress = Progress.READY
        else:
            self.end(Ended(RunOutcome.NODE_FAULT, "The node restarted and what it was running is gone."))

    @property
    def operation(self) -> int | None:
        """Index of the operation that runs; None when none does."""
        return self._execution.operation if self._execution and self.progress is Progress.EXECUTING else None

    async def set_up_early(self) -> None:
        """Before the claim: READY when all that is needed was here or came quickly, else still NEW."""
        try:
            self.image = await set_up_early(self._context, self._definition, self._folder)
            self.progress = Progress.READY
        except NotQuick:
            self.progress = Progress.NEW

    def start_set_up(self, *, within_s: float) -> None:
        """`within_s`: what is left until the job's deadline."""
        self.progress = Progress.SETTING_UP
        self._begin(self._set_up(within_s), "set up")

    def start_execution(self, given: RunInput) -> None:
        self.progress = Progress.EXECUTING
        if not given.ended:
            self._started_at = self._context.chain_clock.now()
            image = self.image.model_dump() if self.image else None
            self._book.note(started_at=self._started_at, image=image, gpus=list(given.gpus))
        self._execution = Execution(self._context, given, self._folder, self._context.announce, self._note_operations)
        self._begin(self._execute(self._execution), "execute")

    def start_store(self, job: Job) -> None:
        self.progress = Progress.STORING
        self._begin(self._store(job), "store the result")

    async def stop_waiting(self) -> None:
        """Counts the result as stored though its upload isn't confirmed; that goes on in the background."""
        await self.cancel()
        if self.kept is not None and self.progress is not Progress.STORED:
            cid = self.kept.cid
            said = f"The result {cid} is posted before its upload is confirmed, which is tried on: see to the store."
            self._is_stored(self.kept, WarningRaised(said))

    async def withdraw(self) -> None:
        """The chain holds nothing of the run any more: a result that was never posted needs no upload."""
        if self.kept is not None and self.progress is not Progress.STORED:
            await self._context.uploads.drop(self.kept.cid)

    def end(self, ended: Ended) -> None:
        """The run is over with this outcome; a later one replaces an earlier."""
        self.ended = ended
        self.progress = Progress.ENDED
        self._book.advance(
            RunState.ENDED,
            RunEnded(self._book.record.job, ended.outcome, ended.message),
            outcome=ended.outcome,
            message=ended.message,
            exit_status=ended.exit_code,
        )

    async def interrupt(self, outcome: RunOutcome, why: str = "") -> None:
        """Ends what is going on. What had ended by itself meanwhile keeps its own outcome."""
        task, execution = self._task, self._execution
        message = why or _MESSAGES.get(outcome, "It was ended.")
        self._interrupting = Ended(outcome, message, outcome.fixed_exit_status or 0)
        if execution is not None and task is not None and not task.done() and self.progress is Progress.EXECUTING:
            await self._stop_execution(execution, task)
            if self.ended is not None:
                return
        await self.cancel()
        if self.progress is Progress.STORED:
            return
        self.end(self._interrupting)

    async def cancel(self) -> None:
        """Cancels the background step, if one is going on."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def remove_containers(self) -> None:
        """Removes every container of this run. May be repeated."""
        record = self._book.record
        known = self._execution.containers if self._execution else ()
        # A run from before a restart, or one that was cancelled, may have containers that this process never saw.
        sure = not self._resumed and (self._execution is None or self.ended is not None)
        try:
            found = known if sure else await self._context.provider.containers(str(self._context.node.address))
            for container in found:
                if container.job == str(record.job) and container.run == str(record.run):
                    await self._context.provider.remove(container)
        except HypernodeError as error:
            log.warning("A container of %s is left for the next look: %s", record.job, error)

    def _begin(self, step: Coroutine[object, object, None], name: str) -> None:
        self._task = asyncio.create_task(self._guard(step), name=f"{name} {self._book.record.job}")

    async def _guard(self, step: Coroutine[object, object, None]) -> None:
        try:
            await step
        except Exception:  # a bug must not strand a job: it goes back to the queue
            log.exception("A step of the run of %s failed", self._book.record.job)
            self.end(Ended(RunOutcome.NODE_FAULT, "The node's own software failed."))
        finally:
            self._wake()

    async def _set_up(self, within_s: float) -> None:
        try:
            self.image = await set_up(self._context, self._definition, self._folder, within_s=within_s)
        except SetupFailed as failed:
            self.end(Ended(failed.outcome, failed.message, failed.outcome.fixed_exit_status or 0))
            return
        self.progress = Progress.READY
        resolved = self.image.resolved if self.image else None
        self._context.announce(SetupFinished(self._book.record.job, resolved))

    async def _execute(self, execution: Execution) -> None:
        ended = await execution.run()
        if ended.outcome is RunOutcome.STOPPED and self._interrupting is not None:
            ended = self._interrupting
        self.end(ended)

    async def _stop_execution(self, execution: Execution, task: asyncio.Task[None]) -> None:
        try:
            async with asyncio.timeout(self._context.settings.stop_grace_s + STOP_S):
                await execution.stop()
                await asyncio.wait([task])
        except (TimeoutError, HypernodeError) as error:
            log.warning("The container of %s didn't stop: %s", self._book.record.job, error)

    async def _store(self, job: Job) -> None:
        try:
            if job.flags & FLAG_PINNED and self._context.store.reach is Reach.MACHINE:
                raise PermanentError("its market demands a pin, and there is neither Kubo nor a pinning service here.")
            kept = self.kept or await self._keep(job)
            self._wake()  # what can be posted is known from here on
            try:
                await self._context.uploads.confirmed(kept.cid)
            except ContentInvalid:
                # Blocks were lost while the worker was away. Perhaps the files are still there.
                if not self._resumed or not await asyncio.to_thread(self._folder.result.is_dir):
                    raise
                kept = await self._keep(job)
                await self._context.uploads.confirmed(kept.cid)
        except (HypernodeError, OSError) as error:
            self.end(Ended(RunOutcome.RESULT_UNAVAILABLE, f"The node couldn't store the result: {error}"))
            return
        self._is_stored(kept, ResultPinned(job.address, kept.cid, kept.result_hash))

    async def _keep(self, job: Job) -> StoredResult:
        """The result on this machine's disk, and its CID in the journal: a restart needs nothing else."""
        ended = self.ended or Ended(RunOutcome.NODE_FAULT, "")
        operations = tuple(self._execution.results) if self._execution else self.ended_operations
        # By the chain's clock, as the pay is: this machine's may be wrong, or be set while the job runs.
        ended_at = max(self._started_at, self._context.chain_clock.now())
        outputs = Outputs(ended, operations, self.image, self._started_at, ended_at)
        kept = await keep_result(self._context, job, self._folder, outputs)
        if self._context.store.reach is Reach.NETWORK:  # else it is stored at once, and one entry is enough
            self._journal(RunState.ENDED, kept)
        self.kept, self.ended = kept, kept.ended
        return kept

    def _is_stored(self, kept: StoredResult, event: Event) -> None:
        self._journal(RunState.STORED, kept, event)
        self.stored, self.progress = kept, Progress.STORED

    def _journal(self, state: RunState, kept: StoredResult, *events: Event) -> None:
        self._book.advance(
            state,
            *events,
            outcome=kept.ended.outcome,
            message=kept.ended.message,
            result_cid=kept.cid,
            result_hash=kept.result_hash,
            exit_status=kept.exit_status,
        )

    def _note_operations(self, results: Sequence[OperationResult]) -> None:
        self._book.note(operations=[result.model_dump() for result in results])


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) else otherwise
