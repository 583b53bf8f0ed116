"""What the codec encodes it decodes again, and what doesn't fit is refused with the field's name."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market, MarketTerms, Node, Reason, Requirements
from hypernode_worker.core.types import RAW, Cid
from hypernode_worker.errors import AccountInvalid
from hypernode_worker.solana.codec import codec
from hypernode_worker.solana.idl_file import Field, parse_idl
from hypernode_worker.solana.records import QUEUED_BYTES, job_from, market_from, node_from, queued_from

ADDRESS = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
RANGES = {
    "u8": (0, 2**8 - 1), "u16": (0, 2**16 - 1), "u32": (0, 2**32 - 1), "u64": (0, 2**64 - 1),
    "i32": (-(2**31), 2**31 - 1), "i64": (-(2**63), 2**63 - 1),
}  # fmt: skip
CIDS = st.builds(Cid, st.just(RAW), st.binary(min_size=32, max_size=32))
KEYS = st.builds(Pubkey.from_bytes, st.binary(min_size=32, max_size=32))


def values_of(field: Field) -> st.SearchStrategy[Any]:
    """Any value that a field of the IDL may hold."""
    if field.type == "bytes":
        if field.name.endswith("_cid"):
            return st.none() | CIDS
        return st.binary(min_size=field.length, max_size=field.length)
    if field.type == "pubkey":
        return KEYS
    if field.type == "bool":
        return st.booleans()
    if field.type in RANGES:
        return st.integers(*RANGES[field.type])
    return struct_of(field.type)


def struct_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({f.name: values_of(f) for f in codec().idl.types[name]})


def flat(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= cast("dict[str, Any]", value)
        else:
            found[name] = value
    return found


@pytest.mark.parametrize("name", list(codec().idl.instructions))
def test_instructions_round_trip(name: str) -> None:
    strategy = st.fixed_dictionaries({f.name: values_of(f) for f in codec().idl.instructions[name].args})

    @given(strategy)
    def check(args: dict[str, Any]) -> None:
        assert codec().decode_instruction(codec().encode_instruction(name, args)) == (name, flat(args))

    check()


@pytest.mark.parametrize("name", list(codec().idl.accounts))
def test_accounts_round_trip(name: str) -> None:
    @given(struct_of(name))
    def check(values: dict[str, Any]) -> None:
        data = codec().encode_account(name, values)
        assert codec().decode_account(name, data) == values

    check()


@pytest.mark.parametrize("name", list(codec().idl.events))
def test_events_round_trip(name: str) -> None:
    @given(struct_of(name))
    def check(values: dict[str, Any]) -> None:
        packed = b"".join(packed_alone(field, values[field.name]) for field in codec().idl.types[name])
        event = codec().decode_event(codec().idl.events[name] + packed)
        assert event is not None
        assert (event.name, event.fields) == (name, values)

    check()


def packed_alone(field: Field, value: Pubkey | int) -> bytes:
    if isinstance(value, Pubkey):
        return bytes(value)
    return value.to_bytes(int(field.type[1:]) // 8, "little", signed=field.type.startswith("i"))


@given(struct_of("Job"), st.sampled_from(JobState), st.sampled_from(Reason), CIDS)
def test_jobs_become_records_with_every_field(
    values: dict[str, Any], state: JobState, reason: Reason, cid: Cid
) -> None:
    values |= {"version": 1, "state": int(state), "reason": int(reason), "definition_cid": cid}
    data = codec().encode_account("Job", values)
    job = job_from(ADDRESS, data)
    for field in dataclasses.fields(Job):
        if field.name not in ("address", "requirements"):
            assert getattr(job, field.name) == values[field.name]
    for field in dataclasses.fields(Requirements):
        assert getattr(job.requirements, field.name) == values[field.name]
    assert queued_from(ADDRESS, data[:QUEUED_BYTES]) == job.as_queued()


@given(struct_of("Market"), struct_of("Node"))
def test_markets_and_nodes_become_records_with_every_field(market: dict[str, Any], node: dict[str, Any]) -> None:
    market["version"] = node["version"] = 1
    node["state"] %= 2
    seen = market_from(ADDRESS, codec().encode_account("Market", market))
    for field in dataclasses.fields(Market):
        if field.name not in ("address", "terms"):
            assert getattr(seen, field.name) == market[field.name]
    for field in dataclasses.fields(MarketTerms):
        assert getattr(seen.terms, field.name) == market[field.name]
    registered = node_from(ADDRESS, codec().encode_account("Node", node))
    for field in dataclasses.fields(Node):
        if field.name not in ("address", "specs"):
            assert getattr(registered, field.name) == node[field.name]
    assert registered.specs.country == node["country"]


@given(st.binary(max_size=800))
def test_strangers_bytes_are_refused_not_misread(data: bytes) -> None:
    for read in (market_from, node_from, job_from, queued_from):
        with pytest.raises(AccountInvalid, match=str(ADDRESS)):
            read(ADDRESS, data)


def job_bytes(**changes: Any) -> bytes:
    values: dict[str, Any] = {}
    for field in codec().idl.types["Job"]:
        blank = {"bytes": bytes(field.length), "pubkey": Pubkey.default()}.get(field.type, 0)
        values[field.name] = None if field.name.endswith("_cid") else blank
    known = {"version": 1, "state": 1, "definition_cid": Cid(RAW, bytes(32))}
    return codec().encode_account("Job", values | known | changes)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (job_bytes()[:-1], "767 bytes, not 768"),
        (job_bytes() + b"\0", "769 bytes, not 768"),
        (b"\0" + job_bytes()[1:], "another discriminator"),
        (job_bytes(version=2), "of version 2"),
        (job_bytes(state=9), "9 is not a valid JobState"),
        (job_bytes(reason=200), "200 is not a valid Reason"),
        (job_bytes(definition_cid=None), "no definition CID"),
        (job_bytes()[:152] + b"\x07" * 36 + job_bytes()[188:], "can't be read"),
    ],
)
def test_bad_jobs_are_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(AccountInvalid, match=re.escape(says)):
        job_from(ADDRESS, data)


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("release_job", {}, "release_job.reason is missing"),
        ("release_job", {"reason": 256}, "release_job.reason can't hold 256"),
        ("release_job", {"reason": "1"}, "release_job.reason can't hold '1'"),
        ("work_job", {"begin": 1, "queued_slot": 1}, "work_job.begin must be True or False"),
        ("checkpoint_job", {"progress_bps": 1, "checkpoint_cid": b"short"}, "checkpoint_cid must be 36 bytes"),
        ("create_market", {"market_id": 1, "terms": {}}, "create_market.terms.fee_bps is missing"),
    ],
)
def test_arguments_that_dont_fit_name_the_field(name: str, args: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        codec().encode_instruction(name, args)


def test_unknown_instruction_data_is_refused() -> None:
    with pytest.raises(AccountInvalid, match=r"none of the markets program's"):
        codec().decode_instruction(b"12345678")
    with pytest.raises(AccountInvalid, match=r"stop_job has 9 bytes of data, not 8"):
        codec().decode_instruction(codec().encode_instruction("stop_job", {}) + b"\0")


def test_types_without_a_fixed_size_are_refused() -> None:
    raw: dict[str, Any] = {
        "address": "", "instructions": [], "accounts": [], "events": [], "errors": [],
        "types": [{"name": "T", "type": {"kind": "struct", "fields": [{"name": "text", "type": {"vec": "u8"}}]}}],
    }  # fmt: skip
    with pytest.raises(ValueError, match="text has a type without a fixed size"):
        parse_idl(raw)
