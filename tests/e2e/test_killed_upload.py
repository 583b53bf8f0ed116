"""A worker that is killed between "CID known" and "upload confirmed": real processes, a real chain, a real SIGKILL."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ipfs_servers import FakePinning, pinning_service
from tests.support.town import Town, open_town

JOB = {
    "framework": "custom",
    "operations": [{"command": "sleep 2; echo made > $OUTPUT_DIR/made"}],
    "timeout": 300,
    "requirements": {"trust": "low"},
}


@contextmanager
def service_in_thread(folder: Path) -> Generator[FakePinning]:
    """A pinning service beside the commands, which block."""
    started, ended = threading.Event(), asyncio.Event()
    found: list[FakePinning] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        async with pinning_service(folder) as service:
            loops.append(asyncio.get_running_loop())
            found.append(service)
            started.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(20)
    try:
        yield found[0]
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()


def wait_until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def state_of(town: Town, job: str) -> str:
    return str(town.json("client", "job", "get", job)["state"])


def test_a_kill_before_the_upload_is_confirmed_costs_nothing(tmp_path: Path) -> None:
    with open_town(tmp_path) as town, service_in_thread(tmp_path / "service") as service:
        town.environment |= {"IPFS_UPLOAD_URL": service.url, "IPFS_UPLOAD_TOKEN": service.token}
        town.environment["MARKET_PUBKEY"] = town.json("client", "market", "create", "--min-price", "1000", "--pinned")[
            "market"
        ]
        with town.running("node", "start", until="Watching for jobs") as worker:
            job = town.post(JOB)
            town.wait_for(worker, "operation 0 started")
            service.refusing = True
            town.wait_for(worker, "operation 0 exited with 0")
            wait_until(lambda: service.refused)
            worker.kill()
            worker.wait()
        assert state_of(town, job) == "running"
        cid = service.refused[0].partition("/")[0]
        service.refusing = False
        with town.running("node", "start", until="settled and paid") as again:
            lines = "".join(town.lines[again.pid])
            town.run("node", "stop")
        seen = town.json("client", "job", "get", job)
        assert (seen["state"], seen["result_cid"]) == ("settled", cid)
        assert "operation 0 started" not in lines
        assert cid in {str(root) for root in service.pinned}
        assert "verified" in town.run("client", "job", "result", job, "result").lower()
        assert (town.folder / "result" / "output" / "made").read_text() == "made\n"
