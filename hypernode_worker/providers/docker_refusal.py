"""What it means when an engine refuses to start a container: the job's fault, the operator's, or the engine's."""

from __future__ import annotations

import re

from hypernode_worker.core.ports import ContainerSpec
from hypernode_worker.errors import ConfigError, HypernodeError, ImageUnavailable, StartFailed
from hypernode_worker.providers.docker_client import api_status, explanation
from hypernode_worker.providers.docker_engine import DockerEngine

_JOBS_FAULT = re.compile(
    r"executable file not found|exec format error|argument list too long|\bexec\b.*(no such file|permission denied)"
    r"|is a directory|not a directory|invalid environment|working directory",
    re.IGNORECASE,
)
_NO_GPU = re.compile(r"device driver|nvidia|unknown device", re.IGNORECASE)


def not_started(engine: DockerEngine, error: Exception, spec: ContainerSpec) -> Exception:
    """The error to raise for one that came of creating or starting a container."""
    status = api_status(error)
    if status is None:
        return error if isinstance(error, HypernodeError) else engine.translate(error)
    text = explanation(error)
    if "no such image" in text.lower():
        return ImageUnavailable(f"image {spec.image} is not on this machine: prepare it again")
    if spec.gpus and _NO_GPU.search(text):
        return ConfigError(
            "the Docker engine can't give GPUs to containers: install the NVIDIA Container Toolkit and restart "
            f"Docker ({text})"
        )
    if "docker-init" in text:
        return ConfigError(f"the Docker engine lacks docker-init: install tini or a complete Docker ({text})")
    if status == 400 or _JOBS_FAULT.search(text):
        return StartFailed(f"the container can't be started: correct the operation's command or image ({text})")
    return engine.refused(error, "start a container")
