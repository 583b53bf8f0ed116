"""The connection to a Docker engine: made when first needed, called from a few threads, its errors put into words."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypernode_worker.errors import HypernodeError, ProviderDown
from hypernode_worker.providers.docker_client import DockerClient, api_status, connect, explanation

DEFAULT_URL = "unix:///var/run/docker.sock"
CALL_THREADS = 8
"""Threads for short calls (create, start, inspect ...). What waits for a container's end has a thread of its own."""

CALL_TIMEOUT_S = 60
"""Seconds for the engine to answer one call."""

_CONNECTIONS = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the engine said about itself when the connection was made.

    Attributes:
        version: for people.
        rootless: it runs as an ordinary user; root inside a container is that user.
        cpus: CPUs it can give.
        gpus: it has a runtime or device specification for NVIDIA GPUs.
        folder: where its images lie; one that doesn't exist where the engine is another machine's.
    """

    version: str
    rootless: bool
    cpus: int
    memory_limit: bool
    cpu_limit: bool
    pids_limit: bool
    gpus: bool
    folder: Path


class DockerEngine:
    """A lazily connected engine. Its calls may be made from any thread."""

    def __init__(self, url: str = DEFAULT_URL) -> None:
        self.url = url
        self.facts: EngineFacts | None = None
        self._client: DockerClient | None = None
        self._pool = ThreadPoolExecutor(CALL_THREADS, thread_name_prefix="docker")
        self._closed = False

    @property
    def known(self) -> EngineFacts:
        """The facts of an engine that has been connected to."""
        assert self.facts is not None
        return self.facts

    async def call(self, function: Callable[[DockerClient], T]) -> T:
        """Runs a blocking function with the client in a thread.

        Raises:
            ProviderDown: the engine can't be reached. docker.errors.APIError passes through: what an engine's
                refusal means depends on the call (see `refused`).
        """
        if self._closed:
            raise ProviderDown("the connection to the container engine was closed: open a new one")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.call_here, function)

    def call_here(self, function: Callable[[DockerClient], T]) -> T:
        """As `call`, in the calling thread."""
        try:
            return function(self.client())
        except HypernodeError:
            raise
        except Exception as error:
            if api_status(error) is not None:
                raise
            raise self.translate(error) from error

    def client(self) -> DockerClient:
        """The docker-py client; connects (a version and an info call) on first use."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> DockerClient:
        client = connect(self.url, timeout_s=CALL_TIMEOUT_S, connections=_CONNECTIONS)
        self.facts = _facts(client.info(), local=self.url.startswith("unix://"))
        return client

    def translate(self, error: Exception) -> ProviderDown:
        """A connection error or an engine's own failure, with the cure."""
        numbers = {e.errno for e in _causes(error) if isinstance(e, OSError) and e.errno is not None}
        if numbers & {errno.EACCES, errno.EPERM}:
            return ProviderDown(
                f"the Docker engine at {self.url} denies access to this user: add yourself to its group with "
                "`sudo usermod -aG docker $USER` and log in again"
            )
        if errno.ENOENT in numbers:
            return ProviderDown(
                f"there is no Docker engine at {self.url}: install Docker, start it with "
                "`sudo systemctl start docker`, or set the engine's URL"
            )
        if errno.ECONNREFUSED in numbers:
            return ProviderDown(
                f"the Docker engine at {self.url} doesn't run: start it with `sudo systemctl start docker`"
            )
        if any("timed out" in str(e).lower() for e in _causes(error)):
            return ProviderDown(
                f"the Docker engine at {self.url} didn't answer in {CALL_TIMEOUT_S} s: look at its log with "
                "`journalctl -u docker`, or restart it"
            )
        return ProviderDown(f"the Docker engine at {self.url} failed ({_short(error)}): look at `journalctl -u docker`")

    def refused(self, error: Exception, doing: str) -> ProviderDown:
        """An engine's refusal that has no better meaning.

        Args:
            doing: what was tried, as "start container x".
        """
        return ProviderDown(f"the Docker engine at {self.url} could not {doing}: {explanation(error)}")

    def close(self) -> None:
        """Ends the connection; calls under way end by themselves."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()
            self._client = None


def _facts(info: dict[str, Any], *, local: bool) -> EngineFacts:
    security: list[str] = info.get("SecurityOptions") or []
    runtimes: dict[str, Any] = info.get("Runtimes") or {}
    devices: list[dict[str, str]] = info.get("DiscoveredDevices") or []
    return EngineFacts(
        version=str(info.get("ServerVersion", "of unknown version")),
        rootless=any("rootless" in option for option in security),
        cpus=int(info.get("NCPU") or 1),
        memory_limit=bool(info.get("MemoryLimit")),
        cpu_limit=bool(info.get("CpuCfsQuota", info.get("CPUCfsQuota"))),
        pids_limit=bool(info.get("PidsLimit", True)),
        gpus="nvidia" in runtimes or any("nvidia.com/gpu" in device.get("ID", "") for device in devices),
        folder=Path(str(info.get("DockerRootDir") or "/nowhere") if local else "/nowhere"),
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that it was raised from or wraps."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        linked = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        pending += [e for e in linked if isinstance(e, BaseException)]


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
