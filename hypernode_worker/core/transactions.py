"""What is written down of a transaction before it is first sent, so that a restart can follow it to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.types import Slot


@dataclass(frozen=True, slots=True)
class SentTransaction:
    """A signed transaction that may land, or may have landed.

    Attributes:
        key: 32 bytes, sha256 of its instructions: the same for every attempt at the same effect.
        what: in words, as an infinitive ("claim job 7xZ8").
        job: the job that it is about; None for others.
        wire: its bytes, as sent.
        last_valid_block_height: above it, it can't land any more.
        fee_lamports: what it costs when it lands, also with an error.
    """

    key: bytes
    what: str
    job: Pubkey | None
    signature: Signature
    wire: bytes
    last_valid_block_height: int
    fee_lamports: int


class TransactionLog(Protocol):
    """Where transactions stand from before they are sent until their end is known. Calls are short and block."""

    def sent(self, transaction: SentTransaction) -> None:
        """Before the first broadcast; durable when it returns. Raises TransientError: then it must not be sent."""
        ...

    def ended(self, signature: Signature, slot: Slot | None) -> None:
        """It is in the block of this slot (also with an error); None: it can no longer land. May be repeated."""
        ...

    def open_transactions(self) -> Sequence[SentTransaction]:
        """Those whose end isn't known, oldest first."""
        ...

    def last_slot(self) -> Slot:
        """The highest slot in which one landed, 0 when none did: an endpoint that is at an earlier one is behind."""
        ...
