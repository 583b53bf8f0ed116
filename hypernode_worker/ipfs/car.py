"""CARv1: a DAG as one stream of blocks, as Kubo imports it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hypernode_worker.core.types import DAG_PB, Cid
from hypernode_worker.ipfs import dagpb, protobuf
from hypernode_worker.ipfs.source import BlockSource


def header(root: Cid) -> bytes:
    """The first frame: the dag-cbor map {"roots": [root], "version": 1}."""
    body = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00" + root.to_bytes() + b"\x67version\x01"
    return protobuf.varint(len(body)) + body


async def stream(root: Cid, blocks: BlockSource) -> AsyncIterator[bytes]:
    """The frames of a DAG, each block once, parents first. Holds one block, and the CIDs that it has seen."""
    yield header(root)
    seen = {root}
    waiting = [root]
    while waiting:
        cid = waiting.pop()
        block = await blocks.block(cid)
        yield protobuf.varint(len(block) + len(cid.to_bytes())) + cid.to_bytes() + block
        if cid.codec == DAG_PB:
            for link in reversed(dagpb.decode(block).links):
                if link.cid not in seen:
                    seen.add(link.cid)
                    waiting.append(link.cid)
