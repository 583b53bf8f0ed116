"""The program's interface as `idl/hypernode_markets.json` describes it (Anchor IDL spec 0.1.0), typed."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = "hypernode_markets.json"


@dataclass(frozen=True, slots=True)
class Field:
    """One argument or struct member.

    Attributes:
        type: a primitive's name ("u64", "pubkey"), "bytes" with a length, or the name of a struct.
        length: number of bytes when type is "bytes", else 0.
        docs: one line, may be empty.
    """

    name: str
    type: str
    length: int
    docs: str


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """One place in an instruction's list of accounts; `address` is set where only one will do."""

    name: str
    writable: bool
    signer: bool
    optional: bool
    address: str | None


@dataclass(frozen=True, slots=True)
class InstructionSpec:
    """One instruction; its data is the discriminator and the arguments in order."""

    name: str
    discriminator: bytes
    accounts: tuple[AccountSpec, ...]
    args: tuple[Field, ...]
    docs: str


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One error of the program: a code from 6000, a name and one sentence."""

    code: int
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Idl:
    """The whole interface; accounts and events map a name to its discriminator, types a name to its fields."""

    address: str
    instructions: dict[str, InstructionSpec]
    accounts: dict[str, bytes]
    events: dict[str, bytes]
    errors: dict[int, ErrorSpec]
    types: dict[str, tuple[Field, ...]]


def idl_path() -> Path:
    """Where the IDL lies: beside this package in a wheel, at idl/ in the root of a checkout."""
    packaged = Path(__file__).parent / "idl" / _NAME
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "idl" / _NAME


@functools.cache
def load_idl() -> Idl:
    """The packaged IDL, read once."""
    return parse_idl(json.loads(idl_path().read_bytes()))


def parse_idl(raw: dict[str, Any]) -> Idl:
    """Reads the JSON of an IDL. Raises ValueError for a type that has no fixed size."""
    return Idl(
        address=raw["address"],
        instructions={item["name"]: _instruction(item) for item in raw["instructions"]},
        accounts={item["name"]: bytes(item["discriminator"]) for item in raw["accounts"]},
        events={item["name"]: bytes(item["discriminator"]) for item in raw["events"]},
        errors={item["code"]: ErrorSpec(item["code"], item["name"], item["msg"]) for item in raw["errors"]},
        types={item["name"]: tuple(_field(f) for f in item["type"]["fields"]) for item in raw["types"]},
    )


def _instruction(item: dict[str, Any]) -> InstructionSpec:
    accounts = tuple(
        AccountSpec(
            name=a["name"],
            writable=a.get("writable", False),
            signer=a.get("signer", False),
            optional=a.get("optional", False),
            address=a.get("address"),
        )
        for a in item["accounts"]
    )
    args = tuple(_field(f) for f in item["args"])
    return InstructionSpec(item["name"], bytes(item["discriminator"]), accounts, args, _docs(item))


def _field(item: dict[str, Any]) -> Field:
    kind = item["type"]
    if isinstance(kind, str):
        return Field(item["name"], kind, 0, _docs(item))
    if "defined" in kind:
        return Field(item["name"], kind["defined"]["name"], 0, _docs(item))
    match kind:
        case {"array": ["u8", int(length)]}:
            return Field(item["name"], "bytes", length, _docs(item))
        case _:
            raise ValueError(f"the IDL's field {item['name']} has a type without a fixed size: {kind}")


def _docs(item: dict[str, Any]) -> str:
    return " ".join(item.get("docs", ()))
