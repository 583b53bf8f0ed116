"""How long after its start a worker that was killed has its running containers in hand again."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from hypernode_worker.core.accounts import JobState
from tests.bench.figure import Figure
from tests.bench.settle import IMAGE, import_busybox
from tests.bench.world import World, open_world
from tests.soak.killable import Killable, killable

RUNNING = 100
DEFINITION: dict[str, object] = {
    "framework": "custom",
    "image": IMAGE,
    "operations": [{"type": "run", "command": ["/bin/busybox", "sleep", "900"]}],
    "timeout": 900,
}


def measure() -> list[Figure]:
    """Real containers; from the fork of a worker that has its modules loaded."""
    import_busybox()
    with open_world() as world:
        seconds = asyncio.run(_seconds(world))
    return [Figure(f"{RUNNING} running containers re-attached after kill -9", seconds, "s", target=2.0)]


async def _seconds(world: World) -> float:
    market = await world.market(max_capacity=RUNNING, heartbeat_timeout=0)
    async with world.client("node"):
        pass  # makes the key and funds it
    environment = world.environment(
        KEYPAIR_PATH=str(world.home / "node.json"),
        DATA_DIR=str(world.home / "node"),
        CONTAINER_RUNTIME="docker",
        LOCAL_IMAGES=IMAGE,
        CAPACITY=str(RUNNING),
        JOB_MEMORY="8MiB",
    )
    async with world.client() as client, killable(environment, world.home / "worker.log") as worker:
        await worker.start()
        prepared = await client.prepare(DEFINITION, market=market)
        for _ in range(RUNNING):
            await client.post(prepared)
        while len(await client.chain.jobs(market, state=JobState.RUNNING)) < RUNNING:  # noqa: ASYNC110 -- the chain knows
            await asyncio.sleep(0.5)
        await _until(worker, "OperationStarted", RUNNING)
        worker.kill()
        await worker.ended()
        start = time.perf_counter()
        await worker.start()
        await _until(worker, '"attached": true', RUNNING)
        seconds = time.perf_counter() - start
        for _ in range(2):  # the second gives all of them back
            os.kill(worker.pid, signal.SIGTERM)
            await asyncio.sleep(1)
        await worker.ended()
    return seconds


async def _until(worker: Killable, said: str, times: int) -> None:
    while worker.log.read_text().count(said) < times:  # noqa: ASYNC110 -- another process writes it
        await asyncio.sleep(0.02)
