"""Files and directories to blocks, with the CIDs that Kubo gives them under the same profile.

Synchronous, for a worker thread: it reads, hashes and writes. Memory stays at one chunk and the links of one branch.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hypernode_worker.core.types import DAG_PB, Cid
from hypernode_worker.errors import ContentInvalid
from hypernode_worker.ipfs import dagpb, hamt, protobuf, unixfs
from hypernode_worker.ipfs.dagpb import Link, PbNode
from hypernode_worker.ipfs.unixfs import FsData, Kind, Profile

MAX_DEPTH = 64
"""Directories within directories, when writing and when reading."""

Put = Callable[[Cid, bytes], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A finished piece of a DAG. `tsize`: bytes of its blocks. `file_bytes`: bytes of the file that it holds."""

    cid: Cid
    tsize: int
    file_bytes: int


class Importer:
    """Cuts content into blocks and hands each to `put`, children before parents.

    `put` may raise to stop the work. With `skip_empty` directories without a file are left out, for services that
    only know files.
    """

    def __init__(self, profile: Profile, put: Put, *, skip_empty: bool = False) -> None:
        self._profile = profile
        self._put = put
        self._skip_empty = skip_empty

    def add_bytes(self, data: bytes) -> Part:
        """One file of these bytes."""
        return self.add_stream(io.BytesIO(data))

    def add_stream(self, stream: BinaryIO) -> Part:
        """One file, read to its end. The layout is balanced: every leaf at the same depth."""
        levels: list[list[Part]] = [[]]
        while chunk := stream.read(self._profile.chunk_bytes):
            cid = Cid.of(chunk)
            self._put(cid, chunk)
            self._push(levels, 0, Part(cid, len(chunk), len(chunk)))
        return self._close(levels)

    def add_path(self, path: Path) -> Part:
        """A file or directory. Raises ContentInvalid for symbolic links, special files and names that aren't UTF-8."""
        return self._add_at(os.fspath(path), None, path, 0)

    def _push(self, levels: list[list[Part]], level: int, part: Part) -> None:
        if level == len(levels):
            levels.append([])
        levels[level].append(part)
        if len(levels[level]) == self._profile.max_links:
            node = self._file_node(levels[level])
            levels[level] = []
            self._push(levels, level + 1, node)

    def _close(self, levels: list[list[Part]]) -> Part:
        if levels == [[]]:
            cid = Cid.of(b"")
            self._put(cid, b"")
            return Part(cid, 0, 0)
        level = 0
        while level < len(levels) - 1 or len(levels[level]) > 1:
            if levels[level]:
                self._push(levels, level + 1, self._file_node(levels[level]))
            level += 1
        return levels[level][0]

    def _file_node(self, parts: list[Part]) -> Part:
        size = sum(part.file_bytes for part in parts)
        data = FsData(Kind.FILE, file_bytes=size, block_bytes=tuple(part.file_bytes for part in parts))
        block = dagpb.encode(PbNode(tuple(Link(part.cid, b"", part.tsize) for part in parts), data.encode()))
        return Part(self._put_node(block), len(block) + sum(part.tsize for part in parts), size)

    def _put_node(self, block: bytes) -> Cid:
        cid = Cid.of(block, DAG_PB)
        self._put(cid, block)
        return cid

    def _add_at(self, name: str, parent: int | None, shown: Path, depth: int) -> Part:
        """Opens without following links, so that nothing can be swapped underneath."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            handle = os.open(name, flags, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise ContentInvalid(f"{shown} is a symbolic link or a device; put a plain file there.") from error
            raise ContentInvalid(
                f"{shown} can't be read: {error.strerror}; check that it exists and its mode."
            ) from error
        try:
            mode = os.fstat(handle).st_mode
            if stat.S_ISDIR(mode):
                return self._add_directory(handle, shown, depth)
            if stat.S_ISREG(mode):
                with open(handle, "rb", buffering=0, closefd=False) as stream:
                    return self.add_stream(io.BufferedReader(stream, buffer_size=self._profile.chunk_bytes))
        finally:
            with suppress(OSError):
                os.close(handle)
        raise ContentInvalid(f"{shown} is neither a file nor a directory; only those can be put on IPFS.")

    def _add_directory(self, handle: int, shown: Path, depth: int) -> Part:
        if depth >= MAX_DEPTH:
            raise ContentInvalid(f"{shown} lies more than {MAX_DEPTH} directories deep; flatten it.")
        links: list[Link] = []
        total = 0
        for name in os.listdir(handle):
            try:
                encoded = name.encode()
            except UnicodeEncodeError as error:
                raise ContentInvalid(f"{shown} holds a name that isn't UTF-8 ({name!r}); rename it.") from error
            part = self._add_at(name, handle, shown / name, depth + 1)
            if self._skip_empty and part.cid == EMPTY_DIRECTORY:
                continue
            total += part.file_bytes
            links.append(Link(part.cid, encoded, part.tsize))
        links.sort(key=lambda link: link.name)
        return self._directory_node(links, total)

    def _directory_node(self, links: list[Link], total: int) -> Part:
        if self._shards(links):
            root = hamt.write(links, self._put_node)
            return Part(root.cid, root.tsize or 0, total)
        block = dagpb.encode(PbNode(tuple(links), unixfs.DIRECTORY_DATA))
        return Part(self._put_node(block), len(block) + sum(link.tsize or 0 for link in links), total)

    def _shards(self, links: list[Link]) -> bool:
        if self._profile.shard_by_block:
            size = len(protobuf.bytes_field(1, unixfs.DIRECTORY_DATA)) + sum(len(link.encode()) for link in links)
        else:
            size = sum(len(link.name) + len(link.cid.to_bytes()) for link in links)
        return size > self._profile.shard_bytes


EMPTY_DIRECTORY = Cid.of(dagpb.encode(PbNode((), unixfs.DIRECTORY_DATA)), DAG_PB)


def cid_of_bytes(data: bytes, profile: Profile) -> Cid:
    """The CID of a file of these bytes; nothing is stored."""
    return Importer(profile, _drop).add_bytes(data).cid


def cid_of_path(path: Path, profile: Profile) -> Cid:
    """The CID of a file or directory; nothing is stored."""
    return Importer(profile, _drop).add_path(path).cid


def _drop(_cid: Cid, _block: bytes) -> None:
    """For callers who want only the CID."""
