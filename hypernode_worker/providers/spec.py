"""What all providers ask of a ContainerSpec, and how they name what they make from it."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping

from hypernode_worker.core.ports import Container, ContainerSpec
from hypernode_worker.errors import ConfigError, StartFailed

WORKSPACE = "/workspace"
"""Where a container sees its workspace folder."""

JOB_UID = 10001
"""User and group that a job runs as when the worker itself is root."""

MAX_ARGUMENT_BYTES = 128 * 1024 - 1
"""Linux' bound for one argument or one environment variable."""

MAX_ARGUMENTS_BYTES = 1024 * 1024
"""All arguments and the environment together."""

DEFAULT_ENV: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": WORKSPACE,  # the only place that may be written and is not memory
}

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_LABEL = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_GPU = re.compile(r"(GPU|MIG)-[0-9a-fA-F-]{8,64}")


def verify_spec(spec: ContainerSpec) -> None:
    """Checks all that a provider relies on, before anything is made.

    Raises:
        StartFailed: the job's fault: its command, workdir or environment.
        ConfigError: the caller's: identifiers, limits, folders, GPU names.
    """
    _verify_identity(spec)
    _verify_command(spec)
    _verify_env(spec.env)
    limits = spec.limits
    if min(limits.memory_bytes, limits.pids, limits.log_bytes, limits.workspace_bytes) < 1 or limits.cpus <= 0:
        raise ConfigError(f"every limit of a container must be above zero, not {limits}: correct the settings")
    if not spec.workspace.is_absolute() or not spec.workspace.is_dir():
        raise ConfigError(f"the workspace {spec.workspace} is no folder: create it before the container is started")
    if not spec.log_path.is_absolute() or not spec.log_path.parent.is_dir():
        raise ConfigError(f"the log {spec.log_path} has no folder: create it before the container is started")
    for gpu in spec.gpus:
        if not _GPU.fullmatch(gpu):
            raise ConfigError(f"{gpu[:80]!r} is no GPU's UUID: name GPUs as `nvidia-smi -L` does")


def _verify_identity(spec: ContainerSpec) -> None:
    for name, value in (("job", spec.job), ("node", spec.node), ("run", spec.run)):
        if not _LABEL.fullmatch(value):
            raise ConfigError(f"{value[:80]!r} can't be a container's {name} label: use letters, digits and _.:-")
    if spec.operation < 0:
        raise ConfigError(f"operation {spec.operation} is negative: count operations from 0")


def _verify_command(spec: ContainerSpec) -> None:
    if not spec.command or not spec.command[0]:
        raise StartFailed("the operation has no command: give it one")
    if any("\0" in argument for argument in spec.command):
        raise StartFailed("the operation's command holds a NUL byte: remove it")
    sizes = [len(argument.encode(errors="surrogatepass")) for argument in spec.command]
    if max(sizes) > MAX_ARGUMENT_BYTES or sum(sizes) > MAX_ARGUMENTS_BYTES:
        raise StartFailed("the operation's command is too long: put it into a file of the job")
    path = spec.workdir
    inside = path == WORKSPACE or path.startswith(WORKSPACE + "/")
    if not inside or "\0" in path or ".." in path.split("/") or len(path) > 1024:
        raise StartFailed(f"the workdir {path[:200]!r} is not under {WORKSPACE}: name a folder there")


def _verify_env(env: Mapping[str, str]) -> None:
    total = 0
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise StartFailed(f"{name[:80]!r} can't name an environment variable: use letters, digits and _")
        size = len(name) + len(value.encode(errors="surrogatepass"))
        total += size
        if "\0" in value or size > MAX_ARGUMENT_BYTES:
            raise StartFailed(f"the environment variable {name} holds a NUL byte or is too long: shorten it")
    if total > MAX_ARGUMENTS_BYTES:
        raise StartFailed("the environment is larger than 1 MiB: put large values into a file of the job")


def container_name(job: str, node: str, run: str, operation: int) -> str:
    """The name of the one container of this operation: the same each time, so that a second start finds the first."""
    digest = hashlib.sha256(f"{job}\n{node}\n{run}\n{operation}".encode()).hexdigest()
    return f"hypernode-{digest[:32]}"


def name_of(spec: ContainerSpec) -> str:
    """container_name of a spec."""
    return container_name(spec.job, spec.node, spec.run, spec.operation)


def same_run(spec: ContainerSpec, container: Container) -> bool:
    """The container is the one that this spec describes."""
    return (spec.job, spec.node, spec.run, spec.operation) == (
        container.job,
        container.node,
        container.run,
        container.operation,
    )


def workdir_parts(workdir: str) -> tuple[str, ...]:
    """The path of a verified workdir inside the workspace, as names."""
    path = posixpath.relpath(posixpath.normpath(workdir), WORKSPACE)
    return () if path == "." else tuple(path.split("/"))
