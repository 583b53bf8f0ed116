"""Frameworks: one file each. A framework is its image, its default command and its bit on chain.

`framework(name)` gives one; images may be replaced by the operator's settings and by a definition's `image`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from hypernode_worker.core.definition import FrameworkName, JobDefinition
from hypernode_worker.frameworks.framework import FrameworkSpec

__all__ = ["FrameworkSpec", "all_bits", "framework", "image_of"]


def framework(name: FrameworkName) -> FrameworkSpec:
    """What is known of a framework."""
    match name:
        case FrameworkName.CUSTOM:
            from hypernode_worker.frameworks.custom import CUSTOM as found
        case FrameworkName.PYTORCH:
            from hypernode_worker.frameworks.pytorch import PYTORCH as found
        case FrameworkName.HUGGINGFACE:
            from hypernode_worker.frameworks.huggingface import HUGGINGFACE as found
        case FrameworkName.STABLE_DIFFUSION:
            from hypernode_worker.frameworks.stable_diffusion import STABLE_DIFFUSION as found
        case FrameworkName.OLLAMA:
            from hypernode_worker.frameworks.ollama import OLLAMA as found
        case _:
            assert_never(name)
    return found


def image_of(definition: JobDefinition, images: Mapping[str, str]) -> str:
    """The image of a job: the definition's, else the operator's for the framework (`images`), else the framework's."""
    return definition.image or images.get(definition.framework) or framework(definition.framework).image


def all_bits() -> int:
    """`Node.frameworks` of a node that takes all of them."""
    return sum(framework(name).bit for name in FrameworkName)
