"""Zstandard frames without compression: what `base64+zstd` asks for, without a compression library.

Format: RFC 8878. A raw or run-length block is valid Zstandard; any decoder reads it.
"""

from __future__ import annotations

import struct

_MAGIC = 0xFD2FB528
_SINGLE_SEGMENT_SIZE_8 = 0b1110_0000
"""Frame header descriptor: a single segment, its size in 8 bytes, no checksum, no dictionary."""
_BLOCK = 128 * 1024
_RAW, _RLE = 0, 1


def frame(data: bytes) -> bytes:
    """A Zstandard frame whose content is the data. Blocks of one repeated byte take four bytes."""
    parts = [struct.pack("<IBQ", _MAGIC, _SINGLE_SEGMENT_SIZE_8, len(data))]
    blocks = [data[at : at + _BLOCK] for at in range(0, len(data), _BLOCK)] or [b""]
    for number, block in enumerate(blocks):
        last = int(number == len(blocks) - 1)
        repeated = len(block) > 1 and block.count(block[:1]) == len(block)
        kind, body = (_RLE, block[:1]) if repeated else (_RAW, block)
        header = last | kind << 1 | len(block) << 3
        parts += (header.to_bytes(3, "little"), body)
    return b"".join(parts)
