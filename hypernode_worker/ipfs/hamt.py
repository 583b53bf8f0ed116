"""Sharded directories: a hash trie over murmur3, as IPFS writes directories that would pass 256 KiB in one block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ContentInvalid
from hypernode_worker.ipfs import dagpb
from hypernode_worker.ipfs.dagpb import Link, PbNode
from hypernode_worker.ipfs.unixfs import FsData, Kind

FANOUT = 256
MURMUR3 = 0x22
MAX_DEPTH = 8  # when writing: a hash has 64 bits and each level uses 8 of them
MAX_SHARD_DEPTH = 22  # when reading: at the smallest fan-out each level uses 3
_MASK = (1 << 64) - 1


def murmur3_64(data: bytes) -> bytes:
    """The first half of murmur3 x64-128 with seed 0, big endian."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = 0
    end = len(data) - len(data) % 16
    for at in range(0, end, 16):
        h1 ^= _mix(int.from_bytes(data[at : at + 8], "little"), c1, 31, c2)
        h1 = (((_rotate(h1, 27) + h2) & _MASK) * 5 + 0x52DCE729) & _MASK
        h2 ^= _mix(int.from_bytes(data[at + 8 : at + 16], "little"), c2, 33, c1)
        h2 = (((_rotate(h2, 31) + h1) & _MASK) * 5 + 0x38495AB5) & _MASK
    h2 ^= _mix(int.from_bytes(data[end + 8 :], "little"), c2, 33, c1)
    h1 ^= _mix(int.from_bytes(data[end : end + 8], "little"), c1, 31, c2)
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    return ((_finish(h1) + _finish(h2)) & _MASK).to_bytes(8, "big")


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _mix(value: int, first: int, bits: int, second: int) -> int:
    return _rotate(value * first & _MASK, bits) * second & _MASK


def _finish(value: int) -> int:
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & _MASK
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ (value >> 33)


def write(links: Sequence[Link], put: Callable[[bytes], Cid]) -> Link:
    """Writes a directory's links as shards through `put`; the root as a nameless link.

    The shape depends on the names alone, not on their order. Raises ContentInvalid for names whose hashes collide.
    """
    return _write_shard([(murmur3_64(link.name), link) for link in links], 0, put)


def _write_shard(entries: Sequence[tuple[bytes, Link]], depth: int, put: Callable[[bytes], Cid]) -> Link:
    if depth >= MAX_DEPTH:
        raise ContentInvalid("Two names in one directory have the same hash, so it can't be sharded; rename one.")
    slots: dict[int, list[tuple[bytes, Link]]] = {}
    for entry in entries:
        slots.setdefault(entry[0][depth], []).append(entry)
    out: list[Link] = []
    bits = 0
    for slot in sorted(slots):
        bits |= 1 << slot
        below = slots[slot]
        link = below[0][1] if len(below) == 1 else _write_shard(below, depth + 1, put)
        out.append(Link(link.cid, b"%02X" % slot + link.name, link.tsize))
    field = bits.to_bytes((bits.bit_length() + 7) // 8, "big")
    data = FsData(Kind.HAMT_SHARD, field, hash_type=MURMUR3, fanout=FANOUT).encode()
    block = dagpb.encode(PbNode(tuple(out), data))
    return Link(put(block), b"", len(block) + sum(link.tsize or 0 for link in out))


def read_links(node: PbNode, data: FsData) -> tuple[list[Link], list[Link]]:
    """The entries (with their own names) and the sub-shards of one shard. Raises ContentInvalid."""
    fanout = data.fanout or 0
    if data.hash_type != MURMUR3 or not 8 <= fanout <= 1024 or fanout & (fanout - 1):
        raise ContentInvalid("A sharded directory uses a hash or fan-out that isn't known here.")
    prefix = len(f"{fanout - 1:X}")
    slots = int.from_bytes(data.data, "big")
    if slots.bit_length() > fanout or slots.bit_count() != len(node.links):
        raise ContentInvalid("A sharded directory's bit field doesn't match its links.")
    entries: list[Link] = []
    shards: list[Link] = []
    for link in node.links:
        label, name = link.name[:prefix], link.name[prefix:]
        if not _is_slot(label, prefix, slots):
            raise ContentInvalid("A sharded directory has a link in a slot that its bit field doesn't name.")
        (entries if name else shards).append(Link(link.cid, name, link.tsize))
    return entries, shards


def _is_slot(label: bytes, prefix: int, slots: int) -> bool:
    if len(label) != prefix or label.strip(b"0123456789ABCDEF"):
        return False
    return bool(slots >> int(label, 16) & 1)
