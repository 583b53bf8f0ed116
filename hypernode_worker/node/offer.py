"""A job that this node could run."""

from __future__ import annotations

from dataclasses import dataclass

from hypernode_worker.core.accounts import Job
from hypernode_worker.core.definition import JobDefinition


@dataclass(frozen=True, slots=True)
class Offer:
    """A queued job that was read, checked and found fitting."""

    job: Job
    definition: JobDefinition
