"""Kills a worker at every step that it writes down, and at random moments, while jobs of all kinds come in and its
endpoint fails now and then."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from solders.pubkey import Pubkey

from hypernode_worker.client import Client
from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.errors import ProgramError
from tests.bench.world import World
from tests.soak.faults import FaultyEndpoint
from tests.soak.killable import Killable, killable
from tests.support.providers import IMAGE
from tests.support.town import make_passable

STEPS = 24
"""Writes of a start with one job; a start that has taken up others makes more."""
MOST_S = 2.5
"""A start that isn't killed at a step lives so long at most."""
WAITING = 3
PRICE = 1_000
ENDS_S = 240.0

KINDS: Sequence[tuple[int, dict[str, Any]]] = (
    (0, {"operations": [{"command": "true"}]}),
    (3, {"operations": [{"command": "exit 3"}]}),
    (0, {"operations": [{"command": "echo one > $OUTPUT_DIR/one; seq 200"}]}),
    (0, {"operations": [{"command": "sleep 0.5; echo first > $OUTPUT_DIR/a"}, {"command": "cat $OUTPUT_DIR/a"}]}),
    (0, {"operations": [{"command": "sleep 2"}]}),
    (124, {"operations": [{"command": "sleep 30"}], "timeout": 3}),
)
"""The exit status that a run of each must end with, and what makes the definition."""


@dataclass(slots=True)
class Toll:
    """What became of it all.

    Attributes:
        attached: runs that a start took up again.
        faults: requests that the endpoint failed.
        lost: jobs whose books don't add up, or whose client got neither a result nor the money back.
        wrong: results with another exit status than the job's program has.
        overpaid: base units that the payout wallet has more than the jobs say.
        left_over: processes and containers of jobs that are still there.
    """

    posted: int = 0
    kills: Counter[str] = field(default_factory=Counter[str])
    settled: int = 0
    refunded: int = 0
    released: int = 0
    attached: int = 0
    faults: int = 0
    lost: int = 0
    wrong: int = 0
    overpaid: int = 0
    left_over: int = 0
    seconds: float = 0.0


async def kill_again_and_again(world: World, *, kills: int, seed: int, runtime: str) -> Toll:
    """One market, one client, one worker that dies `kills` times; then it may finish, and the books are checked.

    Args:
        runtime: docker or process.
    """
    chance, toll, began = random.Random(seed), Toll(), time.monotonic()
    make_passable(world.home)
    await world.market(min_price=PRICE, max_attempts=255, heartbeat_timeout=0, finish_grace=600)
    async with world.client("payout") as owner:
        payout, before = owner.chain.wallet, await owner.chain.balance(owner.chain.wallet)
    async with world.client("node"):
        pass  # makes the key and funds it
    market = Pubkey.from_string(world.variables["MARKET_PUBKEY"])
    async with world.client() as client, FaultyEndpoint(world.rpc_url, seed).serving() as endpoint:
        posting = _Posting(client, market, runtime)
        environment = _environment(world, endpoint.url, payout, runtime)
        async with killable(environment, world.home / "worker.log") as worker:
            for number in range(kills):
                await posting.keep(WAITING)
                toll.kills[await _live_and_die(worker, chance, number)] += 1
            await worker.start()
            jobs = await posting.bring_to_an_end()
            worker.stop()
            if code := await worker.ended():
                raise RuntimeError(f"the worker ended with {code}: {worker.log.read_text()[-3_000:]}")
            toll.released, toll.attached = worker.events("RunReleased"), worker.events("RunResumed")
        toll.overpaid = await client.chain.balance(payout) - before - sum(job.paid for job in jobs)
        toll.faults = endpoint.faults.total()
    toll.posted = len(jobs)
    for number, job in enumerate(jobs):
        _count(job, KINDS[number % len(KINDS)][0], toll)
    toll.left_over = left_over(world.home)
    toll.seconds = time.monotonic() - began
    return toll


def _environment(world: World, rpc_url: str, payout: Pubkey, runtime: str) -> dict[str, str]:
    return world.environment(
        SOLANA_RPC_URL=rpc_url,
        KEYPAIR_PATH=str(world.home / "node.json"),
        DATA_DIR=str(world.home / "node"),
        PAYOUT_ADDRESS=str(payout),
        CONTAINER_RUNTIME=runtime,
        ALLOW_UNISOLATED="true",
        LOCAL_IMAGES=IMAGE,
        CAPACITY="2",
        DAILY_FEE_BUDGET="0",
    )


class _Posting:
    """The client's side."""

    def __init__(self, client: Client, market: Pubkey, runtime: str) -> None:
        self._client = client
        self._market = market
        self._image = {"image": IMAGE} if runtime == "docker" else {}
        self.jobs: list[Pubkey] = []

    async def keep(self, waiting: int) -> None:
        """So many jobs are queued; each kind in its turn."""
        queued = await self._client.chain.jobs(self._market, state=JobState.QUEUED)
        for _ in range(waiting - sum(job.attempts == 0 for job in queued)):
            _, kind = KINDS[len(self.jobs) % len(KINDS)]
            definition = {"framework": "custom", "timeout": 60, "requirements": {"trust": "low"}, **self._image, **kind}
            posted = await self._client.post(await self._client.prepare(definition, market=self._market))
            self.jobs.append(posted.job)

    async def bring_to_an_end(self) -> list[Job]:
        """Waits for what is running; what waits in the queue is withdrawn. The jobs as they are then."""
        async with asyncio.timeout(ENDS_S):
            while True:
                seen = [await self._client.chain.job(job) for job in self.jobs]
                for job in seen:
                    if job.state is JobState.QUEUED:
                        with contextlib.suppress(ProgramError):  # the worker was faster
                            await self._client.cancel(job.address)
                if all(job.state.terminal for job in seen):
                    return seen
                await asyncio.sleep(0.5)


async def _live_and_die(worker: Killable, chance: random.Random, number: int) -> str:
    """One start and its end: every second at a step of its journal, the others at a random moment. Says which."""
    at_step = number % 2 == 0
    step = number // 2 % STEPS + 1
    await worker.start(die_at=step if at_step else None, before=bool(number // 2 // STEPS % 2))
    ended = asyncio.create_task(worker.ended())
    await asyncio.wait([ended], timeout=MOST_S if at_step else chance.uniform(0.05, MOST_S))
    alone = ended.done()
    worker.kill()
    code = await ended
    if code != -signal.SIGKILL:
        raise RuntimeError(f"the worker ended by itself with {code}: {worker.log.read_text()[-3_000:]}")
    return "at a step of the journal" if alone else "at a random moment"


def _count(job: Job, exit_status: int, toll: Toll) -> None:
    owed = job.owed_node + job.owed_fee + job.owed_client
    if job.deposit != job.paid + job.fee + job.refunded + owed or owed:
        toll.lost += 1
    elif job.state is JobState.SETTLED:
        toll.settled += 1
        toll.wrong += job.exit_status != exit_status
    else:
        toll.refunded += job.refunded == job.deposit
        toll.lost += job.refunded != job.deposit


def left_over(home: Path) -> int:
    """Run folders, processes of jobs and labelled containers that are still there."""
    folders = len(list((home / "node" / "runs").glob("*")))
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return folders + sum(str(home) in line for line in lines) + containers()


def containers() -> int:
    if shutil.which("docker") is None:
        return 0
    listed = subprocess.run(
        ["docker", "ps", "-aq", "--filter", "label=hypernode.job"], capture_output=True, text=True, timeout=30
    )
    return len(listed.stdout.split())
