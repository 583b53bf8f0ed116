"""Calls that are tried on a world, which stands afterwards as it stood before."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from solders.account import Account
from solders.pubkey import Pubkey

from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM
from tests.support.spoiled_calls import Spoiled
from tests.support.svm import Refused, Svm

Ledger = dict[Pubkey, Account | None]


def attempt(svm: Svm, spoiled: Spoiled) -> str:
    """The error's name, "" when it is accepted; the invariants hold then (see Svm.send)."""
    try:
        svm.send(spoiled.instruction, signers=spoiled.signers)
    except Refused as error:
        return error.name
    return ""


def ledger(svm: Svm, spoiled: Spoiled) -> Ledger:
    """All accounts of this program and SPL Token, and whatever the call names: all but the payer of the fee."""
    found: Ledger = {}
    for program in (svm.program.id, TOKEN_PROGRAM):
        found.update(svm.vm.get_program_accounts(program))
    return found | {key: svm.vm.get_account(key) for key in _named(spoiled)}


@contextmanager
def put_back(svm: Svm, spoiled: Spoiled) -> Generator[None]:
    """Plants what a spoiled call needs, and afterwards puts all accounts back that it could change."""
    before = {key: svm.vm.get_account(key) for key in _named(spoiled)}
    for key, account in spoiled.planted:
        svm.vm.set_account(key, account)
    try:
        yield
    finally:
        for key, account in before.items():
            svm.vm.set_account(key, account or Account(0, b"", SYSTEM_PROGRAM))


def _named(spoiled: Spoiled) -> set[Pubkey]:
    keys = {meta.pubkey for meta in spoiled.instruction.accounts} | {signer.pubkey() for signer in spoiled.signers}
    return keys | {key for key, _ in spoiled.planted}
