"""What is kept on disk, and may be dropped when there is too little room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Kept:
    """Something on a disk that may go: it can be had again, or nobody waits for it any more.

    Attributes:
        name: by which its keeper knows it.
        bytes: what is won at most when it goes.
        used_at: unix seconds of its last use, as far as known.
        place: a folder of the disk that it lies on.
    """

    name: str
    bytes: int
    used_at: float
    place: Path


class Keeper(Protocol):
    """A part of the program that keeps what it fetched or made: images, blocks. Every call may be repeated."""

    async def used_bytes(self) -> int:
        """All that it has put on the disk, also what may not go."""
        ...

    async def evictable(self, needed: frozenset[str]) -> Sequence[Kept]:
        """What may go, without what is needed: images by name or digest, content by its root's CID."""
        ...

    async def evict(self, names: Sequence[str], needed: frozenset[str]) -> None:
        """Deletes what `evictable` has named; what has come into use meanwhile stays."""
        ...
