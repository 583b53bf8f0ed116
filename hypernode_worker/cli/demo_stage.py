"""The demo's play: a local chain, a market, a client, a real worker, one job; every part the one that devnet sees too.

Its parts meet over HTTP, WebSocket and the content store's folder alone: the worker is NodeManager over JSON-RPC, wired
by the same `app.open_worker` as `start`. All lives in a scratch folder that is gone afterwards; only the result stays.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hypernode_worker import app
from hypernode_worker.config import Flag, Loaded, load
from hypernode_worker.core.accounts import Job, JobState, MarketTerms
from hypernode_worker.core.amounts import show_amount, sol
from hypernode_worker.core.events import (
    Event,
    Listener,
    OperationEnded,
    OperationStarted,
    RunClaimed,
    RunSettled,
    SpecsDetected,
    WorkerStarted,
)
from hypernode_worker.core.types import LAMPORTS_PER_SOL
from hypernode_worker.errors import HypernodeError, PermanentError

if TYPE_CHECKING:
    from hypernode_worker.client import Client, PostedJob, Result
    from hypernode_worker.node.manager import NodeManager

PRICE = 50_000
TIMEOUT_S = 120
AIRDROP_SOL = 2
WIDTH, HEIGHT, SPHERES = 640, 360, 14
NODE = "node"
LOG_LOOK_S = 0.1
IDLE_LOOKS = 200
START_TIMEOUT_S = 60.0
JOB_TIMEOUT_S = 90.0
ROLES = ("market owner", "client", "node")
PYTHON_IMAGES = (
    *(f"python:3.{minor}-slim" for minor in (14, 13, 12, 11)),
    *(f"python:3.{minor}" for minor in (14, 13, 12, 11)),
    "python:3-slim",
    "python:slim",
    "python:latest",
)

Tell = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the demo's job runs in: a runtime, its image, and why it isn't another."""

    kind: str
    image: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Balances:
    """Lamports by role."""

    before: dict[str, int]
    after: dict[str, int]


@dataclass(frozen=True, slots=True)
class Story:
    """What happened."""

    posted: PostedJob
    job: Job
    result: Result
    market: str
    wallets: dict[str, str]
    signatures: dict[str, str]
    balances: Balances
    provider: str
    elapsed_s: float


@dataclass(slots=True)
class _Seen:
    """What the worker's events told."""

    started: asyncio.Event = field(default_factory=asyncio.Event)
    runtime: str = ""
    signatures: dict[str, str] = field(default_factory=dict[str, str])

    def __call__(self, event: Event) -> None:
        match event:
            case SpecsDetected(_, runtime, _):
                self.runtime = runtime
            case WorkerStarted():
                self.started.set()
            case RunClaimed(_, signature, _):
                self.signatures["work_job"] = str(signature)
            case RunSettled():
                self.signatures["finish_job"] = str(event.signature)
            case _:
                pass


async def play(out: Path, *, runtime: str, image: str | None, tell: Tell, worker_lines: Listener) -> Story:
    """Plays the whole story; the result is left in a new folder under `out`.

    Raises:
        HypernodeError: whatever went wrong, in one sentence; everything that was started has ended.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hypernode-demo-") as folder:
        scratch = Path(folder)
        os.chmod(folder, 0o711)  # noqa: PTH101, S103 -- a job of an unprivileged user must reach its workspace below
        chosen = await choose_runtime(scratch, runtime, image)
        async with app.open_localnet(port=0) as chain:
            tell(f"A local Solana chain: {chain.rpc_url}, the markets program loaded")
            stage = _Stage(scratch, chain.rpc_url, chain.ws_url, chosen, tell)
            await stage.furnish()
            tell(f"{chosen.why}\n")
            seen = _Seen()
            log = _LiveLog(scratch / NODE, tell)
            async with stage.worker((seen, log, worker_lines)) as failed, log:
                await _first(seen.started.wait(), failed, START_TIMEOUT_S, "The worker didn't start")
                posted, job, result = await _first(
                    stage.post_and_wait(out), failed, JOB_TIMEOUT_S, "The job didn't end"
                )
            balances = Balances(stage.before, await stage.balances())
            seen.signatures["create_job"] = str(posted.receipt.signature)
            return Story(
                posted=posted,
                job=job,
                result=result,
                market=stage.market,
                wallets=stage.wallets,
                signatures=seen.signatures,
                balances=balances,
                provider=seen.runtime,
                elapsed_s=time.monotonic() - began,
            )


class _LiveLog:
    """Shows what the job writes while it runs, as an operator on this machine could see it."""

    def __init__(self, data_dir: Path, tell: Tell) -> None:
        self._data_dir = data_dir
        self._tell = tell
        self._path: Path | None = None
        self._offset = 0
        self._task: asyncio.Task[None] | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case OperationStarted(job, operation, _):
                found = list(self._data_dir.glob(f"runs/{job}-*/result/logs/{operation:02d}.log"))
                self._path, self._offset = (found[0] if found else None), 0
            case OperationEnded():
                self._show()
                self._path = None
            case _:
                pass

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="the job's log")

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOG_LOOK_S)
            self._show()

    def _show(self) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new, _, _ = file.read(1 << 16).rpartition(b"\n")
        except FileNotFoundError:
            return
        if new:
            self._offset += len(new) + 1
            for line in new.decode(errors="replace").splitlines():
                self._tell(f"          | {line}")


class _Stage:
    """The chain's users, and what they do."""

    def __init__(self, scratch: Path, rpc_url: str, ws_url: str, runtime: Runtime, tell: Tell) -> None:
        self._scratch = scratch
        self._flags = {
            "solana_rpc_url": rpc_url,
            "solana_ws_url": ws_url,
            "ipfs_store_dir": str(scratch / "ipfs"),
            "ipfs_gateway": "none",
            **({"local_images": runtime.image} if runtime.image else {}),
        }
        self._runtime = runtime
        self._tell = tell
        self.market = ""
        self.wallets: dict[str, str] = {}
        self.before: dict[str, int] = {}

    async def furnish(self) -> None:
        """Keys, SOL from the faucet, a market."""
        from hypernode_worker.solana.keypair import create_keypair

        for role in ROLES:
            self.wallets[role] = str(create_keypair(self._key(role)).pubkey())
        await asyncio.gather(*(self._fund(role) for role in ROLES))
        async with app.open_client(self._loaded("market owner")) as owner:
            terms = MarketTerms(min_price=PRICE, credit_pay=60 * PRICE)
            market, _ = await owner.create_market(terms)
        self.market = str(market)
        self._tell(f"A market: {self.market}, at least {show_amount(PRICE, native=True)} a second, fee 1 %")
        self._tell(f"A client and a node, {AIRDROP_SOL} SOL each from the chain's faucet")
        self.before = await self.balances()

    async def balances(self) -> dict[str, int]:
        from solders.pubkey import Pubkey

        async with app.open_chain(self._loaded("client"), signs=False) as chain:
            return {role: await chain.balance(Pubkey.from_string(wallet)) for role, wallet in self.wallets.items()}

    @asynccontextmanager
    async def worker(self, listeners: tuple[Listener, ...]) -> AsyncGenerator[asyncio.Task[None]]:
        """A real worker that runs while the block lasts, then drains."""
        more = {"container_runtime": self._runtime.kind, "allow_unisolated": "true", "polling_interval": "1000"}
        loaded = self._loaded("node", data_dir=str(self._scratch / NODE), job_workspace_size="256MiB", **more)
        async with app.open_worker(loaded, listeners=listeners) as manager:
            running = asyncio.create_task(manager.run(), name="the demo's worker")
            try:
                yield running
                await _until_idle(manager)
                manager.request_stop()
                await running
            finally:
                if not running.done():
                    manager.request_stop(now=True)
                    running.cancel()
                await asyncio.wait([running])

    async def post_and_wait(self, out: Path) -> tuple[PostedJob, Job, Result]:
        with as_file(files("hypernode_worker.cli") / "demo_job") as source:
            files_dir = self._scratch / "files"
            files_dir.mkdir()
            shutil.copyfile(source / "render.py", files_dir / "render.py")
        async with app.open_client(self._loaded("client")) as client:
            posted = await self._post(client, files_dir)
            job = await self._wait(client, posted)
            result = await client.result(posted.job, out / str(posted.job)[:8])
        return posted, job, result

    async def _post(self, client: Client, files_dir: Path) -> PostedJob:
        from solders.pubkey import Pubkey

        definition: dict[str, object] = {
            "framework": "custom",
            "operations": [{"type": "run", "command": "python3 render.py"}],
            "input": {"width": WIDTH, "height": HEIGHT, "spheres": SPHERES},
            "timeout": TIMEOUT_S,
            "requirements": {"trust": "low"},
        }
        if self._runtime.image:
            definition["image"] = self._runtime.image
        prepared = await client.prepare(
            definition, market=Pubkey.from_string(self.market), files=files_dir, price=PRICE
        )
        quote = prepared.quote
        self._tell(f"\nThe client posts a job: render a picture in at most {quote.timeout_s} s")
        posted = await client.post(prepared)
        self._tell(f"  job {posted.job}, deposit {show_amount(quote.deposit, native=True)}\n")
        return posted

    async def _wait(self, client: Client, posted: PostedJob) -> Job:
        last: Job | None = None
        async for job in client.follow(posted.job):
            last = job
        if last is None or last.state is not JobState.SETTLED or last.result_cid is None:
            state = last.state.name.lower() if last else "gone"
            raise PermanentError(f"The demo's job is {state} instead of settled: run 'hypernode-worker test'.")
        return last

    async def _fund(self, role: str) -> None:
        async with app.open_chain(self._loaded(role), signs=True) as chain:
            await chain.airdrop(AIRDROP_SOL * LAMPORTS_PER_SOL)

    def _key(self, role: str) -> Path:
        return self._scratch / f"{role.replace(' ', '-')}.json"

    def _loaded(self, role: str, **more: str) -> Loaded:
        """Settings of one of the demo's users; nothing of this machine's own settings comes in."""
        given = {**self._flags, "keypair_path": str(self._key(role)), **more}
        if self.market:
            given["market_pubkey"] = self.market
        flags = {name: Flag("(demo)", text) for name, text in given.items()}
        return load(flags=flags, environ={}, use_files=False)


async def _until_idle(manager: NodeManager) -> None:
    """The worker sees that its job is settled, and cleans up behind it: only then it is told to stop."""
    for _ in range(IDLE_LOOKS):
        if not manager.status().get("active_jobs"):
            return
        await asyncio.sleep(LOG_LOOK_S / 2)


async def choose_runtime(scratch: Path, wanted: str, image: str | None) -> Runtime:
    """Docker when its engine answers and an image with Python is here; else processes, with the reason."""
    if wanted == "process":
        return Runtime("process", None, "The job runs as a process, as you asked.")
    found, why = await _docker_image(scratch, image)
    if found:
        return Runtime("docker", found, f"The job runs in a container of {found}.")
    if wanted == "docker":
        raise PermanentError(f"{why}; or run the demo with --runtime process.")
    return Runtime("process", None, f"{why}. So the job runs as a process of this machine, in a node of low trust.")


async def _docker_image(scratch: Path, image: str | None) -> tuple[str | None, str]:
    flags = {"container_runtime": Flag("(demo)", "docker"), "data_dir": Flag("(demo)", str(scratch / "look"))}
    async with app.open_provider(load(flags=flags, use_files=False)) as provider:
        try:
            await provider.check()
            if image:
                return image, ""
            for name in PYTHON_IMAGES:
                if await provider.has_image(name):
                    return name, ""
        except HypernodeError:
            return None, "No Docker engine answers here"
    return None, "Docker is here, but no image with Python ('docker pull python:3.12-slim' gets one)"


async def _first(wanted: Coroutine[object, object, T], worker: asyncio.Task[None], timeout_s: float, said: str) -> T:
    """The wanted thing, unless the worker ends before it: then its error."""
    task = asyncio.ensure_future(wanted)
    try:
        await asyncio.wait([task, worker], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if worker.done():
            worker.result()
        raise PermanentError(f"{said} within {timeout_s:g} s: run it again with --debug and report what it shows.")
    finally:
        task.cancel()
        await asyncio.wait([task])


def balance_lines(story: Story) -> list[tuple[str, str, str, str]]:
    """Role, before, after, change; in SOL."""
    rows: list[tuple[str, str, str, str]] = []
    for role in ROLES:
        before, after = story.balances.before[role], story.balances.after[role]
        rows.append((role, sol(before), sol(after), f"{'+' if after >= before else ''}{sol(after - before)}"))
    return rows
