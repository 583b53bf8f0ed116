"""Hugging Face transformers, by a script in the job's files."""

from __future__ import annotations

from hypernode_worker.core.definition import FrameworkName
from hypernode_worker.frameworks.framework import FrameworkSpec

HUGGINGFACE = FrameworkSpec(
    name=FrameworkName.HUGGINGFACE,
    image="huggingface/transformers-pytorch-gpu:latest",
    default_command=("python3", "inference.py"),
)
