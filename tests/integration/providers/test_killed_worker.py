"""A worker that is killed mid-run: its next life finds the run, its exit code and all of its output."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from hypernode_worker.core.ports import ContainerProvider, ExitReason
from hypernode_worker.errors import PermanentError
from hypernode_worker.providers.docker_provider import DockerProvider
from hypernode_worker.providers.process_provider import ProcessProvider
from tests.support.providers import IMAGE

WORKER = """
import asyncio, os, sys
from pathlib import Path
from hypernode_worker.core.ports import ContainerSpec, Limits
from hypernode_worker.providers.docker_provider import DockerProvider
from hypernode_worker.providers.process_provider import ProcessProvider

async def main(kind, node, folder):
    folder = Path(folder)
    image, docker = sys.argv[4], kind == "docker"
    provider = DockerProvider(local_images=[image]) if docker else ProcessProvider(state_dir=folder / "state")
    image = await provider.prepare(image, timeout_s=10)
    script = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i; sleep 0.1; done; exit 5"
    limits = Limits(64 << 20, 1.0, 32, 1 << 20, 16 << 20)
    spec = ContainerSpec("job", node, "run", 0, image, ("/bin/sh", "-c", script), "/workspace",
                         folder / "workspace", folder / "log", limits)
    await provider.start(spec)
    while not (folder / "log").exists() or b"line 5\\n" not in (folder / "log").read_bytes():
        await asyncio.sleep(0.05)
    os.kill(os.getpid(), 9)

asyncio.run(main(*sys.argv[1:4]))
"""


def run_and_kill_a_worker(kind: str, node: str, folder: Path) -> None:
    (folder / "workspace").mkdir()
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", WORKER, kind, node, str(folder), IMAGE],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


async def find_it_again(provider: ContainerProvider, node: str, log: Path) -> None:
    (handle,) = await provider.containers(node)
    assert handle.running
    ended = await asyncio.wait_for(provider.wait(handle), 30)
    assert (ended.exit_code, ended.reason) == (5, ExitReason.EXITED)
    assert 2.5 < ended.ended_at - ended.started_at < 20
    assert await asyncio.to_thread(log.read_text) == "".join(f"line {i}\n" for i in range(1, 31))
    await provider.remove(handle)
    assert list(await provider.containers(node)) == []
    await provider.close()


@pytest.mark.docker
async def test_docker(open_folder: Path, busybox: str) -> None:
    node = f"node-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(run_and_kill_a_worker, "docker", node, open_folder)
    await find_it_again(DockerProvider(), node, open_folder / "log")


@pytest.mark.bubblewrap
async def test_process(open_folder: Path) -> None:
    node = f"node-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(run_and_kill_a_worker, "process", node, open_folder)
    await find_it_again(ProcessProvider(state_dir=open_folder / "state"), node, open_folder / "log")


@pytest.mark.bubblewrap
async def test_a_run_ends_with_its_supervisor(open_folder: Path) -> None:
    node = f"node-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(run_and_kill_a_worker, "process", node, open_folder)
    (supervisor,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(open_folder / "state") in " ".join(process.info["cmdline"] or [])
    ]
    below = supervisor.children(recursive=True)
    assert below
    os.kill(supervisor.pid, signal.SIGKILL)
    _, alive = await asyncio.to_thread(psutil.wait_procs, below, timeout=10)
    assert not alive
    provider = ProcessProvider(state_dir=open_folder / "state")
    (handle,) = await provider.containers(node)
    assert not handle.running
    with pytest.raises(PermanentError, match="was killed"):  # the node's trouble: no client pays for it
        await provider.wait(handle)
    await provider.stop(handle, grace_s=0)
    await provider.remove(handle)
    assert list(await provider.containers(node)) == []
