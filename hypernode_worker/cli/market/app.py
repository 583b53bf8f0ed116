"""The noun."""

from __future__ import annotations

from hypernode_worker.cli.command import group

app = group("Markets: the rules and the price floor for a kind of work.")
