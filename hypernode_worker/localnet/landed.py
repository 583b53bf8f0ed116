"""A transaction that landed, and the history of them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from hypernode_worker.localnet.json_types import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Landed:
    """One transaction of a block.

    Attributes:
        signature: the first one, base58.
        index: its place in the slot's block.
        wire: the transaction as it was sent, without trailing bytes.
        err: the error as JSON-RPC has it, None for success.
        keys: all account keys: static, then loaded writable, then loaded read-only.
        meta: JSON text with fee, balances, logs and the like; `meta_of` reads it.
    """

    signature: str
    slot: int
    block_time: int
    index: int
    wire: bytes
    err: Json
    keys: tuple[Pubkey, ...]
    meta: bytes

    def transaction(self) -> VersionedTransaction:
        return VersionedTransaction.from_bytes(self.wire)

    def meta_of(self) -> JsonObject:
        """The details, by the names of `TransactionMeta.to_json`."""
        return json.loads(self.meta)

    def logs(self) -> Json:
        return self.meta_of()["logs"]


@dataclass(frozen=True, slots=True)
class TransactionMeta:
    """What a transaction did besides its error; byte strings in hex, so that it packs quickly."""

    fee: int
    compute_units: int
    loaded_bytes: int
    logs: Sequence[str]
    inner: Sequence[Json]
    return_data: Json
    pre_balances: Sequence[int]
    post_balances: Sequence[int]
    pre_tokens: Sequence[Json]
    post_tokens: Sequence[Json]
    loaded_writable: int
    writable: int

    def to_json(self) -> JsonObject:
        return {
            "fee": self.fee,
            "compute_units": self.compute_units,
            "loaded_bytes": self.loaded_bytes,
            "logs": list(self.logs),
            "inner": list(self.inner),
            "return_data": self.return_data,
            "pre_balances": list(self.pre_balances),
            "post_balances": list(self.post_balances),
            "pre_tokens": list(self.pre_tokens),
            "post_tokens": list(self.post_tokens),
            "loaded_writable": self.loaded_writable,
            "writable": self.writable,
        }

    def pack(self) -> bytes:
        return json.dumps(self.to_json(), separators=(",", ":")).encode()


class History:
    """The newest landed transactions, by signature and by address. Bounded: the oldest ones are forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_signature: dict[str, Landed] = {}
        self._by_address: dict[Pubkey, deque[Landed]] = {}
        self.total = 0
        """Transactions ever landed, the forgotten ones included."""

    def __len__(self) -> int:
        return len(self._by_signature)

    def add(self, landed: Landed) -> None:
        self._by_signature[landed.signature] = landed
        for key in landed.keys:
            self._by_address.setdefault(key, deque()).append(landed)
        self.total += 1
        if len(self._by_signature) > self._limit:
            self._forget(next(iter(self._by_signature)))

    def get(self, signature: str) -> Landed | None:
        return self._by_signature.get(signature)

    def of_address(self, address: Pubkey) -> Iterable[Landed]:
        """The transactions that name the address, newest first."""
        return reversed(self._by_address.get(address, ()))

    def of_slot(self, slot: int) -> list[Landed]:
        """The slot's transactions in order."""
        found: list[Landed] = []
        for landed in reversed(self._by_signature.values()):
            if landed.slot < slot:
                break
            if landed.slot == slot:
                found.append(landed)
        found.reverse()
        return found

    def _forget(self, signature: str) -> None:
        oldest = self._by_signature.pop(signature)
        for key in oldest.keys:
            mentioned = self._by_address[key]
            mentioned.popleft()
            if not mentioned:
                del self._by_address[key]
