"""When a node may claim a job: the program's claim window, so that many nodes don't all pay for the same race."""

from __future__ import annotations

import hashlib

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, QueuedJob
from hypernode_worker.core.types import Slot

LAST_NODE_WAITS_SLOTS = 150
"""How many slots after everyone else a job's last node may claim it again."""


def open_slot(job: QueuedJob | Job, node: Pubkey) -> Slot:
    """The first slot in which `node` may claim `job`; openings double every two slots."""
    spread = job.claim_spread_slots
    if node == job.node:
        return Slot(job.queued_slot + spread + LAST_NODE_WAITS_SLOTS)
    digest = hashlib.sha256(bytes(job.address) + bytes(node) + job.queued_slot.to_bytes(8, "little")).digest()
    h = int.from_bytes(digest[:8], "little")
    return Slot(job.queued_slot + max(0, spread - 2 * (64 - h.bit_length()) - (h & 1)))
