"""Blocks from several places: here first, then a race of the others, one started after the other, best first."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, ContentNotFound, HypernodeError
from hypernode_worker.ipfs.blocks import EmbeddedStore
from hypernode_worker.ipfs.source import BlockSource, verify_block

HEAD_START_S = 0.3
"""How long a place may stay silent before the next is asked as well: twice its usual time, within these two."""
HEAD_START_MOST_S = 2.0
RACING = 24
"""Requests at once, over all blocks, beyond which a silent place gets no company."""
SHUN_S, SHUN_MOST_S = 60.0, 3_600.0
"""How long a place that gave wrong bytes isn't asked while there is another: doubled each time."""
SLOW_S, SLOW_MOST_S = 5.0, 300.0
"""How long a place that was down, busy or overtaken is asked after the others: doubled each time, until it delivers."""
_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _TimeOut:
    """Grows with each offence, but by one step for many at once. Jitter, so that places don't come back together."""

    first_s: float
    most_s: float
    until: float = 0.0
    offences: int = 0

    def offend(self, now: float) -> None:
        if now < self.until:
            return
        length_s = min(self.most_s, self.first_s * 2 ** min(self.offences, 16))
        self.offences += 1
        self.until = now + length_s * random.uniform(0.5, 1.0)  # noqa: S311 -- no secret


@dataclass(slots=True)
class _Remote:
    source: BlockSource
    shunned: _TimeOut = field(default_factory=lambda: _TimeOut(SHUN_S, SHUN_MOST_S))
    slow: _TimeOut = field(default_factory=lambda: _TimeOut(SLOW_S, SLOW_MOST_S))
    usual_s: float = 0.0
    last_failure: str = ""

    def turn(self, now: float) -> int:
        """0 is asked before 1; 2 only where there is no other."""
        return 2 if self.shunned.until > now else int(self.slow.until > now)

    def delivered(self, seconds: float) -> None:
        self.usual_s = seconds if not self.usual_s else 0.8 * self.usual_s + 0.2 * seconds
        self.slow.offences = 0


class LayeredSource:
    """A BlockSource over the embedded blocks and, when those miss, over remote ones; what it fetches it keeps.

    Asks until somebody answers: fresh content takes time to be found, so the caller's timeout is the end. Without
    remote sources a missing block is an answer at once.
    """

    label = "the content store"

    def __init__(self, local: EmbeddedStore, remotes: Sequence[BlockSource], *, head_start_s: float) -> None:
        self._local = local
        self._remotes = [_Remote(source) for source in remotes]
        self._head_start_s = head_start_s
        self._racing = 0
        self._flights: dict[Cid, asyncio.Task[bytes]] = {}
        self._waiting: dict[Cid, int] = {}

    async def block(self, cid: Cid) -> bytes:
        """One verified block. Callers that want the same block at once share one request."""
        data = await asyncio.to_thread(self._local.get, cid)
        if data is not None:
            return data
        if not self._remotes:
            raise ContentNotFound(f"{cid} isn't on this machine ({self._local.label}), and no gateway is set.")
        return await self._shared(cid)

    def failures(self) -> str:
        """What each remote place answered last, for the message that nothing was found."""
        return "; ".join(
            f"{remote.source.label}: {remote.last_failure}" for remote in self._remotes if remote.last_failure
        )

    async def _shared(self, cid: Cid) -> bytes:
        flight = self._flights.get(cid)
        if flight is None:
            flight = asyncio.create_task(self._fetch(cid), name=f"fetch {cid}")
            self._flights[cid] = flight
        self._waiting[cid] = self._waiting.get(cid, 0) + 1
        try:
            return await asyncio.shield(flight)
        finally:
            self._waiting[cid] -= 1
            if not self._waiting[cid]:
                del self._waiting[cid]
                self._flights.pop(cid, None)
                if not flight.done():
                    flight.cancel()
                await asyncio.gather(flight, return_exceptions=True)

    async def _fetch(self, cid: Cid) -> bytes:
        attempt = 0
        while True:
            data = await self._ask_all(cid)
            if data is not None:
                await asyncio.to_thread(self._local.cache, cid, data)
                return data
            await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
            attempt += 1

    async def _ask_all(self, cid: Cid) -> bytes | None:
        """Each place in turn; a silent one gets company after its head start. None when all have failed.

        Where several are silent, each next one waits twice as long: a slow network is no reason to ask everybody.
        """
        running: dict[asyncio.Task[bytes | None], _Remote] = {}
        clock = asyncio.get_running_loop().time
        waiting = self._in_order(clock())
        head_start_s = self._head_start_s
        try:
            while waiting or running:
                if waiting and (not running or self._racing < RACING):
                    remote = waiting.pop(0)
                    head_start_s = self._head_start(remote) * 2 ** len(running)
                    running[self._start(remote, cid)] = remote
                timeout = head_start_s if waiting else None
                done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    winner = running.pop(task)
                    data = task.result()
                    if data is not None:
                        self._overtaken(winner, running.values(), clock())
                        return data
            return None
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _in_order(self, now: float) -> list[_Remote]:
        """Whom to ask: those in good standing before the slow; liars only where nobody else is left."""
        trusted = [remote for remote in self._remotes if remote.turn(now) < 2]
        return sorted(trusted or self._remotes, key=lambda remote: remote.turn(now))

    def _head_start(self, remote: _Remote) -> float:
        return max(self._head_start_s, min(2 * remote.usual_s, HEAD_START_MOST_S))

    def _overtaken(self, winner: _Remote, others: Iterable[_Remote], now: float) -> None:
        """Whoever was asked before the winner and is still silent is slow."""
        for remote in others:
            if remote.turn(now) <= winner.turn(now):
                remote.slow.offend(now)

    def _start(self, remote: _Remote, cid: Cid) -> asyncio.Task[bytes | None]:
        task = asyncio.create_task(self._ask(remote, cid), name=f"ask {remote.source.label}")
        self._racing += 1
        task.add_done_callback(self._over)
        return task

    def _over(self, _: asyncio.Task[bytes | None]) -> None:
        self._racing -= 1

    async def _ask(self, remote: _Remote, cid: Cid) -> bytes | None:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            data = verify_block(cid, await remote.source.block(cid), remote.source.label)
        except ConfigError:
            raise
        except ContentInvalid as error:
            _log.warning("%s", error)
            remote.shunned.offend(clock())
            remote.last_failure = "gave wrong bytes"
        except HypernodeError as error:
            remote.last_failure = str(error)
            if not isinstance(error, ContentNotFound):
                remote.slow.offend(clock())
        else:
            remote.delivered(clock() - started)
            return data
        return None
