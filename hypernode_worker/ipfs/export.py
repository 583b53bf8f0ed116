"""A DAG to a file or directory on disk: all of it, or nothing."""

from __future__ import annotations

import asyncio
import errno
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, HypernodeError, TransientError
from hypernode_worker.ipfs.importer import MAX_DEPTH
from hypernode_worker.ipfs.reader import PARALLEL, DagReader, Node
from hypernode_worker.ipfs.threads import in_thread

_WRITE_IN_THREAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Item:
    cid: Cid
    path: Path
    depth: int


async def export(reader: DagReader, root: Cid, destination: Path) -> None:
    """Writes to a hidden sibling of `destination`, renamed once whole; removed on failure or cancellation.

    Raises ConfigError when `destination` exists or can't be made, TransientError when the disk is full, and what
    reading raises.
    """
    _must_be_free(destination)
    partial = destination.parent / f".{destination.name[:200]}.{secrets.token_hex(6)}.part"
    try:
        await _write_tree(reader, _Item(root, partial, 0))
        _place(partial, destination)
    except BaseException as error:
        await in_thread(_remove, partial)
        if isinstance(error, OSError):
            raise _write_error(destination, error) from error
        raise


async def _write_tree(reader: DagReader, root: _Item) -> None:
    queue: asyncio.Queue[_Item] = asyncio.Queue()
    queue.put_nowait(root)

    async def work() -> None:
        while True:
            item = await queue.get()
            for found in await _write_item(reader, item):
                queue.put_nowait(found)
            queue.task_done()

    try:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work(), name=f"export {root.cid} {index}") for index in range(PARALLEL)]
            await queue.join()
            for worker in workers:
                worker.cancel()
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to show of several that came together: one of ours before any other."""
    flat: list[BaseException] = []
    waiting: list[BaseException] = [errors]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, HypernodeError)), flat[-1])


async def _write_item(reader: DagReader, item: _Item) -> list[_Item]:
    node = await reader.node(item.cid)
    if node.is_file:
        if item.depth == 0:
            reader.count_file()
        await _write_file(reader, node, item.path)
        return []
    if item.depth >= MAX_DEPTH:
        raise ContentInvalid(f"{item.cid} lies more than {MAX_DEPTH} directories deep; it was not fetched.")
    entries = await reader.entries(node)
    item.path.mkdir()
    return [_Item(entry.cid, item.path / entry.name, item.depth + 1) for entry in entries]


async def _write_file(reader: DagReader, node: Node, path: Path) -> None:
    with path.open("xb", buffering=0) as file:

        async def sink(data: bytes) -> None:
            if len(data) > _WRITE_IN_THREAD_BYTES:
                await in_thread(_write_all, file, data)
            else:
                _write_all(file, data)

        await reader.stream(node, sink)


def _write_error(destination: Path, error: OSError) -> HypernodeError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return TransientError(f"{destination} can't be written: {error.strerror}; free some space or mend the disk.")
    if error.errno == errno.ENAMETOOLONG:
        return ContentInvalid(f"The content for {destination} has longer paths than this system allows.")
    return ConfigError(f"{destination} can't be written: {error.strerror}; choose a folder that exists and is yours.")


def _must_be_free(path: Path) -> None:
    if path.is_symlink() or path.exists():
        raise ConfigError(f"{path} exists already; choose another place or remove it.")


def _place(partial: Path, destination: Path) -> None:
    _must_be_free(destination)
    partial.rename(destination)


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
