"""Stable Diffusion 1.5 and XL, by a script in the job's files."""

from __future__ import annotations

from hypernode_worker.core.definition import FrameworkName
from hypernode_worker.frameworks.framework import FrameworkSpec

STABLE_DIFFUSION = FrameworkSpec(
    name=FrameworkName.STABLE_DIFFUSION,
    image="stabilityai/stable-diffusion:latest",
    default_command=("python3", "inference.py"),
)
