"""What only a real Docker engine can show: hostile images, pulls and pins, networks, the settings that it got."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hypernode_worker.core.ports import Container, ContainerSpec, ExitReason
from hypernode_worker.errors import ConfigError, ImageUnavailable, ProviderDown
from hypernode_worker.providers.docker_network import MANAGED_NETWORK
from hypernode_worker.providers.docker_provider import DockerProvider
from tests.support.providers import IMAGE, LIMITS, Bench, Program, docker_leftovers

pytestmark = pytest.mark.docker

HOSTILE = "hypernode-test/hostile:1"


class RealDocker:
    kind = "docker"
    image: str | None = IMAGE

    def open(self) -> DockerProvider:
        return DockerProvider(local_images=[IMAGE, HOSTILE])

    def leftovers(self, node: str) -> list[str]:
        return docker_leftovers(node)


@pytest.fixture
async def bench(open_folder: Path, busybox: str) -> AsyncIterator[Bench]:
    provider = RealDocker().open()
    bench = Bench(RealDocker(), provider, open_folder, image=await provider.prepare(busybox, timeout_s=10))
    yield bench
    for handle in bench.made:
        await bench.provider.remove(handle)
    await bench.provider.close()
    assert not docker_leftovers(bench.node)


@pytest.fixture
def hostile(busybox: str) -> Iterator[str]:
    """An image that declares what a job must not get."""
    lines = (
        f"FROM {busybox}",
        "VOLUME /data",
        'ENTRYPOINT ["/bin/echo", "the entrypoint of the image"]',
        "STOPSIGNAL SIGUSR2",
        "HEALTHCHECK --interval=1s CMD touch /workspace/healthy",
        "ENV FROM_IMAGE=1 HOME=/root",
        "USER root",
    )
    subprocess.run(
        ["docker", "build", "-q", "-t", HOSTILE, "-"],
        input="\n".join(lines).encode(),
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        check=True,
        capture_output=True,
    )
    yield HOSTILE
    docker("rmi", "-f", HOSTILE)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def inspected(handle: Container) -> dict[str, Any]:
    return json.loads(docker("inspect", handle.id))[0]


async def run(bench: Bench, spec: ContainerSpec) -> str:
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), 30)
    text = spec.log_path.read_text()
    assert ended.exit_code == 0, text
    return text


async def test_the_settings_as_the_engine_has_them(bench: Bench) -> None:
    handle = await bench.start(bench.spec(Program("sleep 60")))
    found = inspected(handle)
    host = found["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == LIMITS.memory_bytes
    assert host["NanoCpus"] == 10**9
    assert host["PidsLimit"] == LIMITS.pids
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["NetworkMode"] == "none"
    assert host["IpcMode"] == "private"
    assert host["PidMode"] == host["UTSMode"] == ""
    assert not host["Devices"]
    assert not host["DeviceRequests"]
    assert not host["PortBindings"]
    assert host["OomScoreAdj"] == 500
    assert host["LogConfig"]["Config"] == {"max-file": "2", "max-size": str(8 * LIMITS.log_bytes + 2**20)}
    assert [(mount["Type"], mount["Destination"]) for mount in found["Mounts"]] == [("bind", "/workspace")]
    assert found["Config"]["User"] == ("10001:10001" if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}")
    limits = {limit["Name"]: limit["Hard"] for limit in host["Ulimits"]}
    assert limits == {"nofile": 16384, "fsize": LIMITS.workspace_bytes, "core": 0}
    labels = found["Config"]["Labels"]
    assert (labels["hypernode.job"], labels["hypernode.node"]) == ("job-1", bench.node)
    assert (labels["hypernode.run"], labels["hypernode.operation"]) == (handle.run, "0")


async def test_what_an_image_declares_is_not_trusted(bench: Bench, hostile: str) -> None:
    image = await bench.provider.prepare(hostile, timeout_s=10)
    before = docker("volume", "ls", "-q")
    script = "id -u; env; grep ' /data ' /proc/mounts; echo x > /data/x && echo written; sleep 2"
    text = await run(bench, bench.spec(Program(script), image=image))
    lines = text.splitlines()
    assert "the entrypoint of the image" not in text
    assert lines[0] != "0"
    assert "FROM_IMAGE=1" in lines
    assert "HOME=/workspace" in lines
    assert any(line.startswith("tmpfs /data tmpfs") for line in lines)
    assert "written" in lines
    assert not list(bench.folder.rglob("healthy"))
    assert docker("volume", "ls", "-q") == before


async def test_the_images_stop_signal_is_not_used(bench: Bench, hostile: str) -> None:
    image = await bench.provider.prepare(hostile, timeout_s=10)
    handle = await bench.start(bench.spec(Program("exec sleep 600"), image=image))
    await asyncio.wait_for(bench.provider.stop(handle, grace_s=20), 10)
    assert (await bench.provider.wait(handle)).exit_code == 143


async def test_a_container_that_was_created_but_not_started_is_started(bench: Bench) -> None:
    spec = bench.spec(Program("echo begun; exit 6"))
    handle = await bench.start(spec)
    await bench.provider.wait(handle)
    await bench.provider.remove(handle)
    labels = [part for k, v in _labels(bench, spec).items() for part in ("--label", f"{k}={v}")]
    docker("create", "--name", _name(spec), *labels, "--network", "none", IMAGE, *spec.command)
    spec.log_path.unlink()
    again = await bench.start(spec)
    assert again.running
    assert (await asyncio.wait_for(bench.provider.wait(again), 20)).exit_code == 6
    assert spec.log_path.read_text() == "begun\n"


def _name(spec: ContainerSpec) -> str:
    from hypernode_worker.providers.spec import name_of

    return name_of(spec)


def _labels(bench: Bench, spec: ContainerSpec) -> dict[str, str]:
    from hypernode_worker.providers.docker_settings import labels_of

    return labels_of(replace(spec, log_path=spec.log_path.parent / "new-log")) | {
        "hypernode.log": str(spec.log_path),
        "hypernode.log_offset": "0",
    }


async def test_one_removed_by_someone_else_is_said(bench: Bench) -> None:
    handle = await bench.start(bench.spec(Program("sleep 60")))
    waiting = asyncio.create_task(bench.provider.wait(handle))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(docker, "rm", "-f", handle.id)
    with pytest.raises(Exception, match=r"gone|failed") as raised:
        await asyncio.wait_for(waiting, 20)
    assert not isinstance(raised.value, TimeoutError)
    await bench.provider.remove(handle)


async def test_a_network_only_where_the_operator_gives_one(bench: Bench) -> None:
    spec = bench.spec(Program("cat /proc/net/dev"), network=True)
    with pytest.raises(ConfigError, match="network"):
        await bench.start(spec)
    missing = DockerProvider(network="no-such-network")
    with pytest.raises(ConfigError, match="docker network create"):
        await missing.start(spec)
    await missing.close()
    await bench.provider.close()
    bench.provider = DockerProvider(network=MANAGED_NETWORK)
    try:
        assert "eth0" in await run(bench, spec)
        (found,) = json.loads(docker("network", "inspect", MANAGED_NETWORK))
        assert found["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    finally:
        for handle in bench.made:
            await bench.provider.remove(handle)
        docker("network", "rm", MANAGED_NETWORK)


async def test_memory_of_a_short_lived_child_counts(bench: Bench) -> None:
    spec = bench.spec(Program("tail /dev/zero; exit 3"))
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), 30)
    assert (ended.exit_code, ended.reason) == (3, ExitReason.OUT_OF_MEMORY)


# --- pulls -------------------------------------------------------------------------------------------------

REGISTRY_CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
"""


@pytest.fixture
async def registry(open_folder: Path, busybox: str) -> AsyncIterator[str]:
    """A registry of this machine with one image in it that the engine doesn't have."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not on PATH (Debian: apt-get install docker-registry)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = open_folder / "registry.yml"
    config.write_text(REGISTRY_CONFIG.format(folder=open_folder / "registry", port=port))
    process = await asyncio.create_subprocess_exec(
        program, "serve", str(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    await asyncio.sleep(0.1)
        writer.close()
        name = f"localhost:{port}/test/busybox:1"
        docker("tag", busybox, name)
        await asyncio.to_thread(docker, "push", name)
        docker("rmi", name)
        yield name
        docker("rmi", "-f", name)
    finally:
        process.terminate()
        await process.wait()


async def test_a_pulled_image_is_pinned_by_its_digest(bench: Bench, registry: str) -> None:
    host = registry.split("/")[0]
    provider = DockerProvider(registries=frozenset({host}))
    assert not await provider.has_image(registry)
    pinned, twin = await asyncio.gather(
        provider.prepare(registry, timeout_s=30), provider.prepare(registry, timeout_s=30)
    )
    assert pinned == twin
    assert pinned.startswith(f"{host}/test/busybox@sha256:")
    assert await provider.prepare(pinned, timeout_s=30) == pinned
    assert "fine" in await run(bench, bench.spec(Program("echo fine"), image=pinned))
    for handle in bench.made:
        await bench.provider.remove(handle)
    docker("rmi", registry)
    assert await provider.prepare(pinned, timeout_s=30) == pinned, "by digest alone"
    docker("rmi", pinned)
    with pytest.raises(ImageUnavailable, match="check its name"):
        await provider.prepare(f"{host}/test/nothing:1", timeout_s=30)
    await provider.close()


def _push_own(name: str) -> None:
    """An image that shares its layers with the test's own, and nothing else."""
    lines = f"FROM {IMAGE}\nLABEL own=1\n".encode()
    plain = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(["docker", "build", "-q", "-t", name, "-"], input=lines, env=plain, check=True, capture_output=True)
    docker("push", "-q", name)
    docker("rmi", name)


async def test_only_what_this_worker_pulled_may_be_removed_again(
    bench: Bench, registry: str, open_folder: Path
) -> None:
    host, state = registry.split("/")[0], open_folder / "state"
    registry = registry.replace("busybox", "own")
    _push_own(registry)
    provider = DockerProvider(registries=frozenset({host}), local_images=[IMAGE], state_dir=state)
    await provider.prepare(IMAGE, timeout_s=10)
    pinned = await provider.prepare(registry, timeout_s=30)
    await provider.close()
    provider = DockerProvider(registries=frozenset({host}), state_dir=state)  # after a restart
    await provider.check()
    keeper = provider.keeper
    assert keeper is not None
    (kept,) = await keeper.evictable(frozenset())
    assert (kept.name, kept.place) == (registry, Path(docker("info", "--format", "{{.DockerRootDir}}").strip()))
    assert 1_000_000 < kept.bytes == await keeper.used_bytes()
    assert await keeper.evictable(frozenset({registry})) == []
    handle = await bench.start(bench.spec(Program("sleep 60"), image=pinned))
    await keeper.evict([registry], frozenset())
    assert await provider.has_image(pinned), "a container uses it"
    await bench.provider.remove(handle)
    await keeper.evict([registry], frozenset({registry}))
    assert await provider.has_image(registry), "a run needs it"
    await keeper.evict([registry, IMAGE], frozenset())
    assert not await provider.has_image(registry)
    assert await provider.has_image(IMAGE), "it was here before"
    assert (await keeper.evictable(frozenset()), await keeper.used_bytes()) == ([], 0)
    await provider.close()


async def test_what_was_built_on_this_machine_is_not_given_to_strangers(busybox: str) -> None:
    private = "hypernode-test/private:1"
    docker("tag", busybox, private)
    try:
        careful, told = DockerProvider(), DockerProvider(local_images=[private])
        with pytest.raises(ImageUnavailable, match="LOCAL_IMAGES"):
            await careful.prepare(private, timeout_s=10)
        assert (await told.prepare(private, timeout_s=10)).startswith("sha256:")
        await careful.close()
        await told.close()
    finally:
        docker("rmi", private)


async def test_pulls_are_bounded(registry: str) -> None:
    host = registry.split("/")[0]
    small = DockerProvider(registries=frozenset({host}), max_image_bytes=10_000)
    with pytest.raises(ImageUnavailable, match="larger"):
        await small.prepare(registry, timeout_s=30)
    assert not await small.has_image(registry)
    await small.close()
    docker("pull", "-q", registry)
    default = DockerProvider()
    with pytest.raises(ImageUnavailable, match="public"):
        await default.prepare(registry, timeout_s=30)
    await default.close()


async def test_a_registry_that_hangs_is_given_up() -> None:
    stop = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        host = f"localhost:{server.sockets[0].getsockname()[1]}"
        provider = DockerProvider(registries=frozenset({host}))
        with pytest.raises(ProviderDown, match="within 1 s"):
            await provider.prepare(f"{host}/x:1", timeout_s=1)
        stop.set()
        await asyncio.sleep(0.1)
        await provider.close()


async def test_an_image_that_was_removed_meanwhile_is_said(bench: Bench) -> None:
    with pytest.raises(ImageUnavailable, match="prepare it again"):
        await bench.start(bench.spec(Program("true"), image="sha256:" + "0" * 64))
