"""What should stand on the chain: kept in Python from the instructions alone, never read back from the program.

Lamports and tokens are double entries: what one account loses another gains, and only `burn` takes tokens away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, Market, Node
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM
from hypernode_worker.solana.codec import DISCRIMINATOR_BYTES, codec
from hypernode_worker.solana.program import MarketsProgram

Record = Market | Node | Job
Kind = TypeVar("Kind", Market, Node, Job)
Value = TypeVar("Value")
U64 = 2**64 - 1
TOKEN_ACCOUNT_BYTES = 165
RECORD_BYTES = {Market: 320, Node: 320, Job: 768}


class Forbidden(Exception):
    """The rules don't allow the instruction."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token account of SPL Token."""

    mint: Pubkey
    owner: Pubkey
    amount: int = 0
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """One instruction as the rules read it: from its accounts and data, not from what was meant."""

    name: str
    keys: dict[str, Pubkey]
    args: dict[str, object]
    signers: frozenset[Pubkey]
    writables: frozenset[Pubkey]
    program: MarketsProgram

    @classmethod
    def read(cls, program: MarketsProgram, name: str, instruction: Instruction) -> Told:
        metas = instruction.accounts
        keys = {
            spec.name: meta.pubkey for spec, meta in zip(codec().idl.instructions[name].accounts, metas, strict=True)
        }
        args = codec().instructions[name].decode(bytes(instruction.data), DISCRIMINATOR_BYTES)
        signers = frozenset(meta.pubkey for meta in metas if meta.is_signer)
        # The runtime keeps programs read-only.
        writables = frozenset(meta.pubkey for meta in metas if meta.is_writable) - {program.id, SYSTEM_PROGRAM}
        return cls(name, keys, args, signers, writables, program)

    def number(self, name: str) -> int:
        value = self.args[name]
        assert isinstance(value, int)
        return value


@dataclass(slots=True)
class Books:
    """Everything that the rules know. `rent` gives the least balance of an account of so many bytes."""

    program: MarketsProgram
    rent: Callable[[int], int]
    time: int
    slot: int
    lamports: dict[Pubkey, int] = field(default_factory=dict[Pubkey, int])
    tokens: dict[Pubkey, Token] = field(default_factory=dict[Pubkey, Token])
    supplies: dict[Pubkey, int] = field(default_factory=dict[Pubkey, int])
    records: dict[Pubkey, Record] = field(default_factory=dict[Pubkey, Record])

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [record for record in self.records.values() if isinstance(record, kind)]


class Draft:
    """What one instruction would change; nothing is written to the books before `commit`."""

    def __init__(self, books: Books, told: Told) -> None:
        self.books, self.told = books, told
        self.time, self.slot = books.time, books.slot
        self._lamports: dict[Pubkey, int] = {}
        self._tokens: dict[Pubkey, Token | None] = {}
        self._records: dict[Pubkey, Record | None] = {}
        self._burnt: dict[Pubkey, int] = {}

    # --- what the instruction names ---

    def key(self, name: str) -> Pubkey:
        """An account that must be there."""
        key = self.told.keys[name]
        need(key != self.told.program.id, f"{name} is needed")
        return key

    def given(self, name: str) -> Pubkey | None:
        key = self.told.keys[name]
        return None if key == self.told.program.id else key

    def signer(self, name: str) -> Pubkey:
        key = self.told.keys[name]
        need(key in self.told.signers, f"{name} hasn't signed")
        return key

    def writable(self, key: Pubkey) -> None:
        need(key in self.told.writables, f"{key} is read-only")

    def is_at(self, name: str, address: Pubkey) -> None:
        need(self.told.keys[name] == address, f"{name} isn't at {address}")

    # --- what there is ---

    def lamports(self, key: Pubkey) -> int:
        return self._lamports[key] if key in self._lamports else self.books.lamports.get(key, 0)

    def token(self, key: Pubkey) -> Token | None:
        return self._tokens[key] if key in self._tokens else self.books.tokens.get(key)

    def record(self, key: Pubkey) -> Record | None:
        return self._records[key] if key in self._records else self.books.records.get(key)

    def load(self, name: str, kind: type[Kind], *, write: bool = True) -> Kind:
        key = self.told.keys[name]
        found = self.record(key)
        if not isinstance(found, kind):
            raise Forbidden(f"{name} is no {kind.__name__}")
        if write:
            self.writable(key)
        return found

    # --- what it changes ---

    def put(self, record: Record) -> None:
        self._records[record.address] = record

    def put_token(self, key: Pubkey, token: Token) -> None:
        self._tokens[key] = token

    def pay(self, source: Pubkey, to: Pubkey, amount: int) -> None:
        """Moves lamports."""
        if amount == 0:
            return
        self.writable(source)
        self.writable(to)
        need(self.lamports(source) >= amount, "not enough lamports")
        self._lamports[source] = self.lamports(source) - amount
        self._lamports[to] = self.lamports(to) + amount

    def transfer(self, source: Pubkey, to: Pubkey, amount: int) -> None:
        """Moves tokens between live accounts of one mint."""
        held, found = self.token(source), self.token(to)
        if held is None or found is None or held.mint != found.mint:
            raise Forbidden("no such token accounts")
        self.writable(source)
        self.writable(to)
        need(not held.frozen and not found.frozen, "a token account is frozen")
        need(held.amount >= amount, "not enough tokens")
        self._tokens[source] = replace(held, amount=held.amount - amount)
        found = self.token(to) or found
        self._tokens[to] = replace(found, amount=found.amount + amount)

    def burn(self, key: Pubkey, mint: Pubkey) -> None:
        """All tokens of an account."""
        held = self.token(key)
        assert held is not None
        if held.amount:
            self.writable(mint)
            need(not held.frozen, "the account is frozen")
            self._burnt[mint] = held.amount
            self._tokens[key] = replace(held, amount=0)

    def open(self, payer: Pubkey, key: Pubkey, size: int) -> None:
        """A payer's lamports make an account rent-exempt at an address where nothing has been created."""
        need(self.record(key) is None and self.token(key) is None and key not in self.books.supplies, "not vacant")
        self.writable(key)
        self.pay(payer, key, max(0, self.books.rent(size) - self.lamports(key)))

    def close(self, key: Pubkey, to: Pubkey) -> None:
        need(key != to, "an account can't be closed into itself")
        self.pay(key, to, self.lamports(key))
        if key in self.books.records:
            self._records[key] = None
        else:
            self._tokens[key] = None

    def commit(self) -> None:
        """Raises Forbidden where the runtime would: a wallet may not be left below rent exemption."""
        least = self.books.rent(0)
        for key, after in self._lamports.items():
            before = self.books.lamports.get(key, 0)
            need(after == 0 or after >= least or after == before, f"{key} would stay below rent exemption")
        self.books.lamports.update(self._lamports)
        _merge(self.books.tokens, self._tokens)
        _merge(self.books.records, self._records)
        for mint, amount in self._burnt.items():
            self.books.supplies[mint] -= amount


def need(condition: bool, why: str) -> None:
    if not condition:
        raise Forbidden(why)


def _merge(kept: dict[Pubkey, Value], changes: dict[Pubkey, Value | None]) -> None:
    for key, value in changes.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value
