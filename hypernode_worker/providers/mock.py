"""MockProvider: containers that exist only in memory, do what they are told, and fail when they are told to.

Time is the event loop's, so that an hour passes at once under a virtual clock. Nothing runs in the background: what a
container would have done by now is worked out when someone looks.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from hypernode_worker.core.ports import Capabilities, Container, ContainerSpec, Exit, ExitReason
from hypernode_worker.errors import ConfigError, ImageUnavailable, PermanentError
from hypernode_worker.providers.bounded_log import BoundedLog
from hypernode_worker.providers.image import is_image_id, parse_image
from hypernode_worker.providers.spec import name_of, verify_spec, workdir_parts

EVERYTHING = Capabilities(
    isolation=True,
    images=True,
    memory_limit=True,
    cpu_limit=True,
    pids_limit=True,
    network_isolation=True,
    gpus=False,
)
_KILLED = 137
_TERMINATED = 143


@dataclass(frozen=True, slots=True)
class MockRun:
    """What one mock container does.

    Attributes:
        seconds: how long it runs; math.inf: until it is stopped.
        output: what it prints at its start.
        files: path below the workspace -> content, written at its end.
        memory_bytes: what it needs; more than its limit ends it at its start.
        ignores_term: runs on until SIGKILL.
    """

    seconds: float = 0.0
    exit_code: int = 0
    output: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    memory_bytes: int = 0
    ignores_term: bool = False


def succeed(spec: ContainerSpec) -> MockRun:
    """The default behaviour: prints its command and exits with 0."""
    return MockRun(output=(" ".join(spec.command) + "\n").encode(errors="replace"))


class MockEngine:
    """What outlives a provider object: the containers, the images, and the faults to come."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        """Name -> what `prepare` returns."""
        self.pulled: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        """Method name -> errors for its next calls, first one first."""
        self.held: dict[str, _Held] = {}

    def fail(self, method: str, *errors: Exception) -> None:
        """The next calls of this method raise these errors, one each."""
        self.faults.setdefault(method, []).extend(errors)

    def pretend(self, method: str) -> None:
        """Raises the next fault of a method, if there is one."""
        if pending := self.faults.get(method):
            raise pending.pop(0)


class MockProvider:
    """ContainerProvider in memory. Several may share one engine, as a worker's next life shares Docker's."""

    def __init__(
        self,
        behave: Callable[[ContainerSpec], MockRun] = succeed,
        *,
        engine: MockEngine | None = None,
        capabilities: Capabilities = EVERYTHING,
        pull_seconds: float = 0.0,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine or MockEngine()
        self._behave = behave
        self._capabilities = capabilities
        self._pull_seconds = pull_seconds
        self._unix_time = unix_time

    @property
    def name(self) -> str:
        return "mock"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def check(self) -> str:
        self.engine.pretend("check")
        return "mock 1"

    async def has_image(self, image: str) -> bool:
        self.engine.pretend("has_image")
        return image in self.engine.images or image in self.engine.images.values()

    async def prepare(self, image: str, *, timeout_s: float) -> str:
        """Any well-formed name is "pulled" in no time, unless a fault says otherwise; `engine.pulled` keeps count."""
        self.engine.pretend("prepare")
        if image in self.engine.images.values() or is_image_id(image):
            return image
        name = str(parse_image(image))
        if name.startswith("missing/"):
            raise ImageUnavailable(f"image {name} can't be pulled: check its name and that it is public")
        if image not in self.engine.images:
            await asyncio.sleep(min(self._pull_seconds, timeout_s))
            self.engine.pulled.append(image)
            self.engine.images[image] = f"{parse_image(image).repository}@sha256:{'0' * 64}"
        return self.engine.images[image]

    async def start(self, spec: ContainerSpec) -> Container:
        verify_spec(spec)
        self.engine.pretend("start")
        key = name_of(spec)
        held = self.engine.held.get(key)
        if held is None:
            if spec.gpus and not self._capabilities.gpus:
                raise ConfigError("the mock provider has no GPUs: take no jobs that want one")
            held = self.engine.held[key] = _Held(spec, self._behave(spec), self._unix_time())
        return held.handle

    async def wait(self, container: Container) -> Exit:
        self.engine.pretend("wait")
        held = self._held(container)
        if held is None:
            raise PermanentError(f"container {container.id[:12]} is gone: end its run")
        await held.wait()
        return held.exit

    async def stop(self, container: Container, *, grace_s: float) -> None:
        self.engine.pretend("stop")
        held = self._held(container)
        if held is None or not held.running:
            return
        if held.run.ignores_term:
            await held.wait(grace_s)
        held.end(_KILLED if held.run.ignores_term else _TERMINATED, ExitReason.STOPPED)

    async def remove(self, container: Container) -> None:
        self.engine.pretend("remove")
        held = self._held(container)
        if held is not None:
            held.end(_KILLED, ExitReason.STOPPED)
            del self.engine.held[container.id]

    async def containers(self, node: str) -> Sequence[Container]:
        self.engine.pretend("containers")
        return [held.handle for held in self.engine.held.values() if held.spec.node == node]

    @property
    def keeper(self) -> None:
        """There are no images to keep."""
        return None

    async def close(self) -> None:
        """Nothing is held."""

    def _held(self, container: Container) -> _Held | None:
        held = self.engine.held.get(container.id)
        if held is not None and held.spec.node != container.node:
            raise PermanentError(f"container {container.id[:12]} is not of node {container.node}: it is left alone")
        return held


class _Held:
    """One mock container."""

    def __init__(self, spec: ContainerSpec, run: MockRun, unix_time: float) -> None:
        self.spec = spec
        self.run = run
        self._started_at = unix_time
        self._begun = asyncio.get_running_loop().time()
        self._changed = asyncio.Event()
        self._exit: Exit | None = None
        with BoundedLog(spec.log_path, limit=spec.limits.log_bytes) as log:
            fits = log.write(run.output)
        if not fits:
            self.end(_KILLED, ExitReason.LOG_LIMIT)
        elif run.memory_bytes > spec.limits.memory_bytes:
            self.end(_KILLED, ExitReason.OUT_OF_MEMORY)

    @property
    def handle(self) -> Container:
        spec = self.spec
        return Container(name_of(spec), spec.job, spec.node, spec.run, spec.operation, self.running)

    @property
    def running(self) -> bool:
        if self._exit is None and self._left <= 0:
            self._finish()
        return self._exit is None

    @property
    def _left(self) -> float:
        """Seconds until its natural end; a nanosecond of rounding counts as none."""
        left = self._begun + self.run.seconds - asyncio.get_running_loop().time()
        return left if left > 1e-9 else 0.0

    async def wait(self, at_most: float = math.inf) -> None:
        """Returns when it has ended, or after `at_most` seconds."""
        pause = min(self._left, at_most)
        if self.running and pause > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), None if math.isinf(pause) else pause)

    @property
    def exit(self) -> Exit:
        """Its exit, once it has ended."""
        assert not self.running
        assert self._exit is not None
        return self._exit

    def end(self, code: int, reason: ExitReason) -> None:
        """Ends it now; nothing happens when it has ended."""
        if self._exit is None:
            self._exit = self._exit_of(code, reason)
            self._changed.set()

    def _finish(self) -> None:
        """Its natural end: writes the files, as far as they fit."""
        size = 0
        for name, content in self.run.files.items():
            size += len(content)
            if size >= self.spec.limits.workspace_bytes:
                return self.end(_KILLED, ExitReason.WORKSPACE_FULL)
            path = self.spec.workspace.joinpath(*workdir_parts(f"/workspace/{name}"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return self.end(self.run.exit_code, ExitReason.EXITED)

    def _exit_of(self, code: int, reason: ExitReason) -> Exit:
        ran = asyncio.get_running_loop().time() - self._begun
        return Exit(code, reason, self._started_at, self._started_at + ran, cpu_seconds=0.0, max_memory_bytes=0)
