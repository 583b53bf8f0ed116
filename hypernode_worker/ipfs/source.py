"""Where blocks come from: one method, and the check that every answer passes."""

from __future__ import annotations

from typing import Protocol

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ContentInvalid
from hypernode_worker.ipfs.dagpb import MAX_BLOCK_BYTES


class BlockSource(Protocol):
    """Gives out verified blocks."""

    @property
    def label(self) -> str:
        """For people; no secrets."""
        ...

    async def block(self, cid: Cid) -> bytes:
        """The bytes whose sha2-256 is the CID's, at most MAX_BLOCK_BYTES. May be repeated.

        Raises ContentNotFound (it hasn't got it), EndpointDown, RateLimited, ContentInvalid (it gave wrong bytes).
        """
        ...


class Publisher(Protocol):
    """A place from which anyone can fetch what it was given."""

    @property
    def label(self) -> str: ...

    async def publish(self, root: Cid, blocks: BlockSource) -> None:
        """Sends the whole DAG and returns once the place has confirmed its CID. May be repeated."""
        ...

    async def holds(self, root: Cid) -> bool:
        """It keeps this DAG (pinned)."""
        ...


def verify_block(cid: Cid, data: bytes, label: str) -> bytes:
    """The same bytes, if they are those of the CID. Raises ContentInvalid."""
    if len(data) > MAX_BLOCK_BYTES or Cid.of(data, cid.codec) != cid:
        raise ContentInvalid(f"{label} answered other bytes than those of {cid}; they were thrown away.")
    return data
