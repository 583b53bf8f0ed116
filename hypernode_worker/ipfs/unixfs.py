"""UnixFS: what the data of a dag-pb node says about a file or directory, and the profiles by which files are cut."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from hypernode_worker.errors import ConfigError, ContentInvalid
from hypernode_worker.ipfs import protobuf


class Kind(enum.IntEnum):
    """Types of UnixFS node; metadata and symlinks are never followed."""

    RAW = 0
    DIRECTORY = 1
    FILE = 2
    METADATA = 3
    SYMLINK = 4
    HAMT_SHARD = 5


@dataclass(frozen=True, slots=True)
class Profile:
    """How content is cut into blocks. Two stores agree on a CID only under the same profile.

    Attributes:
        chunk_bytes: bytes of a leaf.
        max_links: links of a file's inner node.
        shard_by_block: a directory is sharded once its whole block would pass `shard_bytes`; else the sum
            of its names and CIDs counts (the older rule).
    """

    name: str
    chunk_bytes: int
    max_links: int
    shard_by_block: bool
    shard_bytes: int = 256 * 1024


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("unixfs-v1-2025", 1024 * 1024, 1024, shard_by_block=True),
        Profile("kubo-cid-v1", 256 * 1024, 174, shard_by_block=False),
    )
}
DEFAULT_PROFILE = "unixfs-v1-2025"


def profile_named(name: str) -> Profile:
    """The profile of this name. Raises ConfigError, which lists them."""
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(PROFILES)
        raise ConfigError(f"There is no IPFS profile {name!r}; choose one of {known}.") from None


@dataclass(frozen=True, slots=True)
class FsData:
    """The UnixFS message of one node.

    Attributes:
        data: bytes of a file held in this very node, or the bit field of a HAMT shard.
        file_bytes: size of the file below this node.
        block_bytes: size of the file below each link, in the order of the links.
        hash_type, fanout: of a HAMT shard.
    """

    kind: Kind
    data: bytes = b""
    file_bytes: int | None = None
    block_bytes: tuple[int, ...] = ()
    hash_type: int | None = None
    fanout: int | None = None

    def encode(self) -> bytes:
        """In the order of the fields, absent ones left out."""
        out = [protobuf.varint_field(1, self.kind)]
        if self.data:
            out.append(protobuf.bytes_field(2, self.data))
        if self.file_bytes is not None:
            out.append(protobuf.varint_field(3, self.file_bytes))
        out.extend(protobuf.varint_field(4, size) for size in self.block_bytes)
        if self.hash_type is not None:
            out.append(protobuf.varint_field(5, self.hash_type))
        if self.fanout is not None:
            out.append(protobuf.varint_field(6, self.fanout))
        return b"".join(out)


DIRECTORY_DATA = FsData(Kind.DIRECTORY).encode()

# Field number -> (attribute, type). 7 and 8 are mode and mtime: allowed, and not used.
_TYPES: dict[int, type[int] | type[bytes]] = {1: int, 2: bytes, 3: int, 5: int, 6: int, 7: int, 8: bytes}


def decode(message: bytes) -> FsData:
    """Reads a UnixFS message; fields ascend and only the block sizes repeat. Raises ContentInvalid."""
    found: dict[int, int | bytes] = {}
    sizes: list[int] = []
    last = 0
    for number, value in protobuf.fields(message):
        if number < last or (number == last and number != 4):
            raise ContentInvalid("A UnixFS node has its fields twice or out of order.")
        last = number
        if number == 4:
            sizes.extend([value] if isinstance(value, int) else _packed(value))
        elif isinstance(value, _TYPES.get(number, ())):
            found[number] = value
        else:
            raise ContentInvalid(f"A UnixFS node has a field {number} that doesn't belong there.")
    numbers = {number: value for number, value in found.items() if isinstance(value, int)}
    data = found.get(2, b"")
    try:
        kind = Kind(numbers.get(1, -1))
    except ValueError as error:
        raise ContentInvalid("A node is of no type that UnixFS knows.") from error
    return FsData(
        kind,
        data if isinstance(data, bytes) else b"",
        numbers.get(3),
        tuple(sizes),
        numbers.get(5),
        numbers.get(6),
    )


def _packed(data: bytes) -> list[int]:
    sizes: list[int] = []
    at = 0
    while at < len(data):
        size, at = protobuf.read_varint(data, at)
        sizes.append(size)
    return sizes
