"""The little of protobuf that dag-pb and UnixFS need, read strictly: strangers' bytes come in here."""

from __future__ import annotations

from collections.abc import Iterator

from hypernode_worker.errors import ContentInvalid

VARINT = 0
BYTES = 2
FIXED32 = 5

_MAX_VARINT_BYTES = 10
_MAX_FIELD = 15  # dag-pb and UnixFS stop at 8


def varint(value: int) -> bytes:
    """Encodes an unsigned integer of at most 64 bits."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_bytes(value: int) -> int:
    """Length of `varint(value)`."""
    return max(1, (value.bit_length() + 6) // 7)


def varint_field(number: int, value: int) -> bytes:
    """One field of wire type varint."""
    return varint(number << 3 | VARINT) + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """One length-delimited field."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The integer at `at` and where it ends. Raises ContentInvalid when cut off, too long or not minimal."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if at + index >= len(data):
            raise ContentInvalid("A protobuf message ends inside a number; the block is no UnixFS.")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if (byte == 0 and index) or value >> 64:
                break
            return value, at + index + 1
    raise ContentInvalid("A number in a protobuf message isn't in its shortest form or has over 64 bits.")


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field in order: int for varint and fixed32, bytes for length-delimited.

    Raises ContentInvalid for any other wire type, field numbers above 15, and lengths beyond the end.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number <= _MAX_FIELD:
            raise ContentInvalid(f"A protobuf message has a field {number} that UnixFS doesn't know.")
        if wire == VARINT:
            value, at = read_varint(data, at)
            yield number, value
            continue
        if wire == BYTES:
            length, at = read_varint(data, at)
        elif wire == FIXED32:
            length = 4
        else:
            raise ContentInvalid(f"A protobuf message has wire type {wire}, which UnixFS doesn't use.")
        if length > end - at:
            raise ContentInvalid("A protobuf field is longer than its message; the block is no UnixFS.")
        chunk = data[at : at + length]
        at += length
        yield number, int.from_bytes(chunk, "little") if wire == FIXED32 else chunk
