"""Content on IPFS."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from hypernode_worker.core.types import Cid


class Reach(StrEnum):
    """Who can fetch what a store holds."""

    MACHINE = "machine"  # processes of this user on this machine
    NETWORK = "network"  # anyone on IPFS


class ContentStore(Protocol):
    """IPFS as one store: where writes go, and every place reads may come from. Every call may be repeated.

    All bytes handed out have been verified against the CID, block by block, and are bounded while streaming.
    """

    @property
    def reach(self) -> Reach:
        """Who can fetch what is added here."""
        ...

    @property
    def description(self) -> str:
        """Where writes go and reads come from, for people; no secrets."""
        ...

    async def add_bytes(self, data: bytes) -> Cid:
        """Adds one file of these bytes. Returns once the store has confirmed the CID (pinned where it can pin)."""
        ...

    async def add_path(self, path: Path) -> Cid:
        """Adds a file or a directory (names sorted; symbolic links and special files are refused: ContentInvalid).

        Returns once the store has confirmed the CID.
        """
        ...

    async def import_path(self, path: Path) -> Cid:
        """The first half of add_path: cuts, hashes and keeps the content on this machine's disk, and nothing more.

        It waits for `publish` then, also in a later process. Raises TransientError when the disk is full.
        """
        ...

    async def publish(self, cid: Cid) -> None:
        """The second half: sends what lies here to where others can fetch it, and returns once that is confirmed.

        Kubo must list the pin, a pinning service must answer with this CID; with reach MACHINE there is nothing to do.
        Raises TransientError, ConfigError (credentials), ContentInvalid (its blocks are no longer whole here).
        """
        ...

    async def unpublished(self) -> Sequence[Cid]:
        """What was imported and is neither published nor withdrawn: what a killed process left to do."""
        ...

    async def withdraw(self, cid: Cid) -> None:
        """It needn't be published any more."""
        ...

    async def has(self, cid: Cid) -> bool:
        """The store that writes go to holds all of this DAG (and pins it where it can)."""
        ...

    async def read(self, cid: Cid, *, max_bytes: int, timeout_s: float) -> bytes:
        """The bytes of one file. Raises ContentNotFound, ContentInvalid, ContentTooLarge."""
        ...

    async def fetch(self, cid: Cid, destination: Path, *, max_bytes: int, max_files: int, timeout_s: float) -> None:
        """Writes a file or directory to `destination`, which must not exist; leaves nothing there on failure.

        Names that would leave the directory ('..', '/', NUL) are refused with ContentInvalid.
        """
        ...

    async def check(self) -> str:
        """Writes a small file, reads it back, and says in one sentence what was seen (for `test`)."""
        ...

    async def close(self) -> None: ...
