"""Who follows which container, and the watchdog over their workspaces."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypernode_worker.core.ports import ExitReason
from hypernode_worker.errors import PermanentError
from hypernode_worker.providers.docker_client import Stream
from hypernode_worker.providers.docker_engine import DockerEngine
from hypernode_worker.providers.docker_follow import DockerFollower
from hypernode_worker.providers.docker_settings import Watched, labels_in, watched_of

_log = logging.getLogger(__name__)

LEAST_LOOK_S = 0.25
MOST_LOOK_S = 1.0
"""Seconds between two looks at a workspace; a look that takes long is followed by a pause ten times as long."""


class DockerFollowers:
    """The followers of one provider, each container followed at most once. Used from one event loop."""

    def __init__(self, engine: DockerEngine, *, max_files: int) -> None:
        self._engine = engine
        self._max_files = max_files
        self._followers: dict[str, DockerFollower] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._looks = ThreadPoolExecutor(2, thread_name_prefix="workspace")

    def get(self, ident: str) -> DockerFollower | None:
        """Who follows this container; None too where the following broke and must begin anew."""
        follower = self._followers.get(ident)
        if follower is not None and follower.broken:
            self.drop(ident)
            return None
        return follower

    def adopt(self, found: dict[str, Any]) -> DockerFollower:
        """Follows a container that this provider didn't start, as the engine describes it; once."""
        ident = str(found["Id"])
        follower = self.get(ident)
        if follower is not None:
            return follower
        watched = watched_of(labels_in(found))
        if watched is None:
            raise PermanentError(f"container {ident[:12]} lacks the labels of this worker: remove it yourself")
        return self.follow(ident, watched, None)

    def follow(self, ident: str, watched: Watched, stream: Stream | None) -> DockerFollower:
        follower = DockerFollower(self._engine, ident, watched, max_files=self._max_files, stream=stream)
        self._followers[ident] = follower
        follower.begin()
        task = asyncio.create_task(self._watch(follower), name=f"watch-{ident[:12]}")
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)
        return follower

    def drop(self, ident: str) -> None:
        self._followers.pop(ident, None)

    async def close(self) -> None:
        """Stops following; the containers go on."""
        watches = list(self._watches)
        for task in watches:
            task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        followers = list(self._followers.values())
        self._followers.clear()
        for follower in followers:
            follower.close()
        for follower in followers:
            await asyncio.to_thread(follower.join, 5.0)
        self._looks.shutdown(wait=False, cancel_futures=True)

    async def _watch(self, follower: DockerFollower) -> None:
        """Looks at the workspace until the container has ended."""
        ended = follower.end()
        loop = asyncio.get_running_loop()
        watched = follower.watched
        pause = LEAST_LOOK_S
        while not (await asyncio.wait({ended}, timeout=pause))[0]:
            begun = loop.time()
            try:
                use = await loop.run_in_executor(self._looks, follower.measure)
                if use.over:
                    await self._engine.call(lambda _: follower.kill(ExitReason.WORKSPACE_FULL))
            except Exception as error:  # noqa: BLE001 -- whatever it was, the next look may succeed
                _log.debug("a look at the workspace of %s failed: %s", follower.ident[:12], error)
                continue
            nearly = use.bytes > watched.workspace_bytes // 2
            pause = max(LEAST_LOOK_S if nearly else min(2 * pause, MOST_LOOK_S), 10 * (loop.time() - begun))
