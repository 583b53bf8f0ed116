"""The real program on a real SVM in this process (LiteSVM), with a clock that tests set."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from solders.account import Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from hypernode_worker.core.accounts import Job, Market, Node
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM, token_address
from hypernode_worker.solana.artifact import PROGRAM_FILE
from hypernode_worker.solana.codec import Event, codec
from hypernode_worker.solana.logs import events_from_logs
from hypernode_worker.solana.program import MarketsProgram, error_name
from tests.support.svm_invariants import check_invariants

SOL = 1_000_000_000
START_TIME = 1_760_000_000
START_SLOT = 1_000

_TOKEN_ACCOUNT_BYTES = 165
_MINT_BYTES = 82
_LIVE, _FROZEN = 1, 2


@dataclass(frozen=True, slots=True)
class Landed:
    """A transaction that succeeded."""

    compute_units: int
    fee: int
    logs: list[str]
    events: list[Event]


class Refused(Exception):
    """A transaction that failed; `name` is the program's error, else the SVM's own words."""

    def __init__(self, name: str, logs: list[str]) -> None:
        super().__init__(f"{name}\n" + "\n".join(logs))
        self.name = name
        self.logs = logs


@contextmanager
def refused(name: str) -> Generator[None]:
    """Expects a transaction to be refused with this very error."""
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.name == name, str(caught.value)


def program_bytes() -> bytes:
    """The program under test: the packaged one, or a freshly built one named by HYPERNODE_TEST_PROGRAM."""
    return Path(os.environ.get("HYPERNODE_TEST_PROGRAM", PROGRAM_FILE)).read_bytes()


# virtual_address_space_adjustments: no gaps between stack frames. Active on new validators, not yet on Mainnet.
_NO_FRAME_GAPS = Pubkey.from_string("7VgiehxNxu53KdxgLspGQY8myE6f7UokaWa4jsGcaSz")


class Svm:
    """A chain with the program; time and slots stand still until `advance`.

    Its features are Mainnet's; with `gapless` its stack frames have no gaps, as on a new validator.
    """

    def __init__(
        self,
        program: MarketsProgram | None = None,
        *,
        gapless: bool = False,
        start: tuple[int, int] = (START_TIME, START_SLOT),
    ) -> None:
        self.program = program or MarketsProgram()
        vm = LiteSVM().with_blockhash_check(False).with_transaction_history(0)
        if gapless:
            features = LiteSVM.mainnet_feature_set()
            features.activate(_NO_FRAME_GAPS, 0)
            vm = vm.with_feature_set(features).with_builtins().with_default_programs()
        self.vm = vm
        self.vm.add_program(self.program.id, program_bytes())
        self.payer = self.wallet(1_000)
        self._sent = 0
        self.set_clock(*start)

    # --- time ---

    def set_clock(self, time: int, slot: int) -> None:
        self.vm.warp_to_slot(slot)
        clock = self.vm.get_clock()
        clock.unix_timestamp, clock.slot = time, slot
        self.vm.set_clock(clock)

    @property
    def time(self) -> int:
        return self.vm.get_clock().unix_timestamp

    @property
    def slot(self) -> int:
        return self.vm.get_clock().slot

    def advance(self, seconds: int = 0, *, slots: int | None = None) -> None:
        """Moves time, and slots at five in two seconds as on a healthy chain, or as told."""
        moved = seconds * 5 // 2 if slots is None else slots
        self.set_clock(self.time + seconds, self.slot + moved)

    # --- wallets and tokens ---

    def wallet(self, sol: float = 100) -> Keypair:
        key = Keypair()
        if sol:
            self.put(key.pubkey(), b"", SYSTEM_PROGRAM, int(sol * SOL))
        return key

    def mint(self, address: Pubkey | None = None) -> Pubkey:
        """An initialized SPL Token mint of 6 decimals, with a freeze authority that nobody holds."""
        key = address or Keypair().pubkey()
        data = bytearray(_MINT_BYTES)
        data[36:44] = (2**64 - 1).to_bytes(8, "little")
        data[44], data[45] = 6, 1
        self.put(key, bytes(data), TOKEN_PROGRAM)
        return key

    def tokens(
        self,
        owner: Pubkey,
        mint: Pubkey,
        amount: int = 0,
        *,
        address: Pubkey | None = None,
        frozen: bool = False,
    ) -> Pubkey:
        """Puts a token account in place, by default the owner's associated one."""
        key = address or token_address(owner, mint)
        data = bytearray(_TOKEN_ACCOUNT_BYTES)
        data[0:32], data[32:64] = bytes(mint), bytes(owner)
        data[64:72] = amount.to_bytes(8, "little")
        data[108] = _FROZEN if frozen else _LIVE
        self.put(key, bytes(data), TOKEN_PROGRAM)
        return key

    def freeze(self, address: Pubkey, *, frozen: bool = True) -> None:
        account = self.get(address)
        data = bytearray(account.data)
        data[108] = _FROZEN if frozen else _LIVE
        self.put(address, bytes(data), account.owner, account.lamports)

    def token_balance(self, address: Pubkey) -> int:
        account = self.vm.get_account(address)
        held = account is not None and account.owner == TOKEN_PROGRAM and len(account.data) == _TOKEN_ACCOUNT_BYTES
        return int.from_bytes(account.data[64:72], "little") if account and held else 0

    # --- accounts ---

    def put(
        self, address: Pubkey, data: bytes, owner: Pubkey, lamports: int | None = None, *, executable: bool = False
    ) -> None:
        rent = self.vm.minimum_balance_for_rent_exemption(len(data))
        self.vm.set_account(address, Account(rent if lamports is None else lamports, data, owner, executable))

    def get(self, address: Pubkey) -> Account:
        account = self.vm.get_account(address)
        assert account is not None, f"no account at {address}"
        return account

    def lamports(self, address: Pubkey) -> int:
        account = self.vm.get_account(address)
        return account.lamports if account else 0

    def rent(self, size: int) -> int:
        return self.vm.minimum_balance_for_rent_exemption(size)

    def exists(self, address: Pubkey) -> bool:
        account = self.vm.get_account(address)
        return account is not None and account.lamports > 0

    def _read(self, address: Pubkey) -> Market | Node | Job:
        account = self.get(address)
        return self.program.decode_account(address, account.data, account.owner)

    def market(self, address: Pubkey) -> Market:
        found = self._read(address)
        assert isinstance(found, Market)
        return found

    def node(self, address: Pubkey) -> Node:
        found = self._read(address)
        assert isinstance(found, Node)
        return found

    def job(self, address: Pubkey) -> Job:
        found = self._read(address)
        assert isinstance(found, Job)
        return found

    def change(self, address: Pubkey, kind: str, **fields: Any) -> None:
        """Overwrites fields of one of the program's accounts, to reach states that would take long."""
        account = self.get(address)
        values = codec().decode_account(kind, account.data) | fields
        self.put(address, codec().encode_account(kind, values), account.owner, account.lamports)

    # --- transactions ---

    def send(
        self, *instructions: Instruction, signers: Sequence[Keypair] = (), burnt: int = 0, corrupted: bool = False
    ) -> Landed:
        """Sends a transaction whose fee a wallet pays that nobody else uses. Raises Refused.

        No lamport and no token may be made or lost in it, but for `burnt` tokens. Nothing more is asked where a test
        has `corrupted` what only the program can write.
        """
        self._sent += 1
        keys = [self.payer, *(s for s in dict.fromkeys(signers))]
        # Two equal transactions in one test are two transactions.
        marker = Instruction(_COMPUTE_BUDGET, b"\x02" + (1_400_000 - self._sent).to_bytes(4, "little"), [])
        message = Message([marker, *instructions], self.payer.pubkey())
        touched = {meta.pubkey for ix in instructions for meta in ix.accounts} - {self.payer.pubkey()}
        before = self._sums(touched)
        result = self.vm.send_transaction(Transaction(keys, message, self.vm.latest_blockhash()))
        if isinstance(result, FailedTransactionMetadata):
            raise Refused(_why(result), list(result.meta().logs()))
        assert isinstance(result, TransactionMetadata)
        lamports, tokens = self._sums(touched)
        if corrupted:
            assert lamports == before[0], "lamports were made or lost"
        else:
            assert (lamports, tokens + burnt) == before, "lamports or tokens were made or lost"
            check_invariants(self.vm, self.program)
        logs = list(result.logs())
        used = result.compute_units_consumed() - _MARKER_UNITS
        return Landed(used, result.fee(), logs, events_from_logs(self.program.id, logs))

    def _sums(self, addresses: set[Pubkey]) -> tuple[int, int]:
        return sum(map(self.lamports, addresses)), sum(map(self.token_balance, addresses))


_COMPUTE_BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
_MARKER_UNITS = 150


# What SPL Token and the System program answer when this program calls them.
_CALLEE_ERRORS = {1: "Callee: InsufficientFunds", 4: "Callee: OwnerMismatch"}


def named(code: int | None, otherwise: object) -> str:
    """A custom error's name: this program's, else a callee's."""
    known = None if code is None else error_name(code) or _CALLEE_ERRORS.get(code)
    return known or str(otherwise)


def _why(failed: FailedTransactionMetadata) -> str:
    error = failed.err()
    code = getattr(getattr(error, "err", error), "code", None)
    return named(code if isinstance(code, int) else None, error)
