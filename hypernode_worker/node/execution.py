"""Runs a job's operations, one container after the other, until one fails or all have ended.

Stopping is not cancelling: `stop` ends the container that runs, and `run` then returns by itself.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, assert_never

from solders.pubkey import Pubkey

from hypernode_worker.core.definition import OUTPUT_DIR, JobDefinition, Operation
from hypernode_worker.core.events import Event, OperationEnded, OperationStarted
from hypernode_worker.core.manifest import ImageUsed, OperationResult
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import Container, ContainerSpec, Exit, ExitReason
from hypernode_worker.core.types import Slot
from hypernode_worker.errors import HypernodeError, ImageUnavailable, StartFailed, TransientError
from hypernode_worker.frameworks import framework
from hypernode_worker.node.backoff import Backoff
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.run_folder import RunFolder

START_PATIENCE_S = 10.0
WAIT_PATIENCE_S = 180.0
"""How long a container engine may be away: little before an operation runs, for the client pays; longer for one that
runs on without the engine, or whose end isn't known yet."""

_KILLED_WITH_ENGINE = (137, 143, 255)
"""Exit codes of containers that ended with their engine or machine: SIGKILL, SIGTERM, and nobody saw."""
FULL_BYTES = 16 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the operations ended; `message` is the manifest's sentence."""

    outcome: RunOutcome
    message: str
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class RunInput:
    """What is executed.

    Attributes:
        network: the job may and wants to use the network.
        gpus: UUIDs of GPUs for it.
        ended: operations that had ended before a restart.
    """

    job: Pubkey
    run: Slot
    definition: JobDefinition
    image: ImageUsed | None
    network: bool
    gpus: tuple[str, ...] = ()
    ended: tuple[OperationResult, ...] = ()


class Execution:
    """One run's containers. `results` and `containers` grow as it goes."""

    def __init__(
        self,
        context: RunContext,
        given: RunInput,
        folder: RunFolder,
        announce: Callable[[Event], None],
        operation_ended: Callable[[Sequence[OperationResult]], None],
    ) -> None:
        self._context = context
        self._given = given
        self._folder = folder
        self._announce = announce
        self._operation_ended = operation_ended
        self._stopping = asyncio.Event()
        self._current: Container | None = None
        self._away = False
        self.results: list[OperationResult] = list(given.ended)
        self.containers: list[Container] = []

    @property
    def operation(self) -> int:
        """Index of the operation that runs, or would be next."""
        return len(self.results)

    async def run(self) -> Ended:
        """Until the end, whatever it is; the only errors that leave are bugs."""
        try:
            for index in range(len(self.results), len(self._given.definition.operations)):
                if self._stopping.is_set():
                    break
                ended = await self._operate(index)
                if ended is not None:
                    return ended
            if self._stopping.is_set():
                return Ended(RunOutcome.STOPPED, "It was stopped.", 143)
            return Ended(RunOutcome.COMPLETED, "All operations ended with exit code 0.")
        except StartFailed as error:
            return Ended(RunOutcome.COMMAND_MISSING, f"Operation {self.operation} couldn't be started: {error}", 127)
        except ImageUnavailable as error:
            return Ended(RunOutcome.IMAGE_UNAVAILABLE, f"The image can't be used: {error}", 125)
        except (HypernodeError, OSError) as error:
            return Ended(RunOutcome.NODE_FAULT, f"The node's container runtime failed: {error}")

    async def stop(self) -> None:
        """Ends the running container, with grace; `run` returns soon after. May be repeated."""
        self._stopping.set()
        if self._current is not None:
            await self._context.provider.stop(self._current, grace_s=self._context.settings.stop_grace_s)

    async def _operate(self, index: int) -> Ended | None:
        operation = self._given.definition.operations[index]
        spec = self._spec(index, operation)
        container = await self._again(lambda: self._context.provider.start(spec), START_PATIENCE_S)
        self._away = not container.running  # it had ended before this worker looked: found after a restart
        self.containers.append(container)
        self._current = container
        self._announce(OperationStarted(self._given.job, index, container.id))
        if self._stopping.is_set():  # `stop` came while it was being started
            await self._context.provider.stop(container, grace_s=self._context.settings.stop_grace_s)
        found, timed_out = await self._wait(container, operation.timeout)
        self._current = None
        self.results.append(_result(index, found))
        self._operation_ended(self.results)
        self._announce(OperationEnded(self._given.job, index, found.exit_code, found.reason))
        if not timed_out and (trouble := self._trouble(index, found)):
            return trouble
        return _explain(index, found, timed_out=timed_out)

    def _trouble(self, index: int, found: Exit) -> Ended | None:
        """An end that looks like the job's failure, and is the node's doing."""
        if found.reason is not ExitReason.EXITED or found.exit_code == 0:
            return None
        if self._away and found.exit_code in _KILLED_WITH_ENGINE:
            return Ended(RunOutcome.NODE_FAULT, f"Operation {index} ended when the node's container engine did.")
        if shutil.disk_usage(self._context.settings.data_dir).free < FULL_BYTES:
            return Ended(RunOutcome.NODE_FAULT, f"Operation {index} failed while the node's disk was full.")
        return None

    async def _wait(self, container: Container, timeout_s: int | None) -> tuple[Exit, bool]:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._again(lambda: self._context.provider.wait(container), WAIT_PATIENCE_S), False
        except TimeoutError:
            grace_s = self._context.settings.stop_grace_s
            await self._again(lambda: self._context.provider.stop(container, grace_s=grace_s), WAIT_PATIENCE_S)
            return await self._again(lambda: self._context.provider.wait(container), WAIT_PATIENCE_S), True

    def _spec(self, index: int, operation: Operation) -> ContainerSpec:
        given, settings = self._given, self._context.settings
        env = {
            **given.definition.env,
            **operation.env,
            "OUTPUT_DIR": OUTPUT_DIR,
            "HYPERNODE_JOB": str(given.job),
            "HYPERNODE_MODEL": given.definition.model,
        }
        return ContainerSpec(
            job=str(given.job),
            node=str(self._context.node.address),
            run=str(given.run),
            operation=index,
            image=given.image.resolved if given.image else None,
            command=operation.argv(framework(given.definition.framework).default_command),
            workdir=operation.workdir,
            workspace=self._folder.workspace,
            log_path=self._folder.log_path(index),
            limits=settings.limits,
            env=env,
            network=given.network,
            gpus=given.gpus,
        )

    async def _again(self, attempt: Callable[[], Awaitable[T]], patience_s: float) -> T:
        """An engine that restarts comes back within seconds, and its containers with it."""
        loop, backoff = asyncio.get_running_loop(), Backoff(first_s=1.0, most_s=5.0)
        since = loop.time()
        while True:
            begun = loop.time()
            try:
                return await attempt()
            except TransientError as error:
                self._away = True
                if not backoff.failures or loop.time() - begun > patience_s:  # it was well until now
                    since = loop.time()
                delay = backoff.failed(error)
                if loop.time() + delay - since > patience_s:
                    raise
                await asyncio.sleep(delay)


def _result(index: int, found: Exit) -> OperationResult:
    return OperationResult(
        index=index,
        exit_code=found.exit_code,
        reason=found.reason.value,
        started_at=found.started_at,
        ended_at=found.ended_at,
        cpu_seconds=found.cpu_seconds,
        max_memory_bytes=found.max_memory_bytes,
    )


_HINTS = {126: ": a command may not be executed", 127: ": a command wasn't found"}


def _explain(index: int, found: Exit, *, timed_out: bool) -> Ended | None:
    """None: it ended well, and the next operation may start."""
    if timed_out:
        return Ended(RunOutcome.TIMED_OUT, f"Operation {index} was stopped when its own timeout had passed.", 124)
    match found.reason:
        case ExitReason.EXITED:
            if found.exit_code == 0:
                return None
            hint = _HINTS.get(found.exit_code, "")
            message = f"Operation {index} ended with exit code {found.exit_code}{hint}."
            return Ended(RunOutcome.FAILED, message, found.exit_code)
        case ExitReason.OUT_OF_MEMORY:
            return Ended(
                RunOutcome.OUT_OF_MEMORY, f"Operation {index} used more memory than this node gives a job.", 137
            )
        case ExitReason.LOG_LIMIT:
            return Ended(RunOutcome.LOG_LIMIT, f"Operation {index} wrote more log than this node keeps.", 153)
        case ExitReason.WORKSPACE_FULL:
            return Ended(RunOutcome.WORKSPACE_FULL, f"Operation {index} wrote more to /workspace than fits.", 154)
        case ExitReason.STOPPED:
            return Ended(RunOutcome.STOPPED, f"Operation {index} was stopped.", 143)
        case _:
            assert_never(found.reason)
