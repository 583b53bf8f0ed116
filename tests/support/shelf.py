"""A place that results are uploaded to, in memory, which a test can break."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypernode_worker.core.types import Cid
from hypernode_worker.ipfs import EmbeddedStore, LayeredStore, car
from hypernode_worker.ipfs.source import BlockSource
from hypernode_worker.ipfs.unixfs import PROFILES


class Shelf:
    """A Publisher.

    Attributes:
        broken: what every upload raises; None: it works.
        seconds: how long an upload takes.
        tried, taken: roots of the uploads that began, and of those that were confirmed, in order.
    """

    label = "the shelf"

    def __init__(self) -> None:
        self.broken: Exception | None = None
        self.seconds = 0.1
        self.tried: list[Cid] = []
        self.taken: list[Cid] = []

    async def publish(self, root: Cid, blocks: BlockSource) -> None:
        self.tried.append(root)
        async for _ in car.stream(root, blocks):
            pass
        await asyncio.sleep(self.seconds)
        if self.broken is not None:
            raise self.broken
        self.taken.append(root)

    async def holds(self, root: Cid) -> bool:
        return root in self.taken


def store_with(shelf: Shelf | None, folder: Path) -> LayeredStore:
    """A store over the embedded blocks in `folder`, as a new process opens it."""
    return LayeredStore(EmbeddedStore(folder), PROFILES["kubo-cid-v1"], publisher=shelf, remotes=[])
