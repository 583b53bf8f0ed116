"""A worker with everything real but the wires: real program, mock containers, content in memory, virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import FLAG_NETWORK, Job, JobState, Market
from hypernode_worker.core.definition import JobDefinition
from hypernode_worker.core.events import Event, Listener, NodeRegistered, WorkerStarted
from hypernode_worker.core.manifest import MANIFEST, Manifest
from hypernode_worker.core.ports import ContainerProvider, ContentStore, HostSpecs, HostUsage, Keeper, Limits, Reach
from hypernode_worker.core.result_directory import verify_result
from hypernode_worker.core.types import DAG_PB, Cid
from hypernode_worker.errors import ContentInvalid, ContentNotFound, ContentTooLarge
from hypernode_worker.journal import SqliteJournal
from hypernode_worker.node.manager import NodeManager
from hypernode_worker.node.settings import WorkerSettings
from hypernode_worker.providers.mock import MockEngine, MockProvider, MockRun, succeed
from hypernode_worker.solana.client import SolanaClient
from tests.support.inprocess import START, InProcessChain
from tests.support.solana_flow import open_market

MIB = 1 << 20
LIMITS = Limits(memory_bytes=64 * MIB, cpus=1.0, pids=32, log_bytes=MIB, workspace_bytes=16 * MIB)
HOST = HostSpecs(
    cpu_model="Test CPU",
    cpu_cores=4,
    cpu_threads=8,
    memory_bytes=16 << 30,
    disk_bytes=100 << 30,
    os="Linux",
    kernel="6",
    arch="x86_64",
    gpus=(),
)
DEFINITION: dict[str, Any] = {
    "framework": "custom",
    "image": "busybox",
    "operations": [{"type": "run", "command": "echo hello"}],
    "timeout": 600,
}
_nonces = itertools.count(1)
E = TypeVar("E", bound=Event)


class MemoryStore:
    """A ContentStore in memory, without threads. Directories are remembered whole, under a CID of their listing.

    Attributes:
        faults: method name -> errors for its next calls.
        reach: who can fetch what is added.
        added: what was published, in order; `waiting` what was only imported.
    """

    def __init__(self) -> None:
        self.faults: dict[str, list[Exception]] = {}
        self.reach = Reach.NETWORK
        self.added: list[Cid] = []
        self.waiting: dict[Cid, None] = {}
        self._files: dict[Cid, bytes] = {}
        self._trees: dict[Cid, dict[str, bytes]] = {}

    @property
    def description(self) -> str:
        return "memory"

    def _fail(self, method: str) -> None:
        if pending := self.faults.get(method):
            raise pending.pop(0)

    async def add_bytes(self, data: bytes) -> Cid:
        self._fail("add_bytes")
        cid = Cid.of(data)
        self._files[cid] = data
        return cid

    async def add_path(self, path: Path) -> Cid:
        cid = await self.import_path(path)
        await self.publish(cid)
        return cid

    async def import_path(self, path: Path) -> Cid:
        self._fail("import_path")
        tree = _read_tree(path)
        listing = "\n".join(f"{name}:{hashlib.sha256(data).hexdigest()}" for name, data in tree.items())
        cid = Cid.of(listing.encode(), DAG_PB)
        self._trees[cid] = tree
        self.waiting[cid] = None
        return cid

    async def publish(self, cid: Cid) -> None:
        self._fail("publish")
        self.added.append(cid)
        self.waiting.pop(cid, None)

    async def unpublished(self) -> Sequence[Cid]:
        return tuple(self.waiting)

    async def withdraw(self, cid: Cid) -> None:
        self.waiting.pop(cid, None)

    async def has(self, cid: Cid) -> bool:
        return cid in self._files or cid in self._trees

    async def read(self, cid: Cid, *, max_bytes: int, timeout_s: float) -> bytes:
        self._fail("read")
        if cid not in self._files:
            await asyncio.sleep(timeout_s)
            raise ContentNotFound(f"Nobody had {cid} in {timeout_s} s.")
        if len(self._files[cid]) > max_bytes:
            raise ContentTooLarge(f"{cid} has more than {max_bytes} bytes.")
        return self._files[cid]

    async def fetch(self, cid: Cid, destination: Path, *, max_bytes: int, max_files: int, timeout_s: float) -> None:
        self._fail("fetch")
        if cid in self._files:
            _write_tree(destination.parent, {destination.name: self._files[cid]})
            return
        if cid not in self._trees:
            await asyncio.sleep(timeout_s)
            raise ContentNotFound(f"Nobody had {cid} in {timeout_s} s.")
        tree = self._trees[cid]
        if sum(map(len, tree.values())) > max_bytes or len(tree) > max_files:
            raise ContentTooLarge(f"{cid} has more than {max_bytes} bytes.")
        if any(".." in Path(name).parts for name in tree):
            raise ContentInvalid(f"{cid} leaves its directory.")
        _write_tree(destination, tree)

    async def check(self) -> str:
        return "memory"

    async def close(self) -> None: ...


def _read_tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def _write_tree(folder: Path, tree: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


class SteadyHardware:
    """A machine that never changes, unless a test says so."""

    def __init__(self) -> None:
        self.host = HOST
        self.now = HostUsage(0.1, 1 << 30, 16 << 30, 50 << 30, 100 << 30, ())

    async def specs(self) -> HostSpecs:
        return self.host

    async def usage(self) -> HostUsage:
        return self.now

    def disk_free(self) -> int:
        return self.now.disk_free_bytes


class LoopClock:
    """Wall time that follows the event loop's; a test may set it wrong with `ahead_s`."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_s = ahead_s

    def unix_time(self) -> float:
        return START + asyncio.get_running_loop().time() + self.ahead_s


@dataclass
class World:
    """One market, one client, and what workers are made of."""

    chain: InProcessChain
    market: Market
    client: SolanaClient
    store: MemoryStore | ContentStore
    data_dir: Path
    engine: MockEngine = field(default_factory=MockEngine)
    hardware: SteadyHardware = field(default_factory=SteadyHardware)
    behave: Callable[[Any], MockRun] = succeed
    runtime: ContainerProvider | None = None
    clock: LoopClock = field(default_factory=LoopClock)
    keepers: Sequence[Keeper] = ()

    @property
    def faults(self) -> dict[str, list[Exception]]:
        """Errors for the next calls of the store in memory, by method."""
        assert isinstance(self.store, MemoryStore)
        return self.store.faults

    async def post(
        self, definition: dict[str, Any] | bytes | None = None, *, price: int = 100, lost: bool = False, **changes: Any
    ) -> Job:
        """A queued job; `changes` replace fields of the plain definition. `lost`: nobody has its definition."""
        if isinstance(definition, bytes):
            data, parsed = definition, JobDefinition.from_dict(DEFINITION)
        else:
            parsed = JobDefinition.from_dict({**DEFINITION, **(definition or {}), **changes})
            data = parsed.to_bytes()
        cid = Cid.of(data) if lost else await self.store.add_bytes(data)
        address, _ = await self.client.create_job(
            self.market,
            nonce=next(_nonces),
            definition_cid=cid,
            price=price,
            timeout=parsed.timeout,
            requirements=parsed.on_chain(),
        )
        return await self.client.job(address)

    async def files(self, folder: Path, **content: str) -> Cid:
        _write_tree(folder, {name.replace("__", "."): text.encode() for name, text in content.items()})
        return await self.store.add_path(folder)

    async def until(self, job: Pubkey, *states: JobState, timeout_s: float = 600) -> Job:
        """The job once it is in one of these states."""
        async with asyncio.timeout(timeout_s):
            while True:
                seen = await self.client.job(job)
                if seen.state in states:
                    return seen
                await asyncio.sleep(0.2)

    async def manifest(self, job: Job, node: SolanaClient, folder: Path) -> Manifest:
        """The job's result, fetched and verified."""
        assert job.result_cid is not None
        await self.store.fetch(job.result_cid, folder, max_bytes=10**9, max_files=10**5, timeout_s=1)
        assert (folder / MANIFEST).is_file()
        return verify_result(folder, job=job, authority=node.wallet)

    def provider(self) -> ContainerProvider:
        return self.runtime or self.mock()

    def mock(self, **more: Any) -> MockProvider:
        return MockProvider(self.behave, engine=self.engine, unix_time=self.clock.unix_time, **more)


@dataclass
class Worker:
    """A running NodeManager and what it said."""

    manager: NodeManager
    chain: SolanaClient
    task: asyncio.Task[None]
    events: list[Event]
    journal: SqliteJournal

    def said(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until_said(self, kind: type[E], *, timeout_s: float = 600) -> E:
        async with asyncio.timeout(timeout_s):
            while not self.said(kind) and not self.task.done():  # noqa: ASYNC110 -- events come from a listener
                await asyncio.sleep(0.05)
        if self.task.done():
            self.task.result()
        return self.said(kind)[-1]

    @property
    def node(self) -> Pubkey:
        return self.said(NodeRegistered)[-1].node

    async def stop(self, *, now: bool = False, timeout_s: float = 300) -> None:
        self.manager.request_stop(now=now)
        async with asyncio.timeout(timeout_s):
            await self.task


async def crash(node: Worker) -> None:
    """Ends a worker as a kill would: its tasks are gone, and nothing was settled or cleaned."""
    mine = asyncio.current_task()
    for task in asyncio.all_tasks():
        name = task.get_name()
        if task is not mine and name != "slots" and not name.startswith("Task-"):
            task.cancel()
    await asyncio.wait([node.task])


@asynccontextmanager
async def worker(
    world: World,
    *,
    wallet: SolanaClient | None = None,
    wait: bool = True,
    fees_since: Callable[[float], int] | None = None,
    listeners: Sequence[Listener] = (),
    **settings: Any,
) -> AsyncGenerator[Worker]:
    """A worker that has started (with `wait`) and that is ended with the block; nothing of it is left."""
    chain = wallet or world.chain.client()
    given: dict[str, Any] = {"drain_timeout_s": 0.0, "balance_floor_lamports": 1_000_000, **settings}
    chosen = WorkerSettings(market=world.market.address, data_dir=world.data_dir, limits=LIMITS, **given)
    world.data_dir.mkdir(parents=True, exist_ok=True)
    journal = SqliteJournal(world.data_dir / "journal.db")
    events: list[Event] = []
    manager = NodeManager(
        chain=chain,
        store=world.store,
        provider=world.provider(),
        hardware=world.hardware,
        journal=journal,
        settings=chosen,
        clock=world.clock if world.runtime is None or world.runtime.name == "mock" else None,
        keepers=world.keepers,
        listeners=[events.append, *listeners],
        fees_since=fees_since,
    )
    running = Worker(manager, chain, asyncio.create_task(manager.run(), name="manager"), events, journal)
    try:
        if wait:
            await running.until_said(WorkerStarted)
        yield running
    finally:
        if not running.task.done():
            manager.request_stop(now=True)
        await asyncio.wait([running.task])
        journal.close()


def run_threads_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio.to_thread without threads: virtual time would run away while a real one works."""

    async def inline(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    monkeypatch.setattr(asyncio, "to_thread", inline)


@asynccontextmanager
async def open_world(data_dir: Path, **terms: Any) -> AsyncGenerator[World]:
    """A chain with one market. Its jobs may have network."""
    async with InProcessChain() as chain:
        client = chain.client(lamports=100_000_000_000)
        market = await open_market(client, **{"flags": FLAG_NETWORK, **terms})
        yield World(chain, market, client, MemoryStore(), data_dir)
