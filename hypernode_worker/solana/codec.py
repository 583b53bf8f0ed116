"""Encodes and decodes what the IDL describes, on the standard library and solders alone.

Every type of this program has a fixed size, so each becomes one precompiled `struct.Struct`: a field's offset in
an account is the sum of the sizes before it.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from solders.pubkey import Pubkey

from hypernode_worker.core.types import CID_BYTES, Cid
from hypernode_worker.errors import AccountInvalid
from hypernode_worker.solana.idl_file import Field, Idl, load_idl

DISCRIMINATOR_BYTES = 8

_FORMATS = {
    "bool": "?", "u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q",
    "pubkey": "32s",
}  # fmt: skip


def _cid(raw: bytes) -> Cid | None:
    return Cid.from_bytes(raw) if any(raw) else None


def _raw(value: object) -> object:
    """What struct packs for a value: keys and CIDs as bytes, None (an absent CID) as zeros."""
    match value:
        case Pubkey():
            return bytes(value)
        case Cid():
            return value.to_bytes()
        case None:
            return bytes(CID_BYTES)
        case _:
            return value


def _member(parent: object, name: str) -> object:
    if isinstance(parent, Mapping):
        return cast("Mapping[str, object]", parent)[name]
    return getattr(parent, name)


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: tuple[str, ...]
    format: str
    length: int
    convert: Callable[[bytes], object] | None

    @property
    def name(self) -> str:
        return ".".join(self.path)


class Layout:
    """A run of fields with a fixed size. Nested structs are flattened; their members keep their path."""

    def __init__(self, title: str, leaves: tuple[_Leaf, ...]) -> None:
        self.title = title
        self._leaves = leaves
        self._struct = struct.Struct("<" + "".join(leaf.format for leaf in leaves))
        self._names = tuple(leaf.path[-1] for leaf in leaves)
        self._converted = tuple((i, leaf.convert) for i, leaf in enumerate(leaves) if leaf.convert)
        self.size = self._struct.size

    def offsets(self, start: int = 0) -> dict[str, int]:
        """Offset of each field, counted from `start`."""
        found: dict[str, int] = {}
        for leaf in self._leaves:
            found[leaf.name] = start
            start += struct.calcsize("<" + leaf.format)
        return found

    def prefix(self, size: int) -> Layout:
        """The fields that lie wholly in the first `size` bytes."""
        ends = [struct.calcsize("<" + leaf.format) for leaf in self._leaves]
        count, total = 0, 0
        while count < len(ends) and total + ends[count] <= size:
            total += ends[count]
            count += 1
        return Layout(self.title, self._leaves[:count])

    def encode(self, values: Mapping[str, object]) -> bytes:
        """Packs the values; a nested struct is a mapping or an object with these attributes.

        Raises ValueError, naming the field, for a value that is missing, of another type or out of range.
        """
        raw = [_raw(self._pick(values, leaf)) for leaf in self._leaves]
        for value, leaf in zip(raw, self._leaves, strict=True):
            if leaf.length and (not isinstance(value, bytes) or len(value) != leaf.length):
                raise ValueError(f"{self.title}.{leaf.name} must be {leaf.length} bytes")
            if leaf.format == "?" and not isinstance(value, bool):
                raise ValueError(f"{self.title}.{leaf.name} must be True or False")
        try:
            return self._struct.pack(*raw)
        except struct.error as error:
            raise self._explain(raw, error) from error

    def decode(self, data: bytes, offset: int = 0) -> dict[str, object]:
        """Unpacks the fields by name. Raises AccountInvalid when the bytes are too few or a CID is none."""
        try:
            values: list[object] = list(self._struct.unpack_from(data, offset))
            for index, convert in self._converted:
                value = values[index]
                values[index] = convert(value) if isinstance(value, bytes) else value
        except struct.error as error:
            have, need = max(0, len(data) - offset), self.size
            raise AccountInvalid(f"{self.title} needs {need} bytes but there are {have}.") from error
        except ValueError as error:
            raise AccountInvalid(f"{self.title} holds a field that can't be read: {error}.") from error
        return dict(zip(self._names, values, strict=True))

    def _pick(self, values: Mapping[str, object], leaf: _Leaf) -> object:
        current: object = values
        for name in leaf.path:
            try:
                current = _member(current, name)
            except (KeyError, AttributeError):
                raise ValueError(f"{self.title}.{leaf.name} is missing") from None
        return current

    def _explain(self, raw: list[object], error: struct.error) -> ValueError:
        for value, leaf in zip(raw, self._leaves, strict=True):
            try:
                struct.pack("<" + leaf.format, value)
            except struct.error as why:
                return ValueError(f"{self.title}.{leaf.name} can't hold {value!r}: {why}")
        return ValueError(f"{self.title}: {error}")


def _leaves(
    fields: tuple[Field, ...], types: Mapping[str, tuple[Field, ...]], path: tuple[str, ...] = ()
) -> tuple[_Leaf, ...]:
    found: list[_Leaf] = []
    for field in fields:
        here = (*path, field.name)
        if field.type == "bytes":
            is_cid = field.length == CID_BYTES and field.name.endswith("_cid")
            found.append(_Leaf(here, f"{field.length}s", field.length, _cid if is_cid else None))
        elif field.type == "pubkey":
            found.append(_Leaf(here, "32s", 32, Pubkey.from_bytes))
        elif field.type in _FORMATS:
            found.append(_Leaf(here, _FORMATS[field.type], 0, None))
        elif field.type in types:
            found.extend(_leaves(types[field.type], types, here))
        else:
            raise ValueError(f"the IDL's field {'.'.join(here)} has a type that this codec doesn't know: {field.type}")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the program: a hint of what happened, never the truth about money."""

    name: str
    fields: dict[str, object]


class Codec:
    """Layouts of all instructions, accounts and events of one IDL."""

    def __init__(self, idl: Idl) -> None:
        self.idl = idl
        types = idl.types
        self.instructions = {n: Layout(n, _leaves(i.args, types)) for n, i in idl.instructions.items()}
        self.accounts = {name: Layout(name, _leaves(types[name], types)) for name in idl.accounts}
        self._events = {tag: Layout(n, _leaves(types[n], types)) for n, tag in idl.events.items()}

    def encode_instruction(self, name: str, args: Mapping[str, object]) -> bytes:
        """Discriminator and arguments. Raises ValueError, naming the field, for arguments that don't fit."""
        return self.idl.instructions[name].discriminator + self.instructions[name].encode(args)

    def decode_instruction(self, data: bytes) -> tuple[str, dict[str, object]]:
        """Name and flattened arguments of an instruction. Raises AccountInvalid for what is none of this program's."""
        for name, spec in self.idl.instructions.items():
            if data.startswith(spec.discriminator):
                layout = self.instructions[name]
                if len(data) != DISCRIMINATOR_BYTES + layout.size:
                    raise AccountInvalid(
                        f"{name} has {len(data)} bytes of data, not {DISCRIMINATOR_BYTES + layout.size}."
                    )
                return name, layout.decode(data, DISCRIMINATOR_BYTES)
        raise AccountInvalid("The instruction is none of the markets program's.")

    def account_bytes(self, name: str) -> int:
        """Size of an account with its discriminator."""
        return DISCRIMINATOR_BYTES + self.accounts[name].size

    def decode_account(self, name: str, data: bytes) -> dict[str, object]:
        """All fields by name. Raises AccountInvalid for another kind or size."""
        self._check(name, data)
        if len(data) != self.account_bytes(name):
            raise AccountInvalid(f"{name} has {len(data)} bytes, not {self.account_bytes(name)}: another version?")
        return self.accounts[name].decode(data, DISCRIMINATOR_BYTES)

    def encode_account(self, name: str, values: Mapping[str, object]) -> bytes:
        """The bytes of an account with these fields."""
        return self.idl.accounts[name] + self.accounts[name].encode(values)

    def decode_prefix(self, name: str, data: bytes) -> dict[str, object]:
        """The fields that lie wholly in `data`, the beginning of an account."""
        self._check(name, data)
        return self._prefix(name, len(data)).decode(data, DISCRIMINATOR_BYTES)

    def decode_event(self, data: bytes) -> Event | None:
        """An event from its logged bytes; None for what is no event of this IDL."""
        layout = self._events.get(data[:DISCRIMINATOR_BYTES])
        if layout is None or len(data) != DISCRIMINATOR_BYTES + layout.size:
            return None
        return Event(layout.title, layout.decode(data, DISCRIMINATOR_BYTES))

    def _check(self, name: str, data: bytes) -> None:
        if data[:DISCRIMINATOR_BYTES] != self.idl.accounts[name]:
            raise AccountInvalid(f"The account is no {name}: it begins with another discriminator.")

    @functools.lru_cache(maxsize=8)  # noqa: B019 -- the one codec lives as long as the process
    def _prefix(self, name: str, size: int) -> Layout:
        return self.accounts[name].prefix(size - DISCRIMINATOR_BYTES)


@functools.cache
def codec() -> Codec:
    """The codec of the packaged IDL."""
    return Codec(load_idl())
