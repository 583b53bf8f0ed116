"""Anything else: every operation brings its command; the image is plain Python unless the definition names one."""

from __future__ import annotations

from hypernode_worker.core.definition import FrameworkName
from hypernode_worker.frameworks.framework import FrameworkSpec

CUSTOM = FrameworkSpec(
    name=FrameworkName.CUSTOM,
    image="python:3.12-slim",
    default_command=(),
)
