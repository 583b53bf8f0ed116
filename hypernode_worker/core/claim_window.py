"""When a node may claim a job: the program's claim window, so that many nodes don't all pay for the same race."""

from __future__ import annotations

import hashlib

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, QueuedJob
from hypernode_worker.core.types import Slot

LAST_NODE_WAITS_SLOTS = 150
"""How many slots after everyone else a job's last node may claim it again."""


def open_slot(job: QueuedJob | Job, node: Pubkey) -> Slot:
    """The first slot in which `node` may claim `job`."""
    spread = job.claim_spread_slots
    if node == job.node:
        return Slot(job.queued_slot + spread + LAST_NODE_WAITS_SLOTS)
    return Slot(job.queued_slot + opens_after(window_hash(job, node), spread))


def window_hash(job: QueuedJob | Job, node: Pubkey) -> int:
    """The lot that a node draws for a job, in 64 bits: another one each time that the job is queued."""
    digest = hashlib.sha256(bytes(job.address) + bytes(node) + job.queued_slot.to_bytes(8, "little")).digest()
    return int.from_bytes(digest[:8], "little")


def opens_after(lot: int, spread: int) -> int:
    """Slots that a node with this lot waits after the queueing; openings double every two slots, up to `spread`."""
    return max(0, spread - 2 * (64 - lot.bit_length()) - (lot & 1))
