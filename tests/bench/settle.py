"""From post to settled with a warm image, beside `docker run` of the same image, one after the other in one run."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from hypernode_worker.core.accounts import JobState
from tests.bench.figure import Figure
from tests.bench.world import World, open_world

RUNS = 20
IMAGE = "hypernode-bench/busybox:1"
DEFINITION: dict[str, object] = {
    "framework": "custom",
    "image": IMAGE,
    "operations": [{"type": "run", "command": ["/bin/busybox", "true"]}],
    "timeout": 60,
}


def measure() -> list[Figure]:
    """Median of 20 of each; the target is their ratio."""
    import_busybox()
    with open_world() as world:
        ours, docker = asyncio.run(_alternate(world))
    seconds, reference = statistics.median(ours), statistics.median(docker)
    return [
        Figure("docker run --rm --network none, median of 20", reference * 1e3, "ms"),
        Figure("post to settled, warm busybox, median of 20", seconds * 1e3, "ms"),
        Figure("post to settled / docker run", seconds / reference, "x", target=1.5),
    ]


async def _alternate(world: World) -> tuple[list[float], list[float]]:
    market = await world.market()
    ours: list[float] = []
    docker: list[float] = []
    async with world.worker("node", CONTAINER_RUNTIME="docker", LOCAL_IMAGES=IMAGE), world.client() as client:
        for run in range(RUNS + 1):
            start = time.perf_counter()
            posted = await client.post(await client.prepare(DEFINITION, market=market))
            async for job in client.follow(posted.job):
                if job.state.terminal and (job.state is not JobState.SETTLED or job.exit_status):
                    raise RuntimeError(f"the job ended {job.state.name} with exit status {job.exit_status}")
            middle = time.perf_counter()
            await asyncio.to_thread(_docker_run)
            if run:  # the first warms both
                ours.append(middle - start)
                docker.append(time.perf_counter() - middle)
    return ours, docker


def _docker_run() -> None:
    command = ["docker", "run", "--rm", "--network", "none", IMAGE, "/bin/busybox", "true"]
    subprocess.run(command, check=True, capture_output=True)


def import_busybox() -> None:
    """An image of this machine's static busybox: no registry is needed."""
    found = shutil.which("busybox")
    if found is None:
        raise SystemExit("this benchmark needs busybox (Debian: apt-get install busybox-static) and a Docker engine")
    tar = ["tar", "-C", "/", "-c", "--transform", "s,.*,bin/busybox,", str(Path(found).resolve())]
    with subprocess.Popen(tar, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as made:
        subprocess.run(["docker", "import", "-", IMAGE], stdin=made.stdout, check=True, capture_output=True)
