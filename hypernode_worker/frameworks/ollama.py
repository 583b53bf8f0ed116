"""Ollama. Its image's own entry point is replaced by the command, as for every framework."""

from __future__ import annotations

from hypernode_worker.core.definition import FrameworkName
from hypernode_worker.frameworks.framework import FrameworkSpec

OLLAMA = FrameworkSpec(
    name=FrameworkName.OLLAMA,
    image="ollama/ollama:latest",
    default_command=("/bin/sh", "inference.sh"),
)
