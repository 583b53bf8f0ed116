"""ProcessProvider: runs as processes of this machine, in a bubblewrap sandbox where that works.

It has no images: a job gets the host's /usr and the Python that runs the worker. Nodes that use it are of low trust:
there is a boundary, but no memory cgroup and the host's programs.

Bounds, and how firm they are: log, length of one file, /tmp, open files and number of processes are exact (the last
counts all processes of the same user); memory is looked at 20 times a second and may be exceeded in between, at most
by 2 GiB a process; the CPU share is rounded to whole CPUs; the workspace as in DockerProvider. Outbound network, where
allowed, is the host's own.

A run survives the worker's process: a supervisor of its own stands over it (and ends it when it is itself ended, for
example by a service manager that ends all processes of a service).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from hypernode_worker.core.ports import Capabilities, Container, ContainerSpec, Exit
from hypernode_worker.errors import ConfigError, PermanentError, StartFailed
from hypernode_worker.providers.process_runs import ProcessRun, ProcessRuns
from hypernode_worker.providers.process_sandbox import JOB_ID, Mode, find_mode, search_path
from hypernode_worker.providers.spec import DEFAULT_ENV, WORKSPACE, name_of, verify_spec, workdir_parts
from hypernode_worker.providers.workspace import MAX_FILES, give_workspace, make_workdir


class ProcessProvider:
    """ContainerProvider by processes with a supervisor each; what is needed to find them again is in `state_dir`."""

    def __init__(
        self, *, state_dir: Path, allow_unisolated: bool = False, max_workspace_files: int = MAX_FILES
    ) -> None:
        """
        Args:
            state_dir: this worker's own folder; made (0700) when missing.
            allow_unisolated: run without a sandbox where bubblewrap doesn't work: only for jobs of one's own.
        """
        self._runs = ProcessRuns(state_dir.absolute())
        self._allow_unisolated = allow_unisolated
        self._max_files = max_workspace_files
        self._found: tuple[Mode, str] | None = None
        self._starting: dict[str, asyncio.Lock] = {}

    @property
    def name(self) -> str:
        return "process"

    @property
    def capabilities(self) -> Capabilities:
        """Known after the first `check` or `start`; before that, the least."""
        sandboxed = self._found is not None and self._found[0] != "none"
        return Capabilities(
            isolation=False,
            images=False,
            memory_limit=False,
            cpu_limit=False,
            pids_limit=self._found is not None and (sandboxed or self._drops),
            network_isolation=sandboxed,
            gpus=False,
        )

    @property
    def _drops(self) -> bool:
        return os.geteuid() == 0

    async def check(self) -> str:
        """As the port says; also raises ConfigError where there is no sandbox and none was waived."""
        mode = await self._mode()
        return "process (bubblewrap)" if mode != "none" else "process (no isolation: for jobs of your own only)"

    async def has_image(self, image: str) -> bool:
        return True

    async def prepare(self, image: str, *, timeout_s: float) -> str:
        """There are no images: the name comes back as it is."""
        return image

    async def start(self, spec: ContainerSpec) -> Container:
        verify_spec(spec)
        mode = await self._mode()
        if spec.gpus:
            raise ConfigError("the process provider gives no GPUs to jobs: use Docker for jobs that want one")
        key = name_of(spec)
        async with self._starting.setdefault(key, asyncio.Lock()):
            run = self._runs.find(key)
            if run is None:
                run = await asyncio.shield(asyncio.to_thread(self._start, key, spec, mode))
        self._starting.pop(key, None)
        return run.handle()

    async def wait(self, container: Container) -> Exit:
        run = self._run(container)
        if run is None:
            raise PermanentError(f"run {container.id} is gone: end it")
        await run.ended()
        return run.exit()

    async def stop(self, container: Container, *, grace_s: float) -> None:
        run = self._run(container)
        if run is None or not run.running:
            return
        run.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(run.ended(), grace_s)
        except TimeoutError:
            run.signal(signal.SIGUSR1)
            await run.ended()

    async def remove(self, container: Container) -> None:
        run = self._run(container)
        if run is None:
            return
        if run.running:
            run.signal(signal.SIGUSR1)
            await run.ended()
        await asyncio.to_thread(self._runs.forget, run)

    async def containers(self, node: str) -> Sequence[Container]:
        runs = await asyncio.to_thread(self._runs.all)
        return [handle for run in runs if (handle := run.handle()).node == node]

    @property
    def keeper(self) -> None:
        """There are no images to keep."""
        return None

    async def close(self) -> None:
        """The runs go on under their supervisors."""

    # --- starting ------------------------------------------------------------------------------------------

    async def _mode(self) -> Mode:
        """How runs are bounded here; tried once.

        Raises:
            ConfigError: not at all, and that was not allowed.
        """
        if self._found is None or self._found[0] == "none":
            self._found = await asyncio.to_thread(find_mode, self._runs.folder())
        mode, why = self._found
        if mode == "none" and not self._allow_unisolated:
            raise ConfigError(
                f"jobs can't be isolated on this machine: {why}; install Docker or bubblewrap "
                "(`sudo apt-get install bubblewrap`), or, only for jobs of your own, set ALLOW_UNISOLATED=true"
            )
        return mode

    def _start(self, key: str, spec: ContainerSpec, mode: Mode) -> ProcessRun:
        """In a thread: makes the folder, starts the supervisor and waits until it has started the command."""
        drop = self._drops and (mode == "root" or _reachable(spec.workspace))
        owner = (JOB_ID, JOB_ID) if drop else None
        if owner:
            give_workspace(spec.workspace, *owner)
        parts = workdir_parts(spec.workdir)
        if not make_workdir(spec.workspace, parts, owner=owner):
            raise StartFailed(f"the workdir {spec.workdir} is no folder: name one that can be made")
        limits = spec.limits
        env = {**DEFAULT_ENV, "PATH": search_path(mode), **spec.env}
        return self._runs.start(
            key,
            {
                "job": spec.job,
                "node": spec.node,
                "run": spec.run,
                "operation": spec.operation,
                "mode": mode,
                "drop": drop and mode == "none",
                "command": list(spec.command),
                "env": env
                if mode != "none"
                else {name: _on_host(value, spec.workspace) for name, value in env.items()},
                "workdir": spec.workdir,
                "host_workdir": str(spec.workspace.joinpath(*parts)),
                "workspace": str(spec.workspace),
                "workspace_bytes": limits.workspace_bytes,
                "workspace_files": self._max_files,
                "log_path": str(spec.log_path),
                "log_bytes": limits.log_bytes,
                "memory_bytes": limits.memory_bytes,
                "cpus": limits.cpus,
                "pids": limits.pids,
                "network": spec.network,
            },
        )

    def _run(self, container: Container) -> ProcessRun | None:
        run = self._runs.find(container.id)
        if run is not None and run.handle().node != container.node:
            raise PermanentError(f"run {container.id} is not of node {container.node}: it is left alone")
        return run


def _reachable(path: Path) -> bool:
    """Any user can walk to this folder."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def _on_host(value: str, workspace: Path) -> str:
    """Without a sandbox there is no /workspace: a variable that names a path there names the host's."""
    if value == WORKSPACE or value.startswith(WORKSPACE + "/"):
        return str(workspace) + value.removeprefix(WORKSPACE)
    return value
