"""The machine: its clock, its hardware, how busy it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Wall time. Durations are taken from the event loop's time, which tests replace (looptime)."""

    def unix_time(self) -> float:
        """Seconds since 1970."""
        ...


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; sizes in bytes."""

    index: int
    uuid: str
    vendor: str  # "nvidia", "amd", "other"
    name: str
    memory_bytes: int
    driver: str


@dataclass(frozen=True, slots=True)
class HostSpecs:
    """What a machine is. `cpu_threads` counts logical CPUs, as the scheduler may use them."""

    cpu_model: str
    cpu_cores: int
    cpu_threads: int
    memory_bytes: int
    disk_bytes: int
    os: str
    kernel: str
    arch: str
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class GpuUsage:
    uuid: str
    utilization: float  # 0..1
    memory_used_bytes: int
    memory_bytes: int
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class HostUsage:
    """A moment's load; shares are 0..1."""

    cpu: float
    memory_used_bytes: int
    memory_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    gpus: tuple[GpuUsage, ...]


class Hardware(Protocol):
    """The machine. The calls are cheap enough for once in ten seconds and never raise for a missing GPU."""

    async def specs(self) -> HostSpecs: ...

    async def usage(self) -> HostUsage: ...

    def disk_free(self) -> int:
        """Bytes that are free on the disk of the jobs, now; cheap enough for once a second."""
        ...
