"""dag-pb: a node of links and data, in the one byte form that IPFS hashes."""

from __future__ import annotations

from dataclasses import dataclass

from hypernode_worker.core.types import DAG_PB, Cid
from hypernode_worker.errors import ContentInvalid
from hypernode_worker.ipfs import protobuf

MAX_BLOCK_BYTES = 2 << 20
"""Largest block that IPFS nodes hand to each other; nothing larger is made, fetched or served."""

_CIDV0_BYTES = 34


@dataclass(frozen=True, slots=True)
class Link:
    """A named reference. `tsize` is the bytes of all blocks below it, as its maker says; None where it says nothing."""

    cid: Cid
    name: bytes
    tsize: int | None

    def encode(self) -> bytes:
        """As one field of the node. The name is written even when empty, as Kubo does."""
        body = protobuf.bytes_field(1, self.cid.to_bytes()) + protobuf.bytes_field(2, self.name)
        if self.tsize is not None:
            body += protobuf.varint_field(3, self.tsize)
        return protobuf.bytes_field(2, body)


@dataclass(frozen=True, slots=True)
class PbNode:
    """Links in the order in which they are written, then data."""

    links: tuple[Link, ...]
    data: bytes


def encode(node: PbNode) -> bytes:
    """The bytes of a block. Directories sort their links before; files keep their order."""
    return b"".join([link.encode() for link in node.links]) + protobuf.bytes_field(1, node.data)


def decode(block: bytes) -> PbNode:
    """Reads a block strictly: links, then data, each field once and in order. Raises ContentInvalid."""
    links: list[Link] = []
    data: bytes | None = None
    for number, value in protobuf.fields(block):
        if not isinstance(value, bytes):
            raise ContentInvalid("A dag-pb block has a number where links or data belong.")
        if data is not None:
            raise ContentInvalid("A dag-pb block goes on after its data.")
        if number == 2:
            links.append(_decode_link(value))
        elif number == 1:
            data = value
        else:
            raise ContentInvalid(f"A dag-pb block has a field {number}, which doesn't exist.")
    if data is None:
        raise ContentInvalid("A dag-pb block has no data, so it isn't UnixFS.")
    return PbNode(tuple(links), data)


def _decode_link(body: bytes) -> Link:
    cid: Cid | None = None
    name = b""
    tsize: int | None = None
    last = 0
    for number, value in protobuf.fields(body):
        if number <= last:
            raise ContentInvalid("A dag-pb link has its fields twice or out of order.")
        last = number
        if number == 1 and isinstance(value, bytes):
            cid = _decode_cid(value)
        elif number == 2 and isinstance(value, bytes):
            name = value
        elif number == 3 and isinstance(value, int):
            tsize = value
        else:
            raise ContentInvalid(f"A dag-pb link has a field {number} that doesn't belong there.")
    if cid is None:
        raise ContentInvalid("A dag-pb link leads nowhere: it has no CID.")
    return Link(cid, name, tsize)


def _decode_cid(data: bytes) -> Cid:
    try:
        if len(data) == _CIDV0_BYTES and data[:2] == b"\x12\x20":
            return Cid(DAG_PB, data[2:])
        return Cid.from_bytes(data)
    except ValueError as error:
        raise ContentInvalid(f"A link isn't a CID of raw or dag-pb over sha2-256 ({error}).") from error
