"""Gives offers to handlers while there is room, and keeps the count of what became of them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import cast

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job
from hypernode_worker.core.outcome import Effect, RunOutcome
from hypernode_worker.core.runs import RunRecord
from hypernode_worker.errors import HypernodeError, PermanentError
from hypernode_worker.node.health_handler import HealthHandler
from hypernode_worker.node.job_board import JobBoard
from hypernode_worker.node.job_handler import JobHandler
from hypernode_worker.node.market_watch import MarketWatch
from hypernode_worker.node.offer import Offer
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.settling import Settling
from hypernode_worker.node.specs_handler import usable_gpus
from hypernode_worker.node.stopping import wait_for_event

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 10.0


@dataclass(slots=True)
class Counts:
    """What became of runs since the worker started."""

    settled: int = 0
    failed: int = 0
    released: int = 0
    lost: int = 0
    not_claimed: int = 0


class Dispatcher:
    """Owns the running handlers. `capacity` is the node's, as the market has it."""

    def __init__(
        self,
        context: RunContext,
        board: JobBoard,
        settling: Settling,
        market: MarketWatch,
        health: HealthHandler,
        group: asyncio.TaskGroup,
    ) -> None:
        self._context = context
        self._board = board
        self._settling = settling
        self._market = market
        self._health = health
        self._group = group
        self._wake = board.changed
        self._gpus: dict[Pubkey, tuple[str, ...]] = {}
        self.capacity = context.node.capacity
        self._tasks: set[asyncio.Task[None]] = set()
        self.running: dict[Pubkey, JobHandler] = {}
        self.counts = Counts()

    async def dispatch(self) -> None:
        """Starts the best offers until the worker drains; with AUTO_ACCEPT off it waits for `take`."""
        context = self._context
        with context.stop.listening(self._wake.set):
            while not context.stop.draining:
                self._wake.clear()
                offer = self._next()
                if offer is not None:
                    self.start(offer)
                    continue
                await wait_for_event(self._wake, self._pause())

    def refuses(self) -> str | None:
        """Why no job is taken now; None when nothing speaks against it."""
        return self._market.refuses() or self._health.refuses() or self._context.uploads.refuses()

    async def until_idle(self) -> None:
        """Until no handler is running."""
        with self._context.stop.listening(self._wake.set):
            while self.running:
                self._wake.clear()
                await self._wake.wait()

    async def take(self, address: Pubkey) -> Job:
        """Starts one job that the operator named.

        Raises:
            PermanentError, TransientError: why it can't be taken.
        """
        if self._context.stop.draining:
            raise PermanentError("The worker is ending and takes no more jobs.")
        if address in self.running:
            raise PermanentError(f"Job {address} is running here already.")
        if len(self.running) >= self.capacity:
            raise PermanentError(f"All {self.capacity} places are taken; wait for a job to end, or raise CAPACITY.")
        refusal = self.refuses()
        if refusal is not None:
            raise PermanentError(refusal)
        offer = await self._board.examine(address)
        self._board.take(address)
        self.start(offer)
        return offer.job

    def start(self, offer: Offer, held: RunRecord | None = None, *, attached: bool = False) -> None:
        """Runs a handler for an offer, or for a run that was held before a restart."""
        address = offer.job.address
        if address in self.running:
            return
        gpus = (_gpus_of(held) if attached else None) or self._assign_gpus(offer)
        handler = JobHandler(self._context, offer, gpus=gpus, held=held)
        if held is not None:
            handler.resume(held, attached=attached)
        self.running[address] = handler
        self._gpus[address] = gpus
        task = self._group.create_task(self._run(offer, handler), name=f"run {address}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """The last resort, when settling takes too long: what is held stays held on chain, for the next start."""
        for task in self._tasks:
            task.cancel()

    def _next(self) -> Offer | None:
        if not self._context.settings.auto_accept or len(self.running) >= self.capacity or not self._board.ready:
            return None
        refusal = self.refuses()
        if refusal is not None:
            log.debug("No job is taken: %s", refusal)
            return None
        return self._board.best()

    def _pause(self) -> float | None:
        """How long to wait when nothing happens: a claim window may open, or the wallet be filled up."""
        if not self._board.ready or not self._context.settings.auto_accept:
            return None
        if len(self.running) >= self.capacity:
            return None
        if self.refuses() is not None:
            return LOOK_AGAIN_S
        return self._board.opens_in()

    async def _run(self, offer: Offer, handler: JobHandler) -> None:
        address = offer.job.address
        try:
            report = await handler.run()
        except HypernodeError as error:
            log.warning("The run of %s ended: %s", address, error)
            self.counts.lost += 1
        except Exception:  # a bug in one run must not be the end of the others
            log.exception("The run of %s failed", address)
            self.counts.lost += 1
        else:
            self._count(report.outcome)
            self._market.claim_was_refused(report.refused)
            if report.due is not None:
                self._settling.add(report.due)
            if report.outcome.effect is not Effect.FINISH and not await self._too_early(offer, report.refused):
                self._board.leave(handler.job or offer.job)
        finally:
            del self.running[address]
            del self._gpus[address]
            self._wake.set()

    async def _too_early(self, offer: Offer, refused: str) -> bool:
        """Whether the claim came before its window, because the chain's slots are longer than the clock here thinks.
        Then the clock is set, and the offer waits for its slot instead of resting like a lost one."""
        if refused != "WindowNotOpen":
            return False
        try:
            self._context.chain_clock.see(await self._context.chain.time())
        except HypernodeError as error:
            log.warning("The chain's time couldn't be read: %s", error)
            return False
        return self._board.too_early(offer)

    def _count(self, outcome: RunOutcome) -> None:
        counts = self.counts
        match outcome.effect:
            case Effect.FINISH:
                counts.settled += 1
                counts.failed += outcome is not RunOutcome.COMPLETED
            case Effect.RELEASE:
                counts.released += 1
            case Effect.NONE:
                counts.not_claimed += outcome is RunOutcome.NOT_CLAIMED
                counts.lost += outcome is not RunOutcome.NOT_CLAIMED

    def _assign_gpus(self, offer: Offer) -> tuple[str, ...]:
        wanted = max(offer.job.requirements.gpu_count, offer.definition.on_chain().gpu_count)
        taken = {uuid for held in self._gpus.values() for uuid in held}
        free = [
            g.uuid for g in usable_gpus(self._context.host, self._context.provider.capabilities) if g.uuid not in taken
        ]
        return tuple(free[:wanted])


def _gpus_of(held: RunRecord | None) -> tuple[str, ...]:
    """The GPUs that a container from before the restart has; the others are free."""
    noted = held.detail.get("gpus") if held is not None else None
    return tuple(str(uuid) for uuid in cast("list[object]", noted)) if isinstance(noted, list) else ()
