"""DiskKeeper: keeps a worker within its quota, and the disk's reserve free.

What it may give up goes by last use, the longest unused first: images that this worker pulled, blocks that it fetched,
results of runs that are over, folders that runs have left. Never what a running or unsettled job needs, and never what
the user added. When that isn't enough, no job is claimed; and when running jobs fill the disk all the same, the
youngest of them is given back before all of them fail.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from hypernode_worker.core.foreign_tree import walk_tree
from hypernode_worker.core.ports import Hardware, Keeper, Kept
from hypernode_worker.errors import HypernodeError
from hypernode_worker.frameworks import image_of
from hypernode_worker.node.job_handler import JobHandler
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.run_folder import delete_run_folder, run_folders, run_name

log = logging.getLogger(__name__)

LOOK_S = 2.0
BALLAST_BYTES = 4 << 20
MORE = 1.1
"""When room is made, it is made for a tenth more, so that it isn't needed again at once."""


class DiskKeeper:
    """What this worker takes of the disk.

    Attributes:
        used_bytes: as last measured; None while there is no quota.
    """

    def __init__(
        self,
        context: RunContext,
        hardware: Hardware,
        keepers: Sequence[Keeper],
        running: Callable[[], Iterable[JobHandler]],
    ) -> None:
        self._context = context
        self._hardware = hardware
        self._running = running
        self._folders = RunFolders(context.settings.data_dir)
        self._ballast = context.settings.data_dir / "ballast"
        self._keepers: tuple[Keeper, ...] = (*keepers, self._folders)
        self.used_bytes: int | None = None

    def refuses(self) -> str | None:
        """Why no job should be claimed now; None when there is room."""
        settings = self._context.settings
        quota, free = settings.disk_quota_bytes, self._hardware.disk_free()
        if free < settings.disk_reserve_bytes:
            return (
                f"Disk: only {free >> 20} MiB are free, the reserve is {settings.disk_reserve_bytes >> 20}; make room. "
                "No job is taken until then."
            )
        if quota is not None and self.used_bytes is not None and self.used_bytes > quota:
            return (
                f"Disk quota: {self.used_bytes >> 20} of {quota >> 20} MiB are in use and all of it is needed; raise "
                "DISK_QUOTA. No job is taken until then."
            )
        return None

    async def make_room(self) -> None:
        """Measures, and gives up what may go while there is too much. What fails is logged."""
        settings = self._context.settings
        reserve, quota = settings.disk_reserve_bytes, settings.disk_quota_bytes
        try:
            if quota is not None:
                self.used_bytes = await self._measure()
                over = self.used_bytes - quota
                if over > 0:
                    await self._evict(int(over + quota * (MORE - 1)), "the quota")
                    self.used_bytes = await self._measure()
            free = self._hardware.disk_free()
            if free < reserve:
                await self._evict(int(reserve * MORE) - free, "the reserve", disk=settings.data_dir)
            self._hold_ballast()
        except (HypernodeError, OSError) as error:
            log.warning("No room could be made on the disk: %s", error)

    async def watch_runs(self) -> None:
        """Until the worker gives running jobs up: keeps room for the journal, ends a run before the disk is full."""
        self._hold_ballast()
        while not await self._context.stop.wait_now(LOOK_S):
            if self._hardware.disk_free() < BALLAST_BYTES:
                self._ballast.unlink(missing_ok=True)
            runs = [handler for handler in self._running() if not handler.given_up]
            if not runs or not self._is_critical():
                continue
            await self.make_room()
            if self._is_critical():
                runs[-1].give_up("The node's disk is full.")

    def _hold_ballast(self) -> None:
        """Allocates a file to be deleted when the disk is full: what isn't in the journal isn't sent, and so a job
        couldn't even be given back."""
        enough = self._hardware.disk_free() >= self._context.settings.disk_reserve_bytes + BALLAST_BYTES
        if enough and not self._ballast.exists():
            with suppress(OSError), self._ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)

    def _is_critical(self) -> bool:
        dropped = 0 if self._ballast.exists() else BALLAST_BYTES  # what that won is for the journal
        return self._hardware.disk_free() - dropped < self._context.settings.disk_reserve_bytes // 4

    async def _measure(self) -> int:
        return sum([await keeper.used_bytes() for keeper in self._keepers])

    async def _evict(self, lack: int, why: str, *, disk: Path | None = None) -> None:
        """Gives up what is worth `lack` bytes; with `disk`, only what lies on that one."""
        needed = self._needed()
        found: list[tuple[Kept, Keeper]] = []
        for keeper in self._keepers:
            for kept in await keeper.evictable(needed):
                if disk is None or _same_disk(kept.place, disk):
                    found.append((kept, keeper))
        chosen: dict[Keeper, list[str]] = {}
        for kept, keeper in sorted(found, key=lambda pair: pair[0].used_at):
            if lack <= 0:
                break
            chosen.setdefault(keeper, []).append(kept.name)
            lack -= kept.bytes
            log.info("To keep %s, this goes: %s (%d MiB)", why, kept.name, kept.bytes >> 20)
        for keeper, names in chosen.items():
            await keeper.evict(names, self._needed())

    def _needed(self) -> frozenset[str]:
        """Images, roots and folders of runs that aren't over, as the keepers name them."""
        needed: set[str] = set()
        for handler in self._running():
            definition, record = handler.definition, handler.book.record
            needed |= {str(record.definition_cid), str(definition.files), run_name(record.job, record.run)}
            needed.add(image_of(definition, self._context.settings.images))
            if handler.work.image is not None:
                needed.add(handler.work.image.resolved)
        for record in self._context.journal.open_runs():
            needed |= {str(record.definition_cid), str(record.result_cid), run_name(record.job, record.run)}
            image = record.detail.get("image")
            if isinstance(image, dict):
                needed |= {str(name) for name in cast("dict[str, object]", image).values()}
        return frozenset(needed)


class RunFolders:
    """Keeper of the folders of runs: those that a run has left because they couldn't be deleted then."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    async def used_bytes(self) -> int:
        return await asyncio.to_thread(lambda: sum(_tree_bytes(folder) for folder in run_folders(self._data_dir)))

    async def evictable(self, needed: frozenset[str]) -> Sequence[Kept]:
        return await asyncio.to_thread(self._left, needed)

    async def evict(self, names: Sequence[str], needed: frozenset[str]) -> None:
        for folder in run_folders(self._data_dir):
            if folder.name in names and folder.name not in needed:
                await asyncio.to_thread(delete_run_folder, folder)

    def _left(self, needed: frozenset[str]) -> list[Kept]:
        left: list[Kept] = []
        for folder in run_folders(self._data_dir):
            if folder.name not in needed:
                with suppress(FileNotFoundError):
                    left.append(Kept(folder.name, _tree_bytes(folder), folder.stat().st_mtime, folder))
        return left


def _tree_bytes(folder: Path) -> int:
    total = 0
    for _, entry in walk_tree(folder):
        with suppress(OSError):
            total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _same_disk(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False
