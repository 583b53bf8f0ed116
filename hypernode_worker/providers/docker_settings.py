"""A ContainerSpec as Docker's create call wants it: the hardening that every job gets, and the labels.

Always: memory with no swap beyond it, CPU, pids, open files, size of one file, no core dumps; a read-only root with
a sized /tmp in memory; no capabilities, no new privileges, the default seccomp profile, an unprivileged user; its
own IPC and a sized /dev/shm; no network unless asked for; no device but the GPUs named. What an image declares is
not trusted: its entrypoint, user, volumes, health check and stop signal are replaced.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypernode_worker.core.ports import Container, ContainerSpec
from hypernode_worker.errors import PermanentError
from hypernode_worker.providers.bounded_log import log_offset
from hypernode_worker.providers.docker_client import DockerClient, bind_mount, gpu_request, log_settings, ulimit
from hypernode_worker.providers.docker_engine import EngineFacts
from hypernode_worker.providers.spec import DEFAULT_ENV, JOB_UID, WORKSPACE, name_of

LABEL_JOB = "hypernode.job"
LABEL_NODE = "hypernode.node"
LABEL_RUN = "hypernode.run"
LABEL_OPERATION = "hypernode.operation"
_LABEL_LOG = "hypernode.log"
_LABEL_LOG_OFFSET = "hypernode.log_offset"
_LABEL_LOG_BYTES = "hypernode.log_bytes"
_LABEL_WORKSPACE = "hypernode.workspace"
_LABEL_WORKSPACE_BYTES = "hypernode.workspace_bytes"

LEAST_MEMORY = 6 * 1024 * 1024
"""Bytes; the engine refuses less."""

OPEN_FILES = 16_384
MOST_TMP_BYTES = 1024**3
TMP_FILES = 100_000
OOM_SCORE = 500
"""When the host itself runs out of memory, jobs are ended before anything else."""

ENGINE_LOG_FACTOR = 8
"""Size of each of the engine's two log files, in log_bytes. It wraps each line in some 75 bytes of JSON; from lines of
11 bytes on average the whole log can be read again after a restart. Bounds the host's disk while no worker runs."""

RUNNING = ("running", "paused", "restarting")
"""The engine's states of a container that has not ended."""

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Watched:
    """What must be known to look after a container, also by a worker that didn't start it: kept in its labels."""

    log_path: Path
    log_offset: int
    log_bytes: int
    workspace: Path
    workspace_bytes: int


def job_user(facts: EngineFacts) -> tuple[int, int]:
    """User and group inside the container.

    Root's jobs run as 10001. Another user's run as that user, so that the files they make can be read and deleted.
    In a rootless engine that is what root inside the container means.
    """
    if facts.rootless:
        return 0, 0
    return (JOB_UID, JOB_UID) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


def container_settings(
    client: DockerClient, spec: ContainerSpec, facts: EngineFacts, *, volumes: tuple[str, ...], network: str
) -> dict[str, Any]:
    """Arguments of create_container.

    Args:
        volumes: paths that the image declares as volumes: they become small tmpfs mounts, where Docker would make
            unbounded folders on the host's disk.
        network: name of the network that spec.network stands for.
    """
    limits = spec.limits
    uid, gid = job_user(facts)
    # Owned by the job: runc gives the mount the mode of the image's own folder, which may be closed to it.
    tmp_bytes = max(min(limits.memory_bytes // 2, MOST_TMP_BYTES), _MIB)
    tmp = f"rw,exec,nosuid,nodev,size={tmp_bytes},nr_inodes={TMP_FILES},mode=1777,uid={uid},gid={gid}"
    host = client.create_host_config(
        cap_drop=["ALL"],
        device_requests=[gpu_request(spec.gpus)] if spec.gpus else None,
        init=True,  # reaps the job's orphans and hands signals on; no measurable cost
        ipc_mode="private",
        log_config=log_settings(max_bytes=ENGINE_LOG_FACTOR * limits.log_bytes + _MIB),
        mem_limit=max(limits.memory_bytes, LEAST_MEMORY),
        mounts=[bind_mount(str(spec.workspace), WORKSPACE)],
        memswap_limit=max(limits.memory_bytes, LEAST_MEMORY),
        nano_cpus=int(max(min(limits.cpus, facts.cpus), 0.01) * 1e9),
        network_mode=network if spec.network else "none",
        oom_score_adj=OOM_SCORE,
        pids_limit=limits.pids,
        privileged=False,
        read_only=True,
        security_opt=["no-new-privileges:true"],
        shm_size=max(limits.memory_bytes // 2, _MIB),
        tmpfs={"/tmp": tmp} | {path: tmp for path in volumes},  # noqa: S108 -- the container's own
        ulimits=[ulimit("nofile", OPEN_FILES), ulimit("fsize", limits.workspace_bytes), ulimit("core", 0)],
    )
    return {
        "image": spec.image,
        "name": name_of(spec),
        "entrypoint": list(spec.command),
        "command": None,
        "environment": {**DEFAULT_HOME, **spec.env},
        "healthcheck": {"test": ["NONE"]},
        "host_config": host,
        "hostname": "job",
        "labels": labels_of(spec),
        "stop_signal": "SIGTERM",
        "user": f"{uid}:{gid}",
        "working_dir": spec.workdir,
    }


DEFAULT_HOME = {"HOME": DEFAULT_ENV["HOME"]}
"""PATH is the image's own."""


def labels_of(spec: ContainerSpec) -> dict[str, str]:
    """By these the container is found and looked after again."""
    return {
        LABEL_JOB: spec.job,
        LABEL_NODE: spec.node,
        LABEL_RUN: spec.run,
        LABEL_OPERATION: str(spec.operation),
        _LABEL_LOG: str(spec.log_path),
        _LABEL_LOG_OFFSET: str(log_offset(spec.log_path)),
        _LABEL_LOG_BYTES: str(spec.limits.log_bytes),
        _LABEL_WORKSPACE: str(spec.workspace),
        _LABEL_WORKSPACE_BYTES: str(spec.limits.workspace_bytes),
    }


def container_of(ident: str, labels: dict[str, str], *, running: bool) -> Container | None:
    """The handle for an engine's container; None where the labels aren't ours."""
    try:
        return Container(
            id=ident,
            job=labels[LABEL_JOB],
            node=labels[LABEL_NODE],
            run=labels[LABEL_RUN],
            operation=int(labels[LABEL_OPERATION]),
            running=running,
        )
    except (KeyError, ValueError):
        return None


def watched_of(labels: dict[str, str]) -> Watched | None:
    """What the labels say about log and workspace; None where they aren't ours."""
    try:
        return Watched(
            log_path=Path(labels[_LABEL_LOG]),
            log_offset=int(labels[_LABEL_LOG_OFFSET]),
            log_bytes=int(labels[_LABEL_LOG_BYTES]),
            workspace=Path(labels[_LABEL_WORKSPACE]),
            workspace_bytes=int(labels[_LABEL_WORKSPACE_BYTES]),
        )
    except (KeyError, ValueError):
        return None


def labels_in(found: dict[str, Any]) -> dict[str, str]:
    """The labels in an engine's description of a container."""
    return found["Config"].get("Labels") or {}


def handle_of(found: dict[str, Any]) -> Container | None:
    """The handle for an engine's description of a container; None where the labels aren't ours."""
    return container_of(str(found["Id"]), labels_in(found), running=found["State"].get("Status") in RUNNING)


def verify_ours(found: dict[str, Any], container: Container) -> None:
    """The engine's container is the one that the handle means.

    Raises:
        PermanentError: it belongs to someone else; it is not touched.
    """
    handle = handle_of(found)
    if handle is None or replace(handle, running=container.running) != container:
        raise PermanentError(f"container {container.id[:12]} is not of node {container.node}: it is left alone")
