"""A result, fetched from the store and verified against all that the chain says about it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.core.manifest import LOGS, MAX_FILES, MAX_MANIFEST_BYTES, OUTPUT, Manifest, ResultFile
from hypernode_worker.core.ports import ChainReader, ContentStore
from hypernode_worker.core.result_directory import verify_result
from hypernode_worker.errors import AccountMissing, ConfigError, PermanentError, ResultInvalid

MAX_RESULT_BYTES = 8 << 30
_FIXED_FILES = 16


@dataclass(frozen=True, slots=True)
class Result:
    """A verified result on this machine.

    Attributes:
        path: the folder: manifest.json, logs/, output/.
        signed: the node's signature was checked; False where the node has left the market since (its account is
            gone; the result_hash on chain binds the manifest all the same).
    """

    job: Job
    path: Path
    manifest: Manifest
    signed: bool

    @property
    def artifacts(self) -> tuple[ResultFile, ...]:
        """What the job wrote to $OUTPUT_DIR."""
        return tuple(file for file in self.manifest.files if file.path.startswith(f"{OUTPUT}/"))

    @property
    def logs(self) -> tuple[Path, ...]:
        """The operations' logs, in order."""
        return tuple(self.path / file.path for file in self.manifest.files if file.path.startswith(f"{LOGS}/"))


async def fetch_result(
    chain: ChainReader, store: ContentStore, job: Job, destination: Path, *, max_bytes: int, timeout_s: float
) -> Result:
    """Fetches into a folder beside `destination`, verifies, and only then moves it there.

    Raises:
        ConfigError: the destination exists, or can't be made.
        PermanentError: the job has no result (yet); the message says its state.
        ResultInvalid: what was posted isn't the result of this job.
    """
    if job.result_cid is None:
        raise PermanentError(_why_none(job))
    scratch = await asyncio.to_thread(_scratch_beside, destination)
    try:
        inside = scratch / "result"
        await store.fetch(
            job.result_cid,
            inside,
            max_bytes=max_bytes + MAX_MANIFEST_BYTES,
            max_files=MAX_FILES + _FIXED_FILES,
            timeout_s=timeout_s,
        )
        authority = await _authority(chain, job.node)
        manifest, signed = await asyncio.to_thread(_verify, inside, job, authority)
        await asyncio.to_thread(_move, inside, destination)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Result(job, destination, manifest, signed)


def _scratch_beside(destination: Path) -> Path:
    """A new folder on the destination's own file system."""
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ConfigError(f"{destination} exists already: name a folder that doesn't, so that nothing is overwritten.")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    except OSError as error:
        raise ConfigError(f"{destination} can't be made ({error.strerror}): name another folder.") from error


def _move(folder: Path, destination: Path) -> None:
    if destination.exists():
        destination.rmdir()
    folder.rename(destination)


async def _authority(chain: ChainReader, node: Pubkey) -> Pubkey | None:
    try:
        return (await chain.node(node)).authority
    except AccountMissing:
        return None


def _verify(directory: Path, job: Job, authority: Pubkey | None) -> tuple[Manifest, bool]:
    if not directory.is_dir():
        raise ResultInvalid(f"The result of job {job.address} is a file, not a folder; its node posted something else.")
    if authority is not None:
        return verify_result(directory, job=job, authority=authority), True
    # The node's account is gone. Its address still is the one that its wallet had in this market: result_hash binds
    # the manifest that names the wallet.
    claimed = Manifest.parse((directory / "manifest.json").read_bytes()[: MAX_MANIFEST_BYTES + 1])
    return verify_result(directory, job=job, authority=Pubkey.from_string(claimed.authority)), False


def _why_none(job: Job) -> str:
    what = {
        JobState.QUEUED: "it waits for a node",
        JobState.CLAIMED: "a node is preparing it",
        JobState.RUNNING: "it is still running",
        JobState.CANCELLED: "it was cancelled",
        JobState.EXPIRED: f"it expired ({job.reason.name.lower()}), and its deposit went back",
    }.get(job.state, f"it is {job.state.name.lower()}")
    again = "" if job.state.terminal else "; wait for it with 'hypernode-worker job get --wait'"
    return f"Job {job.address} has no result: {what}{again}."
