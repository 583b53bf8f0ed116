"""Opens a provider by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hypernode_worker.core.ports import ContainerProvider
from hypernode_worker.errors import ConfigError, ProviderDown
from hypernode_worker.providers.docker_engine import DEFAULT_URL

Kind = Literal["auto", "docker", "process", "mock"]


async def open_provider(
    kind: Kind,
    *,
    state_dir: Path,
    docker_url: str = DEFAULT_URL,
    docker_network: str = "none",
    registries: frozenset[str] | None = None,
    local_images: frozenset[str] = frozenset(),
    allow_unisolated: bool = False,
) -> ContainerProvider:
    """The provider of this kind. Only "auto" talks to an engine here; the others do when they are first used.

    Args:
        kind: "auto" is Docker where an engine answers, else processes.
        state_dir: folder of this worker where a provider keeps what it must find again: process runs, pulled images.
        allow_unisolated: processes may run without bubblewrap, with no boundary but an unprivileged user: for jobs
            of one's own.

    Raises:
        ConfigError: an unknown kind, or settings that contradict each other.
    """
    if kind == "mock":
        from hypernode_worker.providers.mock import MockProvider

        return MockProvider()
    if kind == "process":
        return _process(state_dir, allow_unisolated)
    if kind not in ("docker", "auto"):
        raise ConfigError(f"{kind!r} is no container runtime: use docker, process, mock or auto")
    from hypernode_worker.providers.docker_provider import DockerProvider

    docker = DockerProvider(
        url=docker_url,
        network=docker_network,
        registries=registries,
        local_images=local_images,
        state_dir=state_dir,
    )
    if kind == "auto":
        try:
            await docker.check()
        except ProviderDown:
            await docker.close()
            return _process(state_dir, allow_unisolated)
    return docker


def _process(state_dir: Path, allow_unisolated: bool) -> ContainerProvider:
    from hypernode_worker.providers.process_provider import ProcessProvider

    return ProcessProvider(state_dir=state_dir, allow_unisolated=allow_unisolated)
