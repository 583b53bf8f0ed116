"""The words of the domain as types."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import NewType

UnixTime = NewType("UnixTime", int)
"""Seconds since 1970, as the chain's Clock sysvar counts them."""

Slot = NewType("Slot", int)
"""A slot's number; slots follow each other about every 400 ms."""

LAMPORTS_PER_SOL = 1_000_000_000
CID_BYTES = 36
"""Length of a CID on chain: version, codec, hash function, hash length, 32 bytes of sha2-256."""

RAW = 0x55
DAG_PB = 0x70
_CODECS = (RAW, DAG_PB)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """A CIDv1 over sha2-256, of raw bytes or dag-pb: all that the program and the stores accept.

    Attributes:
        codec: RAW or DAG_PB.
        digest: 32 bytes, sha2-256 of the block.
    """

    codec: int
    digest: bytes

    def __post_init__(self) -> None:
        if self.codec not in _CODECS or len(self.digest) != 32:
            raise ValueError(f"not a CID of raw or dag-pb over sha2-256: codec {self.codec:#x}")

    @classmethod
    def of(cls, block: bytes, codec: int = RAW) -> Cid:
        """The CID of one block's bytes."""
        return cls(codec, hashlib.sha256(block).digest())

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Reads CIDv1 in base32 ('b...') or base58 ('z...'), and CIDv0 ('Qm...', the same block as dag-pb).

        Raises:
            ValueError: not a CID of raw or dag-pb over sha2-256.
        """
        try:
            if text.startswith("Qm") and len(text) == 46:
                return cls(DAG_PB, _multihash(_base58_decode(text)))
            if text.startswith("b"):
                body = text[1:].upper()
                return cls.from_bytes(base64.b32decode(body + "=" * (-len(body) % 8)))
            if text.startswith("z"):
                return cls.from_bytes(_base58_decode(text[1:]))
        except ValueError as error:
            raise ValueError(f"{text[:80]!r} is not a CID: {error}") from error
        raise ValueError(f"{text[:80]!r} is not a CID: it begins with neither 'b', 'z' nor 'Qm'")

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """Reads the 36 bytes that stand on chain.

        Raises:
            ValueError: another version, codec, hash or length.
        """
        if len(data) != CID_BYTES or data[0] != 1:
            raise ValueError("not the 36 bytes of a CIDv1 over sha2-256")
        return cls(data[1], _multihash(data[2:]))

    def to_bytes(self) -> bytes:
        """The 36 bytes that stand on chain."""
        return bytes((1, self.codec, 0x12, 0x20)) + self.digest

    def __str__(self) -> str:
        return "b" + base64.b32encode(self.to_bytes()).decode().rstrip("=").lower()

    def __repr__(self) -> str:
        return f"Cid({self})"


def _multihash(data: bytes) -> bytes:
    if len(data) != 34 or data[:2] != b"\x12\x20":
        raise ValueError("its hash is not sha2-256")
    return data[2:]


def _base58_decode(text: str) -> bytes:
    if len(text) > 60:
        raise ValueError("too long")
    number = 0
    for char in text:
        value = _BASE58.find(char)
        if value < 0:
            raise ValueError(f"{char!r} is no base58 digit")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8)
