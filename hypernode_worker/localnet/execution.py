"""Runs one transaction in the virtual machine and tells what it did."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import (
    FailedTransactionMetadata,
    SimulatedTransactionInfo,
    TransactionMetadata,
)

from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.json_types import Json
from hypernode_worker.localnet.keys import TransactionKeys
from hypernode_worker.localnet.landed import TransactionMeta
from hypernode_worker.localnet.token import mint_decimals, names_token_program, token_balances

Read = Callable[[Pubkey], ChainAccount | None]

_ACCOUNT_OVERHEAD = 64
"""Bytes that each account counts for, beside its data, against the loaded data limit."""
_PROGRAMDATA_AT = slice(4, 36)
_UPGRADEABLE_PROGRAM_BYTES = 36


@dataclass(frozen=True, slots=True)
class Execution:
    """A transaction that was executed.

    Attributes:
        err: the error as JSON-RPC has it, None for success.
        landed: it is part of the chain: its fee was taken.
        changes: the accounts that it changed and what they are now.
    """

    err: Json
    landed: bool
    meta: TransactionMeta
    changes: Mapping[Pubkey, ChainAccount | None]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a transaction would do.

    Attributes:
        meta: None when the transaction's accounts couldn't even be named or its signature was bad.
        executed: whether the virtual machine ran it.
        accounts: each account of the transaction as it would be.
    """

    err: Json
    executed: bool
    keys: TransactionKeys | None
    meta: TransactionMeta | None
    accounts: Mapping[Pubkey, ChainAccount | None]


def execute(vm: LiteSVM, read: Read, transaction: VersionedTransaction, keys: TransactionKeys) -> Execution:
    """Executes and commits. Reads the accounts before and after, so it costs O(accounts of the transaction)."""
    before = [read(key) for key in keys.all]
    result = vm.send_transaction(transaction)
    after = list(before)
    changes: dict[Pubkey, ChainAccount | None] = {}
    for index, key in enumerate(keys.all):
        if keys.writable[index]:
            after[index] = now = ChainAccount.of(vm.get_account(key))
            if now != before[index]:
                changes[key] = now
    err = error_of(result)
    landed = err is None or keys.static[0] in changes
    details = result.meta() if isinstance(result, FailedTransactionMetadata) else result
    return Execution(err, landed, _meta(details, keys, before, after, read), changes)


def simulate(vm: LiteSVM, read: Read, transaction: VersionedTransaction, keys: TransactionKeys) -> Simulation:
    """Executes without committing."""
    before = [read(key) for key in keys.all]
    result = vm.simulate_transaction(transaction)
    accounts = dict(zip(keys.all, before, strict=True))
    details = result.meta()
    err = error_of(result)
    executed = True
    if isinstance(result, SimulatedTransactionInfo):
        accounts.update((key, ChainAccount.of(account)) for key, account in result.post_accounts())
    else:
        executed = bool(details.logs() or details.compute_units_consumed())
        payer = before[0]
        if executed and payer is not None:
            left = payer.lamports - details.fee()
            accounts[keys.static[0]] = ChainAccount(left, payer.data, payer.owner) if left else None
    meta = _meta(details, keys, before, [accounts[key] for key in keys.all], read)
    return Simulation(err, executed, keys, meta, accounts)


def refused(read: Read, err: Json, keys: TransactionKeys | None) -> Simulation:
    """The simulation of a transaction that is refused before it runs."""
    if keys is None or err in ("SignatureFailure", "SanitizeFailure"):
        return Simulation(err, False, keys, None, {})
    accounts = {key: read(key) for key in keys.all}
    states = list(accounts.values())
    balances = [account.lamports if account else 0 for account in states]
    tokens = _tokens(keys.all, states, read)
    writable, loaded = sum(keys.writable), len(keys.loaded_writable)
    meta = TransactionMeta(0, 0, 0, (), (), None, balances, balances, tokens, tokens, loaded, writable)
    return Simulation(err, False, keys, meta, accounts)


def error_of(result: TransactionMetadata | FailedTransactionMetadata | SimulatedTransactionInfo) -> Json:
    """The error as JSON-RPC has it; None for success."""
    if not isinstance(result, FailedTransactionMetadata):
        return None
    return json.loads(result.to_json())["err"]


def _meta(
    details: TransactionMetadata,
    keys: TransactionKeys,
    before: Sequence[ChainAccount | None],
    after: Sequence[ChainAccount | None],
    read: Read,
) -> TransactionMeta:
    returned = details.return_data()
    return_data: Json = None
    if returned.data:
        text = base64.b64encode(returned.data).decode()
        return_data = {"programId": str(returned.program_id), "data": [text, "base64"]}
    return TransactionMeta(
        fee=details.fee(),
        compute_units=details.compute_units_consumed(),
        loaded_bytes=_loaded_bytes(before, read),
        logs=details.logs(),
        inner=_inner(details),
        return_data=return_data,
        pre_balances=[account.lamports if account else 0 for account in before],
        post_balances=[account.lamports if account else 0 for account in after],
        pre_tokens=_tokens(keys.all, before, read),
        post_tokens=_tokens(keys.all, after, read),
        loaded_writable=len(keys.loaded_writable),
        writable=sum(keys.writable),
    )


def _tokens(keys: Sequence[Pubkey], accounts: Sequence[ChainAccount | None], read: Read) -> list[Json]:
    if not names_token_program(keys):
        return []
    return token_balances(keys, accounts, lambda mint: mint_decimals(read(mint), mint))


def _inner(details: TransactionMetadata) -> list[Json]:
    """Inner instructions by outer index; the data in hex."""
    groups: list[Json] = []
    for index, calls in enumerate(details.inner_instructions()):
        if calls:
            made: list[Json] = []
            for call in calls:
                compiled = call.instruction()
                accounts: list[Json] = list(compiled.accounts)
                made.append([compiled.program_id_index, accounts, bytes(compiled.data).hex(), call.stack_height()])
            groups.append([index, made])
    return groups


def _loaded_bytes(accounts: Sequence[ChainAccount | None], read: Read) -> int:
    total = 0
    for account in accounts:
        if account is None:
            continue
        total += _ACCOUNT_OVERHEAD + len(account.data)
        if account.executable and len(account.data) == _UPGRADEABLE_PROGRAM_BYTES:
            programdata = read(Pubkey(account.data[_PROGRAMDATA_AT]))
            total += _ACCOUNT_OVERHEAD + len(programdata.data) if programdata else 0
    return total
