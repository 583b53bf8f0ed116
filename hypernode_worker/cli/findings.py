"""What a check of `test` found, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from hypernode_worker.cli import screen


class Skip(Exception):
    """A check that has nothing to look at; the text says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw. `state` is ok, failed or skipped."""

    name: str
    state: str
    message: str


def finding_text(finding: Finding) -> str:
    """One line for people."""
    mark = {"ok": "ok", "failed": "bad", "skipped": "skip"}[finding.state]
    return f"{screen.icon(mark)} {finding.name:<14} {finding.message}"
