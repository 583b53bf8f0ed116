"""Results on their way to where others can fetch them: a few at a time, tried again until they are confirmed.

The content store remembers what waits, so a restart goes on where a kill came between. Whoever waits for an upload may
leave: the upload goes on, until it is confirmed or dropped.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

from hypernode_worker.core.events import WarningRaised
from hypernode_worker.core.ports import ContentStore
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, HypernodeError, PermanentError, TransientError
from hypernode_worker.node.announcer import Announcer
from hypernode_worker.node.backoff import Backoff

log = logging.getLogger(__name__)

AT_ONCE = 2
MOST_PAUSE_S = 60.0
FAILURES_TO_REFUSE = 3
"""So many failures in a row of one upload, and no job is claimed: its result would only wait as well."""
_PROBE = b"hypernode-worker was here, to see whether results can be uploaded again.\n"


class Uploads:
    """The queue of uploads. `async with`: leaving it ends what is going on, for a later process to take up."""

    def __init__(self, store: ContentStore, announce: Announcer) -> None:
        self._store = store
        self._announce = announce
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[Cid, asyncio.Task[None]] = {}
        self._probing: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._told = ""

    def __len__(self) -> int:
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        for cid in await self._store.unpublished():
            self._begin(cid)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks:
            self._announce(WarningRaised(f"Results not uploaded yet: {len(self._tasks)}; the next start goes on."))
        tasks = [*self._tasks.values(), *([self._probing] if self._probing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def confirmed(self, cid: Cid) -> None:
        """Until others can fetch it. Raises PermanentError when that can't come to be."""
        await asyncio.shield(self._tasks.get(cid) or self._begin(cid))

    async def drop(self, cid: Cid) -> None:
        """It isn't wanted any more: nobody was told of this CID."""
        task = self._tasks.get(cid)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._store.withdraw(cid)
        if self._trouble is not None and not self._tasks and self._probing is None:
            self._probing = asyncio.create_task(self._probe(), name="probe the content store")

    def refuses(self) -> str | None:
        """Why no job should be claimed now; None while uploads go through."""
        return self._trouble

    def _begin(self, cid: Cid) -> asyncio.Task[None]:
        task = asyncio.create_task(self._upload(cid), name=f"upload {cid}")
        self._tasks[cid] = task
        task.add_done_callback(lambda done: self._ended(cid, done))
        return task

    def _ended(self, cid: Cid, task: asyncio.Task[None]) -> None:
        del self._tasks[cid]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("The upload of %s was given up: %s", cid, error)

    async def _upload(self, cid: Cid) -> None:
        backoff = Backoff(first_s=1.0, most_s=MOST_PAUSE_S)
        while True:
            try:
                async with self._places:
                    await self._store.publish(cid)
            except (TransientError, ConfigError) as error:
                # Credentials too: a service that refuses them now may take them later, and a restart may bring others.
                delay = backoff.failed(error)
                log.warning("The upload of %s failed (again in %.0f s): %s", cid, delay, error)
                if backoff.failures >= FAILURES_TO_REFUSE:
                    self._failing(error)
                await asyncio.sleep(delay)
            except PermanentError:
                await self._store.withdraw(cid)
                raise
            else:
                self._trouble, self._told = None, ""
                return

    def _failing(self, error: HypernodeError) -> None:
        self._trouble = f"Uploads: {error} No job is taken until a result could be uploaded."
        if type(error).__name__ != self._told:
            self._told = type(error).__name__
            self._announce(WarningRaised(self._trouble))

    async def _probe(self) -> None:
        """Where nothing is left to upload, something small finds out when the store is well again."""
        while self._trouble is not None:
            await asyncio.sleep(MOST_PAUSE_S)
            try:
                await self._store.add_bytes(_PROBE)
            except HypernodeError as error:
                log.info("Uploads still fail: %s", error)
            else:
                self._trouble, self._told = None, ""
        self._probing = None
