"""HostHardware: what this machine is and how busy it is."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypernode_worker.core.ports import HostSpecs, HostUsage
from hypernode_worker.hardware.nvidia import NvidiaGpus

_CPU_INFO = Path("/proc/cpuinfo")
_MODEL_KEYS = ("model name", "Model", "cpu model", "Hardware", "Processor")
"""/proc/cpuinfo names the model differently by architecture."""


class HostHardware:
    """Hardware of this machine. Readings run in one thread of its own, since drivers can be slow."""

    def __init__(self, disk: Path, *, gpus: NvidiaGpus | None = None) -> None:
        """
        Args:
            disk: a folder of the disk that jobs use; the nearest existing one above it is looked at.
        """
        self._disk = disk
        self._gpus = gpus or NvidiaGpus()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hardware")

    @property
    def no_gpu_reason(self) -> str | None:
        """Why there is no GPU, in words for a person, once `specs` was asked; None where there is one."""
        return self._gpus.absence

    async def specs(self) -> HostSpecs:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._specs)

    async def usage(self) -> HostUsage:
        """The CPU's share is that since the last call; 0.0 in the first."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._usage)

    def disk_free(self) -> int:
        """What a process without root's reserve may still write."""
        return shutil.disk_usage(self._folder()).free

    async def close(self) -> None:
        """Lets go of the GPU driver."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._gpus.close)
        self._pool.shutdown(wait=False)

    def _specs(self) -> HostSpecs:
        import psutil

        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return HostSpecs(
            cpu_model=cpu_model(),
            cpu_cores=min(psutil.cpu_count(logical=False) or threads, threads),
            cpu_threads=threads,
            memory_bytes=psutil.virtual_memory().total,
            disk_bytes=psutil.disk_usage(str(self._folder())).total,
            os=os_name(),
            kernel=platform.release(),
            arch=platform.machine(),
            gpus=self._gpus.specs(),
        )

    def _usage(self) -> HostUsage:
        import psutil

        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(self._folder()))
        return HostUsage(
            cpu=min(max(psutil.cpu_percent(interval=None) / 100, 0.0), 1.0),
            memory_used_bytes=memory.total - memory.available,
            memory_bytes=memory.total,
            disk_free_bytes=disk.free,
            disk_bytes=disk.total,
            gpus=self._gpus.usage(),
        )

    def _folder(self) -> Path:
        folder = self._disk.absolute()
        while not folder.exists():
            folder = folder.parent
        return folder


def cpu_model(cpuinfo: Path = _CPU_INFO) -> str:
    """The CPU's name for people; its architecture where it has none."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), " ".join(value.split()))
    for key in _MODEL_KEYS:
        if found.get(key):
            return found[key]
    return platform.processor() or platform.machine()


def os_name() -> str:
    """As 'linux Ubuntu 22.04' without more detail than a release: what the start-up output shows."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system().lower()
    name = " ".join(part for part in (release.get("NAME"), release.get("VERSION_ID")) if part)
    return f"{platform.system().lower()} {name or release.get('PRETTY_NAME', '')}".strip()
