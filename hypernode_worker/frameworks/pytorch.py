"""PyTorch: Llama, Mistral, Qwen and the like, by a script in the job's files."""

from __future__ import annotations

from hypernode_worker.core.definition import FrameworkName
from hypernode_worker.frameworks.framework import FrameworkSpec

PYTORCH = FrameworkSpec(
    name=FrameworkName.PYTORCH,
    image="pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime",
    default_command=("python", "inference.py"),
)
