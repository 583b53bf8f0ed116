"""DockerProvider: one hardened container for each operation of a run, on a Docker engine.

Bounds, and how firm they are: memory, swap, CPU, pids, open files, the length of one file, /tmp and the log are the
kernel's or cut while streaming. The workspace as a whole is a folder of the host under a watchdog: between two looks
a job can write more than it may, about a second's worth of the disk's speed. It then ends with WORKSPACE_FULL, and a
last look at its end catches what came between.

Network: none, unless the spec asks for it and the operator named one. On the managed network containers can't reach
each other; the host's own services and the local network can be reached unless the operator closes them, with
`iptables -I INPUT -i hypernode0 -j DROP` (the host; name resolution goes through Docker all the same) and
`iptables -I DOCKER-USER -i hypernode0 -d 10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16 -j DROP` (the rest).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypernode_worker.core.ports import Capabilities, Container, ContainerSpec, Exit, ExitReason, Keeper
from hypernode_worker.errors import ConfigError, PermanentError, ProviderDown, StartFailed
from hypernode_worker.providers.docker_client import DockerClient, Stream, api_status
from hypernode_worker.providers.docker_engine import DEFAULT_URL, DockerEngine
from hypernode_worker.providers.docker_follow import DockerFollower
from hypernode_worker.providers.docker_followers import DockerFollowers
from hypernode_worker.providers.docker_image import DockerImages
from hypernode_worker.providers.docker_network import DockerNetwork
from hypernode_worker.providers.docker_refusal import not_started
from hypernode_worker.providers.docker_settings import (
    LABEL_NODE,
    RUNNING,
    Watched,
    container_of,
    container_settings,
    handle_of,
    job_user,
    verify_ours,
    watched_of,
)
from hypernode_worker.providers.pulled_images import PulledImages
from hypernode_worker.providers.spec import name_of, same_run, verify_spec, workdir_parts
from hypernode_worker.providers.workspace import MAX_FILES, give_workspace, make_workdir

MAX_IMAGE_BYTES = 64 * 1024**3


class DockerProvider:
    """ContainerProvider on a Docker engine. Everything that may block runs in threads."""

    def __init__(
        self,
        *,
        url: str = DEFAULT_URL,
        network: str = "none",
        registries: frozenset[str] | None = None,
        local_images: Iterable[str] = (),
        max_image_bytes: int = MAX_IMAGE_BYTES,
        max_workspace_files: int = MAX_FILES,
        state_dir: Path | None = None,
        engine: DockerEngine | None = None,
    ) -> None:
        """
        Args:
            url: as DOCKER_HOST: unix:///path or tcp://host:port. The workspace must be the same folder for the engine.
            network: for jobs that may have one: "none" (refused), "hypernode" (made when missing), or an existing
                network's name. The host's own network is refused.
            registries: host[:port] of those that may be pulled from; None: any with a public name.
            local_images: images made on this machine that jobs may use.
            state_dir: this worker's own folder, where it remembers what it pulled; None: it forgets, and keeps all.
        """
        self._engine = engine or DockerEngine(url)
        self._network = DockerNetwork(self._engine, network)
        self._pulled = PulledImages(self._engine, state_dir / "pulled.json") if state_dir else None
        self._images = DockerImages(
            self._engine,
            registries=registries,
            local=local_images,
            max_bytes=max_image_bytes,
            pulled=self._pulled,
        )
        self._followers = DockerFollowers(self._engine, max_files=max_workspace_files)
        self._starts: dict[str, asyncio.Task[Container]] = {}

    @property
    def name(self) -> str:
        return "docker"

    @property
    def capabilities(self) -> Capabilities:
        """What the engine said when it was first asked; before that, what Docker usually can."""
        facts = self._engine.facts
        return Capabilities(
            isolation=True,
            images=True,
            memory_limit=facts is None or facts.memory_limit,
            cpu_limit=facts is None or facts.cpu_limit,
            pids_limit=facts is None or facts.pids_limit,
            network_isolation=True,
            gpus=facts is not None and facts.gpus,
        )

    async def check(self) -> str:
        try:
            info = await self._engine.call(lambda client: client.info())
        except Exception as error:
            if api_status(error) is None:
                raise
            raise self._engine.refused(error, "say its version") from error
        return f"docker {info.get('ServerVersion', 'of unknown version')}"

    async def has_image(self, image: str) -> bool:
        return await self._images.find(image) is not None

    async def prepare(self, image: str, *, timeout_s: float) -> str:
        return await self._images.prepare(image, timeout_s=timeout_s)

    # --- start ---------------------------------------------------------------------------------------------

    async def start(self, spec: ContainerSpec) -> Container:
        verify_spec(spec)
        if spec.image is None:
            raise ConfigError("a Docker container needs an image: prepare one and name it in the spec")
        if spec.network:
            self._network.verify_allowed()
        key = name_of(spec)
        task = self._starts.get(key)
        if task is None:
            # A task of its own: a start that nobody waits for any more is still followed, else its output would block.
            task = self._starts[key] = asyncio.create_task(self._start(spec), name=f"start-{key}")
            task.add_done_callback(lambda done: self._started(key, done))
        return await asyncio.shield(task)

    def _started(self, key: str, task: asyncio.Task[Container]) -> None:
        self._starts.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen

    async def _start(self, spec: ContainerSpec) -> Container:
        assert spec.image is not None
        volumes = await self._images.volumes(spec.image)
        if spec.network:
            await self._network.make()
        try:
            handle, watched, stream = await self._engine.call(lambda client: self._create(client, spec, volumes))
        except Exception as error:
            if api_status(error) == 409:
                return await self._start_again(spec)
            raise not_started(self._engine, error, spec) from error
        self._followers.follow(handle.id, watched, stream)
        return handle

    def _create(
        self, client: DockerClient, spec: ContainerSpec, volumes: tuple[str, ...]
    ) -> tuple[Container, Watched, Stream]:
        """Creates, attaches and starts, in a thread; removes what it created when it can't be started."""
        settings = container_settings(client, spec, self._engine.known, volumes=volumes, network=self._network.name)
        ident = str(client.create_container(**settings)["Id"])
        try:
            self._own_workspace(spec)
            stream = client.attach(ident, stdout=True, stderr=True, stream=True)
            client.start(ident)
        except Exception:
            client.remove_container(ident, v=True, force=True)
            raise
        labels: dict[str, str] = settings["labels"]
        handle, watched = container_of(ident, labels, running=True), watched_of(labels)
        assert handle is not None
        assert watched is not None
        return handle, watched, stream

    def _own_workspace(self, spec: ContainerSpec) -> None:
        uid, gid = job_user(self._engine.known)
        owner = (uid, gid) if os.geteuid() == 0 and uid != 0 else None
        if owner:
            give_workspace(spec.workspace, *owner)
        if not make_workdir(spec.workspace, workdir_parts(spec.workdir), owner=owner):
            raise StartFailed(f"the workdir {spec.workdir} is no folder: name one that can be made")

    async def _start_again(self, spec: ContainerSpec) -> Container:
        """The container is there already: this call's twin made it, perhaps in an earlier life of the worker."""
        found = await self._inspect(name_of(spec))
        if found is None:
            raise ProviderDown(f"container {name_of(spec)} vanished while it was started: start it again")
        handle = handle_of(found)
        if handle is None or not same_run(spec, handle):
            raise ConfigError(f"another container has the name {name_of(spec)}: remove it")
        if found["State"]["Status"] == "created":
            ident = handle.id
            try:
                await self._engine.call(lambda client: (self._own_workspace(spec), client.start(ident)))
            except Exception as error:
                await self._discard(handle.id)
                raise not_started(self._engine, error, spec) from error
            handle = replace(handle, running=True)
        self._followers.adopt(found)
        return handle

    # --- after the start -----------------------------------------------------------------------------------

    async def wait(self, container: Container) -> Exit:
        follower = await self._follower(container)
        if follower is None:
            raise PermanentError(f"container {container.id[:12]} is gone: end its run")
        try:
            return await asyncio.shield(follower.end())
        except ProviderDown:
            self._followers.drop(container.id)  # the next wait follows it anew
            raise

    async def stop(self, container: Container, *, grace_s: float) -> None:
        follower = await self._follower(container)
        if follower is None or follower.ended.done():
            return
        ended = follower.end()
        await self._engine.call(lambda _: follower.kill(ExitReason.STOPPED, "SIGTERM"))
        done, _ = await asyncio.wait({ended}, timeout=grace_s)
        if not done:
            await self._engine.call(lambda _: follower.kill(ExitReason.STOPPED, "SIGKILL"))
            await asyncio.wait({ended})

    async def remove(self, container: Container) -> None:
        follower = self._followers.get(container.id)
        if follower is None:
            found = await self._inspect(container.id)
            if found is None:
                return
            verify_ours(found, container)
        await self._discard(container.id)
        if follower is not None:
            await asyncio.wait({follower.end()}, timeout=5)
            self._followers.drop(container.id)

    async def containers(self, node: str) -> Sequence[Container]:
        label = {"label": [f"{LABEL_NODE}={node}"]}
        try:
            found = await self._engine.call(lambda client: client.containers(all=True, filters=label))
        except Exception as error:
            if api_status(error) is None:
                raise
            raise self._engine.refused(error, "list its containers") from error
        handles = [
            container_of(str(one["Id"]), one.get("Labels") or {}, running=one.get("State") in RUNNING) for one in found
        ]
        return [handle for handle in handles if handle is not None and handle.node == node]

    @property
    def keeper(self) -> Keeper | None:
        return self._pulled

    async def close(self) -> None:
        starts = list(self._starts.values())
        await asyncio.gather(*starts, return_exceptions=True)
        await self._followers.close()
        self._engine.close()

    # --- the engine's containers ---------------------------------------------------------------------------

    async def _follower(self, container: Container) -> DockerFollower | None:
        """Who follows this container; begins to where nobody does. None: it is gone."""
        follower = self._followers.get(container.id)
        if follower is not None:
            return follower
        found = await self._inspect(container.id)
        if found is None:
            return None
        verify_ours(found, container)
        return self._followers.adopt(found)

    async def _inspect(self, ident: str) -> dict[str, Any] | None:
        try:
            return await self._engine.call(lambda client: client.inspect_container(ident))
        except Exception as error:
            status = api_status(error)
            if status == 404:
                return None
            if status is None:
                raise
            raise self._engine.refused(error, f"look at container {ident[:12]}") from error

    async def _discard(self, ident: str) -> None:
        try:
            await self._engine.call(lambda client: client.remove_container(ident, v=True, force=True))
        except Exception as error:
            status = api_status(error)
            if status is None:
                raise
            if status not in (404, 409):  # gone; being removed
                raise self._engine.refused(error, f"remove container {ident[:12]}") from error
