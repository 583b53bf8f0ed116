"""What may leave the embedded store when room is short: fetched blocks, and what a worker added and nobody waits for.

What the user added (`job post`) always stays. Of a worker's roots, those of runs that aren't settled stay (the caller
names them as needed), and those whose upload isn't confirmed. Blocks that several roots share go with the last of them.
Nothing goes that was used within YOUNG_S, for another process may be about to pin it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hypernode_worker.core.ports import Kept
from hypernode_worker.core.types import DAG_PB, Cid
from hypernode_worker.errors import ContentInvalid
from hypernode_worker.ipfs import dagpb
from hypernode_worker.ipfs.blocks import WORKER, EmbeddedStore, block_path, files_below

YOUNG_S = 3600.0
SLICES = 16
"""The cache is offered in so many slices by age, instead of block by block."""

_CACHE = "fetched until "


class BlockKeeper:
    """Keeper of an embedded store. It names a worker's roots by their CID, and slices of the cache by their time."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._parts = (store.added, store.fetched)

    async def used_bytes(self) -> int:
        return await asyncio.to_thread(lambda: sum(size for part in self._parts for _, size, _ in files_below(part)))

    async def evictable(self, needed: frozenset[str]) -> Sequence[Kept]:
        return await asyncio.to_thread(self._evictable, needed)

    async def evict(self, names: Sequence[str], needed: frozenset[str]) -> None:
        await asyncio.to_thread(self._evict, names, needed)

    def _evictable(self, needed: frozenset[str]) -> list[Kept]:
        limit = time.time() - YOUNG_S
        found: list[Kept] = []
        waiting = set(self._store.uploads())
        for root in self._store.pins():
            if str(root) not in needed and root not in waiting and self._store.pinned_by(root) == WORKER:
                blocks = [path for cid in self._reach([root]) if (path := block_path(self._store.added, cid)).exists()]
                used_at = max((_used_at(path) for path in (self._store.pin_path(root), *blocks[:1])), default=0.0)
                if used_at < limit:
                    size = sum(_size(path) for path in blocks)
                    found.append(Kept(str(root), size, used_at, self._store.folder))
        cached = sorted(entry for entry in files_below(self._store.fetched) if entry[0] < limit)
        step = max(1, -(-len(cached) // SLICES))
        for start in range(0, len(cached), step):
            part = cached[start : start + step]
            until = part[-1][0]
            found.append(Kept(f"{_CACHE}{until!r}", sum(size for _, size, _ in part), until, self._store.folder))
        return found

    def _evict(self, names: Sequence[str], needed: frozenset[str]) -> None:
        limit = time.time() - YOUNG_S
        until = max((float(name.removeprefix(_CACHE)) for name in names if name.startswith(_CACHE)), default=0.0)
        wanted = {block_path(self._store.fetched, Cid.parse(text)) for text in needed if _is_cid(text)}
        for used_at, _, path in files_below(self._store.fetched):
            if used_at <= min(until, limit) and path not in wanted:
                _delete(path)
        roots = [Cid.parse(name) for name in names if _is_cid(name) and name not in needed]
        waiting = set(self._store.uploads())
        for root in roots:
            if (
                root not in waiting
                and self._store.pinned_by(root) == WORKER
                and _used_at(self._store.pin_path(root)) < limit
            ):
                self._store.unpin(root)
        if roots:
            self._sweep(limit)

    def _sweep(self, limit: float) -> None:
        """Deletes added blocks that no pin needs: those of roots that were given up, or that were never whole."""
        kept = [*self._store.pins(), *self._store.uploads()]
        reached = {block_path(self._store.added, cid) for cid in self._reach(kept)}
        for used_at, _, path in files_below(self._store.added):
            if used_at < limit and path not in reached and _used_at(path) < limit:
                _delete(path)

    def _reach(self, roots: Iterable[Cid]) -> list[Cid]:
        """All blocks of these DAGs, as far as their nodes are here; the first one first.

        Raises OSError when a node is here but can't be read: then nothing can be called unneeded.
        """
        seen: dict[Cid, None] = dict.fromkeys(roots)
        waiting = list(seen)
        while waiting:
            cid = waiting.pop()
            if cid.codec != DAG_PB:
                continue
            try:
                links = dagpb.decode(block_path(self._store.added, cid).read_bytes()).links
            except (FileNotFoundError, ContentInvalid):
                continue
            for link in links:
                if link.cid not in seen:
                    seen[link.cid] = None
                    waiting.append(link.cid)
        return list(seen)


def _is_cid(text: str) -> bool:
    try:
        Cid.parse(text)
    except ValueError:
        return False
    return True


def _used_at(path: Path) -> float:
    """Unix seconds; infinity where it can't be told, so that it counts as young."""
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
