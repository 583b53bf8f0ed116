"""NodeManager: starts a worker's loops, and ends them in order. Each loop is in a file of its own.

Stopping: the first request drains (nothing new is taken, runs go on to their end, signs of life too), the second gives
running jobs up: their containers are stopped and the jobs released. Settling what has ended goes on either way, outside
any cancellation, for settle_timeout_s at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Market
from hypernode_worker.core.events import (
    HealthStarted,
    Listener,
    NodeDeregistered,
    PollingStarted,
    StakeVerified,
    WalletConnected,
    WarningRaised,
    WorkerDraining,
    WorkerStarted,
    WorkerStopped,
)
from hypernode_worker.core.ports import Clock, ContainerProvider, ContentStore, Hardware, Journal, Keeper, NodeChain
from hypernode_worker.core.stake import counted_stake, required_stake, stake_missing
from hypernode_worker.errors import ConfigError, HypernodeError, PermanentError
from hypernode_worker.node.announcer import Announcer
from hypernode_worker.node.backoff import persist
from hypernode_worker.node.clocks import ChainClock, SystemClock, follow_chain_time
from hypernode_worker.node.control_server import Command, control_server
from hypernode_worker.node.disk_keeper import DiskKeeper
from hypernode_worker.node.dispatcher import Dispatcher
from hypernode_worker.node.fee_budget import FeeBudget
from hypernode_worker.node.health_handler import HealthHandler
from hypernode_worker.node.job_board import FETCHERS, JobBoard
from hypernode_worker.node.job_watch import watch_for_jobs
from hypernode_worker.node.lock import only_worker
from hypernode_worker.node.market_watch import MarketWatch, enter_market
from hypernode_worker.node.reconcile import Reconciler
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.settings import WorkerSettings
from hypernode_worker.node.settling import Settling
from hypernode_worker.node.specs_handler import SpecsHandler
from hypernode_worker.node.status import worker_jobs, worker_status
from hypernode_worker.node.stopping import StopSignal
from hypernode_worker.node.uploads import Uploads

log = logging.getLogger(__name__)

START_ATTEMPTS = 5
"""Of each step of the start: about eight seconds in all."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Parts:
    """What runs once the start is over."""

    context: RunContext
    board: JobBoard
    health: HealthHandler
    market: MarketWatch
    settling: Settling
    dispatcher: Dispatcher


class NodeManager:
    """A worker. `run` may be awaited once."""

    def __init__(
        self,
        *,
        chain: NodeChain,
        store: ContentStore,
        provider: ContainerProvider,
        hardware: Hardware,
        journal: Journal,
        settings: WorkerSettings,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
        keepers: Sequence[Keeper] = (),
        fees_since: Callable[[float], int] | None = None,
    ) -> None:
        """fees_since: lamports that this wallet's transactions have cost after a unix time; None: the journal knows."""
        self._chain = chain
        self._store = store
        self._provider = provider
        self._hardware = hardware
        self._journal = journal
        self._settings = settings
        self._clock = clock or SystemClock()
        self._announce = Announcer(listeners)
        self._keepers = (*keepers, *([provider.keeper] if provider.keeper else []))
        self._stop = StopSignal()
        self._budget = FeeBudget(fees_since or journal.fees_since, lamports_a_day=settings.fee_budget_lamports)
        self._deregister = settings.deregister_on_stop
        self._parts: _Parts | None = None
        self._started_at = 0.0
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Until stopped. Cancelling it stops at once, but still settles what has ended.

        Raises:
            ConfigError: a setting, the wallet's balance, or another worker with this key.
            HypernodeError: the start failed: chain, content store or container runtime.
        """
        worker = asyncio.create_task(self._locked(), name="worker")
        try:
            await asyncio.shield(worker)
        except asyncio.CancelledError:
            self._stop.now()
            await asyncio.wait([worker], timeout=self._settings.settle_timeout_s + self._settings.stop_grace_s)
            worker.cancel()
            await asyncio.wait([worker])
            raise

    def request_stop(self, *, now: bool = False, deregister: bool = False) -> None:
        """First: drain. Again, or `now`: give running jobs up. May be called from a signal handler of the loop.

        `deregister`: the node's registration is given up in the end, as with the setting.
        """
        self._deregister = self._deregister or deregister
        if now or self._stop.draining:
            self._stop.now()
        else:
            self._stop.drain()

    def is_well(self) -> bool:
        """False: it has lost its way, and only a restart can help."""
        return self._parts is None or self._parts.health.is_well(busy=bool(self._parts.dispatcher.running))

    def status(self) -> dict[str, object]:
        """What `status` shows; while starting, only that."""
        if self._parts is None:
            return {"state": "starting", "wallet": str(self._chain.wallet), "market": str(self._settings.market)}
        parts, uptime_s = self._parts, asyncio.get_running_loop().time() - self._started_at
        return worker_status(
            parts.context, parts.dispatcher, parts.health, parts.board, parts.settling, uptime_s=uptime_s
        )

    async def _locked(self) -> None:
        self._started_at = asyncio.get_running_loop().time()
        with only_worker(self._settings.data_dir, self._chain.wallet):
            self._chain.log_transactions(self._journal)
            try:
                async with control_server(self._settings.data_dir, self._commands()):
                    await self._work(*await self._start())
            finally:
                self._chain.log_transactions(None)
        if self._failure is not None:
            raise self._failure

    async def _start(self) -> tuple[RunContext, Market | None, int]:
        """The seed's start-up, in its order."""
        settings, chain = self._settings, self._chain
        payout = settings.payout or chain.wallet
        specs = SpecsHandler(
            chain=chain,
            store=self._store,
            provider=self._provider,
            hardware=self._hardware,
            settings=settings,
            announce=self._announce,
        )
        host = await specs.detect()
        # A worker that was restarted may hold jobs: one lost request must not end it.
        (market, ending), balance, time = await _persist(
            lambda: asyncio.gather(enter_market(chain, settings.market), chain.balance(chain.wallet), chain.time())
        )
        self._announce(WalletConnected(chain.wallet, balance, payout))
        if balance < settings.balance_floor_lamports and not await self._holds_jobs():
            raise ConfigError(
                f"The wallet {chain.wallet} holds {balance} lamports, too few for fees: send it at least "
                f"{settings.balance_floor_lamports} ('hypernode-worker key airdrop' where there is a faucet)."
            )
        chain_clock = ChainClock()
        chain_clock.see(time)
        if market is not None:
            await _persist(lambda: self._verify_stake(market))
            node = await _persist(lambda: specs.register(market, host, payout))
        else:
            assert ending is not None  # one of them is given
            node = ending
        context = RunContext(
            chain=chain,
            store=self._store,
            uploads=Uploads(self._store, self._announce),
            provider=self._provider,
            journal=self._journal,
            clock=self._clock,
            chain_clock=chain_clock,
            settings=settings,
            announce=self._announce,
            stop=self._stop,
            node=node,
            host=host,
        )
        return context, market, balance

    async def _holds_jobs(self) -> bool:
        """A wallet that is too poor for new jobs may have enough to bring to their end those that it holds."""
        node = await self._chain.node_of(self._settings.market, self._chain.wallet)
        return node is not None and node.open_jobs > 0

    async def _verify_stake(self, market: Market) -> None:
        required = required_stake(market.terms)
        node = await self._chain.node_of(market.address, self._chain.wallet) if required else None
        self._announce(StakeVerified(counted_stake(node), required))
        if missing := stake_missing(market, node):
            self._announce(WarningRaised(missing))

    async def _work(self, context: RunContext, market: Market | None, balance: int) -> None:
        settings = self._settings
        board = JobBoard(context)
        disk = DiskKeeper(context, self._hardware, self._keepers, lambda: list(dispatcher.running.values()))
        health = HealthHandler(context, self._hardware, budget=self._budget, disk=disk, balance_lamports=balance)
        watch, settling = MarketWatch(context, market), Settling(context)
        async with context.uploads, asyncio.TaskGroup() as group:
            dispatcher = Dispatcher(context, board, settling, watch, health, group)
            self._parts = _Parts(context, board, health, watch, settling, dispatcher)
            reconciler = Reconciler(context, dispatcher, settling)
            await self._guard("reconcile", _persist(lambda: reconciler.look(context.node.open_jobs)))
            loops: list[tuple[str, Coroutine[object, object, None]]] = [
                ("watch for jobs", watch_for_jobs(context, board)),
                *((f"definitions {number}", board.fetch()) for number in range(FETCHERS)),
                ("dispatch", dispatcher.dispatch()),
                ("settling", settling.settle()),
                ("reconcile", reconciler.watch()),
                ("market", watch.watch()),
                ("health", health.watch()),
                ("disk", disk.watch_runs()),
                ("chain time", follow_chain_time(self._chain, context.chain_clock, self._clock, self._stop)),
            ]
            for name, loop in loops:
                group.create_task(self._guard(name, loop), name=name)
            self._announce(PollingStarted())
            self._announce(HealthStarted(settings.health_interval_s))
            self._announce(WorkerStarted(settings.auto_accept, dispatcher.capacity))
            await self._stop.wait()
            await self._end(context, dispatcher)
            await self._leave_market(context)
            self._stop.now()  # what went on while draining ends, too
        counts = dispatcher.counts
        self._announce(WorkerStopped(counts.settled, counts.released))

    async def _end(self, context: RunContext, dispatcher: Dispatcher) -> None:
        """Waits for runs to end by themselves, then for them to be given up, then no longer."""
        self._announce(WorkerDraining(len(dispatcher.running), False))
        idle = asyncio.create_task(dispatcher.until_idle(), name="until idle")
        now = asyncio.create_task(self._stop.wait_now(), name="until now")
        try:
            await asyncio.wait([idle, now], timeout=self._settings.drain_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not idle.done():
                self._stop.now()
                self._announce(WorkerDraining(len(dispatcher.running), True))
                await asyncio.wait([idle], timeout=self._settings.settle_timeout_s + self._settings.stop_grace_s)
            if not idle.done():
                left = ", ".join(str(address) for address in dispatcher.running)
                self._announce(
                    WarningRaised(f"These jobs couldn't be settled in time, a restart takes them up: {left}.")
                )
                dispatcher.cancel()
        finally:
            idle.cancel()
            now.cancel()
            await asyncio.wait([idle, now])

    async def _leave_market(self, context: RunContext) -> None:
        """Gives the registration up where that was asked for. What the program refuses is said."""
        if not self._deregister or self._failure is not None:
            return
        try:
            async with asyncio.timeout(self._settings.settle_timeout_s):
                receipt = await context.chain.deregister_node(self._settings.market)
        except (HypernodeError, TimeoutError) as error:
            self._announce(
                WarningRaised(
                    f"The node stays registered ({error or 'the chain was silent'}); "
                    "try 'hypernode-worker node deregister' later."
                )
            )
        else:
            self._announce(NodeDeregistered(context.node.address, receipt.signature))

    async def _guard(self, name: str, loop: Coroutine[object, object, None]) -> None:
        """A loop that fails ends the worker in order, instead of cancelling runs that hold jobs."""
        try:
            await loop
        except Exception as error:
            log.exception("The loop %r failed", name)
            self._failure = self._failure or error
            self._stop.now()

    def _commands(self) -> Mapping[str, Command]:
        async def status(_: Mapping[str, object]) -> dict[str, object]:
            return self.status()

        async def stop(arguments: Mapping[str, object]) -> dict[str, object]:
            self.request_stop(now=arguments.get("now") is True, deregister=arguments.get("deregister") is True)
            return self.status()

        async def jobs(_: Mapping[str, object]) -> dict[str, object]:
            parts = self._running()
            return worker_jobs(parts.context, parts.dispatcher, parts.board)

        async def take(arguments: Mapping[str, object]) -> dict[str, object]:
            dispatcher = self._running().dispatcher
            try:
                address = Pubkey.from_string(str(arguments.get("job")))
            except ValueError:
                raise PermanentError(f"{str(arguments.get('job'))[:80]!r} is no address of a job.") from None
            job = await dispatcher.take(address)
            return {"job": str(job.address), "price": job.price, "timeout_s": job.timeout}

        return {"status": status, "stop": stop, "jobs": jobs, "take": take}

    def _running(self) -> _Parts:
        if self._parts is None:
            raise PermanentError("The worker is still starting; try again in a moment.")
        return self._parts


async def _persist(attempt: Callable[[], Awaitable[T]]) -> T:
    return await persist(attempt, attempts=START_ATTEMPTS, first_s=0.5)
