"""The IDL says what the Rust source does: names, order, offsets, discriminators, errors."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import pytest

from hypernode_worker.core import accounts as records
from hypernode_worker.core.accounts import MarketTerms, NodeSpecs, Requirements
from hypernode_worker.solana.codec import codec
from hypernode_worker.solana.idl_file import Field
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID, MarketsProgram

SOURCE = Path(__file__).parents[3] / "programs" / "hypernode_markets" / "src"
IDL = codec().idl
RUST_TYPES = {"u8": "u8", "bool": "Bool", "pubkey": "Address"} | {
    t: t.upper() for t in ("u16", "u32", "u64", "i32", "i64")
}
# A processor names the node's or market's authority `owner` where `authority` is the check.
ALIASES = {"owner": "authority"}


def source(path: str) -> str:
    return (SOURCE / path).read_text()


def rust_type(field: Field) -> str:
    if field.type == "bytes":
        return "Cid" if field.name.endswith("_cid") else f"[u8; {field.length}]"
    return RUST_TYPES.get(field.type, field.type)


def fields_in(body: str) -> list[tuple[str, str]]:
    return re.findall(r"(?:^|[\s,{])(\w+): ([^,{}]+?),", body)


def block(text: str, name: str) -> str:
    found = re.search(rf"\b{name}\b[^{{]*\{{(.*?)\n?\s*\}}", text, re.DOTALL)
    assert found is not None, f"{name} is not in the Rust source"
    return found.group(1)


@pytest.mark.parametrize("name", list(IDL.accounts))
def test_accounts_have_the_same_fields_at_the_same_offsets(name: str) -> None:
    text = source(f"state/{name.lower()}.rs")
    size, body = re.findall(rf"{name}, (\d+) bytes \{{(.*?)\n    \}}", text, re.DOTALL)[0]
    rust = [(int(at), field, kind) for at, field, kind in re.findall(r"(\d+) (\w+): ([^\n]+),", body)]
    offsets = codec().accounts[name].offsets(8)
    idl = [(offsets[f.name], f.name, rust_type(f)) for f in IDL.types[name]]
    assert rust == [(0, "discriminator", "[u8; 8]"), *idl]
    assert codec().account_bytes(name) == int(size)


@pytest.mark.parametrize(
    ("name", "path"),
    [("MarketTerms", "state/market.rs"), ("NodeSpecs", "state/node.rs"), ("Requirements", "state/job.rs")],
)
def test_argument_structs_have_the_same_fields(name: str, path: str) -> None:
    body = block(source(path).split("wire! {", 1)[1], name)
    assert fields_in(body + ",") == [(f.name, rust_type(f)) for f in IDL.types[name]]


@pytest.mark.parametrize("name", list(IDL.instructions))
def test_instructions_have_the_same_arguments_and_accounts(name: str) -> None:
    spec = IDL.instructions[name]
    args = re.findall(rf"\n    {name}\((\w+)\),", source("instruction.rs"))
    assert len(args) == 1
    body = re.findall(rf"wire! \{{\s*{args[0]} \{{(.*?)\}}", source("instruction.rs"), re.DOTALL)[0]
    assert fields_in(body) == [(f.name, rust_type(f)) for f in spec.args]
    listed = re.findall(r"let \[(.*?), \.\.\] = accounts", source(f"processor/{name}.rs"), re.DOTALL)[0]
    names = [part.strip().lstrip("_") for part in listed.split(",") if part.strip()]
    wanted = [a.name for a in spec.accounts]
    assert names == wanted or [ALIASES.get(n, n) for n in names] == wanted


def test_no_instruction_is_missing_on_either_side() -> None:
    rust = re.findall(r"\n    (\w+)\(\w+\),", source("instruction.rs").split("\ninstructions! {")[1])
    assert rust == list(IDL.instructions)
    files = {path.stem for path in (SOURCE / "processor").glob("*.rs")} - {"mod", "settlement"}
    assert files == set(rust)


def test_events_have_the_same_fields() -> None:
    text = source("event.rs").split("\nevents! {")[1]
    assert re.findall(r"\n    (\w+) \{", text) == list(IDL.events)
    for name in IDL.events:
        assert fields_in(block(text, name)) == [(f.name, rust_type(f)) for f in IDL.types[name]]


def test_errors_have_the_same_codes_and_one_sentence_each() -> None:
    rust = re.findall(r"^    (\d+) (\w+),", source("error.rs"), re.MULTILINE)
    assert [(int(code), name) for code, name in rust] == [(e.code, e.name) for e in IDL.errors.values()]
    for error in IDL.errors.values():
        assert re.fullmatch(r"[A-Z][^.]*\.", error.message), error.name
        assert len(set(re.findall(rf"Error::{error.name}\b", all_sources()))) == 1, f"{error.name} is never answered"


def all_sources() -> str:
    return "\n".join(path.read_text() for path in SOURCE.rglob("*.rs"))


def test_discriminators_are_anchors() -> None:
    def tag(text: str) -> bytes:
        return hashlib.sha256(text.encode()).digest()[:8]

    assert all(spec.discriminator == tag(f"global:{name}") for name, spec in IDL.instructions.items())
    assert all(found == tag(f"account:{name}") for name, found in IDL.accounts.items())
    assert all(found == tag(f"event:{name}") for name, found in IDL.events.items())
    tags = [*(i.discriminator for i in IDL.instructions.values()), *IDL.accounts.values(), *IDL.events.values()]
    assert len(set(tags)) == len(tags)


def test_the_address_is_that_of_the_local_chain_and_not_in_the_program() -> None:
    assert IDL.address == str(LOCALNET_PROGRAM_ID)
    assert IDL.address not in all_sources()
    assert not LOCALNET_PROGRAM_ID.is_on_curve()


def test_python_names_every_instruction_field_and_error() -> None:
    builders = {name for name in dir(MarketsProgram) if not name.startswith("_")}
    assert set(IDL.instructions) <= builders
    for cls in (MarketTerms, NodeSpecs, Requirements):
        assert [f.name for f in dataclasses.fields(cls)] == [f.name for f in IDL.types[cls.__name__]]
    for account, parts in (("Market", ("terms",)), ("Node", ("specs",)), ("Job", ("requirements",))):
        nested = {"terms": MarketTerms, "specs": NodeSpecs, "requirements": Requirements}
        own = {f.name for f in dataclasses.fields(getattr(records, account))} - set(parts) - {"address"}
        for part in parts:
            own |= {f.name for f in dataclasses.fields(nested[part])}
        internal = {"rsv", "rsv0", "stake_bump"}
        assert own == {f.name for f in IDL.types[account]} - internal


def test_states_and_reasons_are_the_same_numbers() -> None:
    text = source("state/job.rs")
    states = re.findall(r"pub const (\w+): u8 = (\d);", text.split("impl JobState {")[1].split("}")[0])
    assert {name: int(value) for name, value in states} == {s.name: s.value for s in records.JobState}
    for name in ("TIMED_OUT", "STOPPED", "ATTEMPTS_SPENT"):
        assert f"pub const {name}: u8 = {records.Reason[name].value};" in text
    assert f"MAX_NODE_REASON: u8 = {records.Reason.RESULT_UNAVAILABLE.value};" in text
    for name in ("LOW", "NORMAL", "HIGH"):
        assert f"pub const {name}: u8 = {records.Trust[name].value};" in source("state/node.rs")
