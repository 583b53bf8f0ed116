"""DAGs made by hand, well or badly, in a dictionary that is a BlockSource."""

from __future__ import annotations

from collections.abc import Sequence

from hypernode_worker.core.types import DAG_PB, RAW, Cid
from hypernode_worker.errors import ContentNotFound
from hypernode_worker.ipfs import dagpb
from hypernode_worker.ipfs.dagpb import Link, PbNode
from hypernode_worker.ipfs.unixfs import FsData, Kind


class Blocks(dict[Cid, bytes]):
    """A BlockSource in memory; `asked` is each request in order."""

    label = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Cid] = []

    async def block(self, cid: Cid) -> bytes:
        self.asked.append(cid)
        try:
            return self[cid]
        except KeyError:
            raise ContentNotFound(f"{cid} isn't in memory.") from None

    def put(self, cid: Cid, block: bytes) -> None:
        self[cid] = block

    def raw(self, data: bytes) -> Cid:
        cid = Cid.of(data, RAW)
        self[cid] = data
        return cid

    def node(self, links: Sequence[Link], data: FsData | bytes) -> Cid:
        block = dagpb.encode(PbNode(tuple(links), data if isinstance(data, bytes) else data.encode()))
        cid = Cid.of(block, DAG_PB)
        self[cid] = block
        return cid

    def file(self, parts: Sequence[tuple[Cid, int]]) -> Cid:
        sizes = tuple(size for _, size in parts)
        return self.node(
            [Link(cid, b"", size) for cid, size in parts],
            FsData(Kind.FILE, file_bytes=sum(sizes), block_bytes=sizes),
        )

    def directory(self, entries: Sequence[tuple[bytes, Cid]]) -> Cid:
        return self.node([Link(cid, name, 1) for name, cid in entries], FsData(Kind.DIRECTORY))
