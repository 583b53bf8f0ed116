"""Everything that a run needs before it starts: the image, the job's files, a workspace. Nobody is billed for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from hypernode_worker.core.definition import JobDefinition
from hypernode_worker.core.manifest import ImageUsed
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.errors import (
    ContentInvalid,
    ContentTooLarge,
    HypernodeError,
    ImageUnavailable,
    TransientError,
)
from hypernode_worker.frameworks import image_of
from hypernode_worker.node.backoff import persist
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.run_folder import RunFolder

log = logging.getLogger(__name__)

ATTEMPTS = 3
LEAST_S = 30.0
_EARLY_S = 5.0
IMAGE_HERE_S = 30.0

T = TypeVar("T")


class SetupFailed(Exception):
    """The run can't start: with which outcome it ends, and the sentence for the manifest."""

    def __init__(self, outcome: RunOutcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


class NotQuick(Exception):
    """Setting up takes a while or fails: the claim comes first, so that not every node does it."""


async def set_up_early(context: RunContext, definition: JobDefinition, folder: RunFolder) -> ImageUsed | None:
    """Sets up before the claim, when that is quick: the image is here, and the files are few. May be repeated.

    Raises:
        NotQuick: it has to be done after the claim.
    """
    settings = context.settings
    reference = image_of(definition, settings.images)
    try:
        if context.provider.capabilities.images and not await context.provider.has_image(reference):
            raise NotQuick
        await _fetch(context, definition, folder, max_bytes=settings.small_files_bytes, timeout_s=_EARLY_S)
        return await _prepare(context, reference, timeout_s=_EARLY_S)
    except (HypernodeError, OSError) as error:
        log.debug("Nothing was set up before the claim: %s", error)
        raise NotQuick from error


async def set_up(
    context: RunContext, definition: JobDefinition, folder: RunFolder, *, within_s: float
) -> ImageUsed | None:
    """Fetches the image and the files at the same time. May be repeated.

    Args:
        within_s: what is left for all of it; the caller cancels when the whole takes longer. The image may take all of
            it; for the files it is shared between the attempts, so that files that nobody has don't use it up.

    Raises:
        SetupFailed: by the job's fault, or by this node's.
    """
    reference = image_of(definition, context.settings.images)
    max_bytes = context.settings.files_max_bytes
    each_s = max(LEAST_S, within_s / (ATTEMPTS + 1))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(
                _files(lambda: _fetch(context, definition, folder, max_bytes=max_bytes, timeout_s=each_s)),
                name="fetch files",
            )
            image = group.create_task(
                _image(lambda: _prepare(context, reference, timeout_s=max(LEAST_S, within_s))), name="prepare image"
            )
    except BaseExceptionGroup as failures:  # except* would wrap what it raises, in Python before 3.11.4
        ours = failures.subgroup(SetupFailed)
        if ours is None:
            raise
        raise next(_each(ours)) from None
    return image.result()


def _each(failures: BaseExceptionGroup[SetupFailed]) -> Iterator[SetupFailed]:
    for failure in failures.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            yield from _each(failure)
        else:
            yield failure


async def _fetch(
    context: RunContext, definition: JobDefinition, folder: RunFolder, *, max_bytes: int, timeout_s: float
) -> None:
    """The run's folder, made anew, with the job's files, input.json and output/ in its workspace."""
    await asyncio.to_thread(folder.create)
    if definition.files is not None:
        await context.store.fetch(
            definition.files,
            folder.workspace,
            max_bytes=max_bytes,
            max_files=context.settings.files_max_count,
            timeout_s=timeout_s,
        )
        if not folder.workspace.is_dir():
            raise ContentInvalid("The job's `files` is the CID of a file; post the CID of a directory.")
    await asyncio.to_thread(folder.fill, definition)


async def prepare_image(context: RunContext, definition: JobDefinition) -> ImageUsed | None:
    """The image of a job that is running already, so that it is here. Raises as ContainerProvider.prepare."""
    return await _prepare(context, image_of(definition, context.settings.images), timeout_s=IMAGE_HERE_S)


async def _prepare(context: RunContext, reference: str, *, timeout_s: float) -> ImageUsed | None:
    if not context.provider.capabilities.images:
        return None
    return ImageUsed(reference=reference, resolved=await context.provider.prepare(reference, timeout_s=timeout_s))


async def _files(fetch: Callable[[], Awaitable[None]]) -> None:
    try:
        await persist(fetch, attempts=ATTEMPTS)
    except (ContentInvalid, ContentTooLarge) as error:
        raise SetupFailed(RunOutcome.FILES_INVALID, f"The job's files can't be used: {error}") from error
    except TransientError as error:
        raise SetupFailed(RunOutcome.FILES_UNAVAILABLE, f"The job's files couldn't be fetched: {error}") from error
    except (HypernodeError, OSError) as error:
        raise SetupFailed(RunOutcome.NODE_FAULT, f"The node couldn't prepare a workspace: {error}") from error


async def _image(prepare: Callable[[], Awaitable[ImageUsed | None]]) -> ImageUsed | None:
    try:
        return await persist(prepare, attempts=ATTEMPTS)
    except ImageUnavailable as error:
        raise SetupFailed(RunOutcome.IMAGE_UNAVAILABLE, f"The image can't be used: {error}") from error
    except (HypernodeError, OSError) as error:
        raise SetupFailed(RunOutcome.NODE_FAULT, f"The node couldn't prepare the image: {error}") from error
