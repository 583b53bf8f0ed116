"""Containers: what runs a job's operations, within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from hypernode_worker.core.ports.disk import Keeper


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can promise; the conformance suite skips what it says it can't."""

    isolation: bool  # a kernel boundary (namespaces and no host filesystem): Node.isolation
    images: bool  # runs the job's image
    memory_limit: bool
    cpu_limit: bool
    pids_limit: bool
    network_isolation: bool
    gpus: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one container; every one is always set."""

    memory_bytes: int
    cpus: float
    pids: int
    log_bytes: int
    workspace_bytes: int


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One operation of a run: one container (or process tree).

    Attributes:
        job, node: addresses, as text; with `run` and `operation` they are the labels by which it is found again.
        run: one attempt at a job: "<queued_slot>" of the claim.
        operation: index of the operation in the definition.
        image: what `prepare` returned; None for providers without images.
        command: argv; a definition's string command comes as ("/bin/sh", "-c", text).
        workdir: absolute, under /workspace.
        workspace: host folder seen as /workspace by the container, writable by it.
        log_path: host file to which stdout and stderr are appended as they come, up to limits.log_bytes.
        network: outbound network allowed.
        gpus: UUIDs of GPUs; empty: none.
    """

    job: str
    node: str
    run: str
    operation: int
    image: str | None
    command: tuple[str, ...]
    workdir: str
    workspace: Path
    log_path: Path
    limits: Limits
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    network: bool = False
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """A handle that survives a restart of the worker."""

    id: str
    job: str
    node: str
    run: str
    operation: int
    running: bool


class ExitReason(StrEnum):
    """Why a container ended: closed set, each mapped to one outcome."""

    EXITED = "exited"
    OUT_OF_MEMORY = "out_of_memory"
    LOG_LIMIT = "log_limit"
    WORKSPACE_FULL = "workspace_full"
    STOPPED = "stopped"  # by our own `stop`


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended.

    Attributes:
        exit_code: 0..255; 128 + signal where a signal ended it.
        started_at, ended_at: unix seconds.
        cpu_seconds, max_memory_bytes: None where the provider can't tell.
    """

    exit_code: int
    reason: ExitReason
    started_at: float
    ended_at: float
    cpu_seconds: float | None = None
    max_memory_bytes: int | None = None


class ContainerProvider(Protocol):
    """A container runtime. Only objects labelled with the given node are ever touched."""

    @property
    def name(self) -> str:
        """'docker', 'process', 'mock'."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def check(self) -> str:
        """Name and version ('docker 24.0.7'). Raises ProviderDown with the cure. May be repeated."""
        ...

    async def has_image(self, image: str) -> bool:
        """The image is here already, so that `prepare` will not pull. True for providers without images."""
        ...

    async def prepare(self, image: str, *, timeout_s: float) -> str:
        """Pulls when needed; the image pinned by digest (or the local image id where no registry gave one).

        May be repeated. Raises ImageUnavailable, ProviderDown.
        """
        ...

    async def start(self, spec: ContainerSpec) -> Container:
        """Creates and starts. Called twice for one (job, run, operation) it returns the first one's handle.

        Raises StartFailed (the job's fault: no such command), ProviderDown.
        """
        ...

    async def wait(self, container: Container) -> Exit:
        """Until it has ended; at once when it has ended. May be repeated, and cancelled without effect on it."""
        ...

    async def stop(self, container: Container, *, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after grace_s; returns when it has ended. May be repeated; fine when ended or gone."""
        ...

    async def remove(self, container: Container) -> None:
        """Kills and removes with everything it held. May be repeated; fine when gone."""
        ...

    async def containers(self, node: str) -> Sequence[Container]:
        """All that bear this node's label, running or ended."""
        ...

    @property
    def keeper(self) -> Keeper | None:
        """Of the images that this worker pulled; None where there are none."""
        ...

    async def close(self) -> None:
        """Lets go of the engine; containers go on."""
        ...
