"""The result of a run: output collected, files hashed, manifest signed, and all of it kept on this machine's disk."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass

from hypernode_worker.core.accounts import Job
from hypernode_worker.core.manifest import MAX_MANIFEST_BYTES, ImageUsed, Manifest, OperationResult, ResultFile
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.result_directory import list_result_files
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ContentTooLarge, ResultInvalid, TransientError
from hypernode_worker.node.backoff import Backoff
from hypernode_worker.node.execution import Ended
from hypernode_worker.node.run_context import RunContext, manifest_host
from hypernode_worker.node.run_folder import RunFolder

log = logging.getLogger(__name__)

KEEP_ATTEMPTS = 4

_FILE_ENTRY_BYTES = 200
"""What a file takes in a manifest beside its path, and its share of the rest."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run has to show, apart from its files."""

    ended: Ended
    operations: tuple[OperationResult, ...]
    image: ImageUsed | None
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result whose CID is known; its blocks lie on this machine at least."""

    cid: Cid
    result_hash: bytes
    exit_status: int
    ended: Ended


async def keep_result(context: RunContext, job: Job, folder: RunFolder, outputs: Outputs) -> StoredResult:
    """Builds the result directory and imports it into the store; its upload is another matter.

    Too much output is the client's mistake: then the result holds the logs only and says so. May be repeated.

    Raises:
        HypernodeError, OSError: the result can't be kept, such as for a full disk.
    """
    ended, files = await asyncio.to_thread(_collect, context, folder, outputs.ended)
    manifest = _manifest(context, job, outputs, ended, files)
    await asyncio.to_thread(folder.write_manifest, manifest.to_bytes())
    cid = await _import(context, folder)
    return StoredResult(cid, manifest.result_hash, manifest.exit_status, ended)


def _collect(context: RunContext, folder: RunFolder, ended: Ended) -> tuple[Ended, tuple[ResultFile, ...]]:
    settings = context.settings
    dropped = folder.collect_output()
    if dropped:
        said = f"{ended.message} Left out of $OUTPUT_DIR were {dropped} links, special files or too long paths."
        ended = Ended(ended.outcome, said, ended.exit_code)
    files = None if folder.output_dropped else _fitting(context, folder)
    if files is not None:
        return ended, files
    folder.drop_output()
    said = (
        f"$OUTPUT_DIR held more than a result may ({settings.result_max_bytes} bytes in {settings.result_max_files} "
        "files), so only the logs are kept."
    )
    ended = Ended(RunOutcome.RESULT_TOO_LARGE, said, 155)
    # Logs are bounded by the container's own limit, so this can't be too much again.
    return ended, list_result_files(folder.result, max_bytes=1 << 62)


def _fitting(context: RunContext, folder: RunFolder) -> tuple[ResultFile, ...] | None:
    """The result's files; None when they are more than a result may hold."""
    settings = context.settings
    try:
        files = list_result_files(
            folder.result, max_bytes=settings.result_max_bytes, max_files=settings.result_max_files
        )
    except (ContentTooLarge, ResultInvalid) as error:
        log.info("The output of a run was dropped: %s", error)
        return None
    if sum(len(json.dumps(file.path)) + _FILE_ENTRY_BYTES for file in files) <= MAX_MANIFEST_BYTES:
        return files
    log.info("The output of a run was dropped: its names don't fit into a manifest.")
    return None


def _manifest(context: RunContext, job: Job, outputs: Outputs, ended: Ended, files: tuple[ResultFile, ...]) -> Manifest:
    fixed = ended.outcome.fixed_exit_status
    manifest = Manifest(
        job=str(job.address),
        market=str(job.market),
        node=str(context.node.address),
        authority=str(context.chain.wallet),
        run=str(job.queued_slot),
        definition_cid=str(job.definition_cid),
        outcome=ended.outcome,
        exit_status=ended.exit_code if fixed is None else fixed,
        message=ended.message[:1000],
        started_at=outputs.started_at,
        ended_at=outputs.ended_at,
        provider=context.provider.name,
        isolated=context.provider.capabilities.isolation,
        image=outputs.image,
        operations=outputs.operations,
        host=manifest_host(context.host),
        usage=_usage(outputs.operations),
        files=files,
    )
    return manifest.signed(context.chain.sign)


def _usage(operations: tuple[OperationResult, ...]) -> dict[str, float]:
    cpu = [operation.cpu_seconds for operation in operations if operation.cpu_seconds is not None]
    memory = [operation.max_memory_bytes for operation in operations if operation.max_memory_bytes is not None]
    usage: dict[str, float] = {}
    if cpu:
        usage["cpu_seconds"] = sum(cpu)
    if memory:
        usage["max_memory_mb"] = max(memory) / (1 << 20)
    return usage


async def _import(context: RunContext, folder: RunFolder) -> Cid:
    """Tries a few times: a full disk may have room again, but hardly if nobody makes it."""
    backoff = Backoff(first_s=1.0, most_s=15.0)
    while True:
        try:
            return await context.store.import_path(folder.result)
        except TransientError as error:
            delay = backoff.failed(error)
            if backoff.failures >= KEEP_ATTEMPTS:
                raise
            log.warning("The result couldn't be kept yet: %s", error)
            await asyncio.sleep(delay)
