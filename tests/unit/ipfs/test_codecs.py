"""protobuf, dag-pb and UnixFS: what is written is read back, and nothing else is read."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernode_worker.core.types import DAG_PB, RAW, Cid
from hypernode_worker.errors import ContentInvalid
from hypernode_worker.ipfs import dagpb, protobuf, unixfs
from hypernode_worker.ipfs.dagpb import Link, PbNode
from hypernode_worker.ipfs.unixfs import FsData, Kind

U64 = st.integers(0, 2**64 - 1)
CIDS = st.builds(Cid, st.sampled_from([RAW, DAG_PB]), st.binary(min_size=32, max_size=32))
NODES = st.builds(
    PbNode,
    st.lists(st.builds(Link, CIDS, st.binary(max_size=40), st.none() | U64), max_size=6).map(tuple),
    st.binary(max_size=64),
)
DATA = st.builds(
    FsData,
    st.sampled_from(Kind),
    st.binary(max_size=40),
    st.none() | U64,
    st.lists(U64, max_size=5).map(tuple),
    st.none() | U64,
    st.none() | U64,
)
LINK = Link(Cid.of(b"x"), b"name", 1)


@given(U64)
def test_varints_come_back_in_their_length(value: int) -> None:
    encoded = protobuf.varint(value)
    assert protobuf.read_varint(encoded, 0) == (value, len(encoded))
    assert len(encoded) == max(1, -(-value.bit_length() // 7))


@given(NODES)
def test_nodes_come_back(node: PbNode) -> None:
    assert dagpb.decode(dagpb.encode(node)) == node


@given(DATA)
def test_unixfs_comes_back(data: FsData) -> None:
    assert unixfs.decode(data.encode()) == data


@given(NODES, st.data())
def test_a_changed_block_is_another_node_or_refused(node: PbNode, data: st.DataObject) -> None:
    block = bytearray(dagpb.encode(node))
    index = data.draw(st.integers(0, len(block) - 1))
    block[index] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ContentInvalid):
        assert dagpb.decode(bytes(block)) != node


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused_and_never_trips(noise: bytes) -> None:
    for decode in (dagpb.decode, unixfs.decode):
        with contextlib.suppress(ContentInvalid):
            decode(noise)


@given(NODES)
def test_what_is_accepted_has_one_form(node: PbNode) -> None:
    block = dagpb.encode(node)
    for cut in range(len(block)):
        with contextlib.suppress(ContentInvalid):
            assert dagpb.encode(dagpb.decode(block[:cut])) == block[:cut]


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (b"", "no data"),
        (b"\x0a\x01", "longer than its message"),
        (b"\x0a\x80", "ends inside a number"),
        (b"\x0a\x81\x00x", "shortest form"),
        (b"\x0a" + b"\xff" * 9 + b"\x7f", "over 64 bits"),
        (b"\x0a" + b"\xff" * 11, "over 64 bits"),
        (b"\x08\x01", "a number where"),
        (b"\x1a\x00", "field 3"),
        (b"\x7f\x00", "wire type 7"),
        (b"\x00\x00", "field 0"),
        (b"\x82\x01\x00", "field 16"),
        (b"\x0a\x00\x0a\x00", "goes on after its data"),
        (b"\x0a\x00" + LINK.encode(), "goes on after its data"),
        (protobuf.bytes_field(2, b"\x12\x01a") + b"\x0a\x00", "no CID"),
        (protobuf.bytes_field(2, b"\x12\x01a\x12\x01b") + b"\x0a\x00", "twice or out of order"),
        (protobuf.bytes_field(2, b"\x12\x01a\x0a\x00") + b"\x0a\x00", "out of order"),
        (protobuf.bytes_field(2, b"\x18\x01\x20\x01") + b"\x0a\x00", "field 4"),
        (protobuf.bytes_field(2, protobuf.bytes_field(1, b"\x01\x55\x00\x00")) + b"\x0a\x00", "isn't a CID"),
        (
            protobuf.bytes_field(2, protobuf.bytes_field(1, b"\x01\x71\x12\x20" + b"0" * 32)) + b"\x0a\x00",
            "isn't a CID",
        ),
    ],
)
def test_bad_blocks_say_what_is_wrong(block: bytes, why: str) -> None:
    with pytest.raises(ContentInvalid, match=why):
        dagpb.decode(block)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "of no type"),
        (b"\x08\x06", "of no type"),
        (b"\x08\x02\x08\x02", "twice"),
        (b"\x18\x01\x08\x02", "out of order"),
        (b"\x0a\x00", "field 1"),
        (b"\x08\x02\x10\x01", "field 2"),
        (b"\x08\x02\x48\x01", "field 9"),
        (b"\x08\x02\x22\x01\x80", "ends inside"),
    ],
)
def test_bad_unixfs_says_what_is_wrong(message: bytes, why: str) -> None:
    with pytest.raises(ContentInvalid, match=why):
        unixfs.decode(message)


def test_packed_sizes_and_modes_of_other_writers_are_read() -> None:
    assert unixfs.decode(b"\x08\x02\x18\x03\x22\x02\x01\x02").block_bytes == (1, 2)
    assert unixfs.decode(b"\x08\x02\x18\x00\x38\xa4\x03\x42\x02\x08\x01").kind is Kind.FILE


def test_links_of_version_0_are_read() -> None:
    cid = Cid.of(b"x", DAG_PB)
    link = protobuf.bytes_field(2, protobuf.bytes_field(1, cid.to_bytes()[2:]))
    assert dagpb.decode(link + b"\x0a\x00").links == (Link(cid, b"", None),)
