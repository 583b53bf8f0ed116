"""Durable nonces: transactions whose blockhash is the value in a nonce account and doesn't expire."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from hypernode_worker.localnet.accounts import ChainAccount

Read = Callable[[Pubkey], ChainAccount | None]

NONCE_BYTES = 80
_SYSTEM = Pubkey.default()
_VALUE = slice(40, 72)
_INITIALIZED = (1).to_bytes(4, "little")


def is_current(read: Read, transaction: VersionedTransaction) -> bool:
    """Whether the transaction advances a nonce account that still holds the transaction's blockhash."""
    account = _nonce_account(read, transaction)
    return account is not None and account[1].data[_VALUE] == bytes(transaction.message.recent_blockhash)


def advance(vm: LiteSVM, read: Read, transaction: VersionedTransaction) -> Mapping[Pubkey, ChainAccount | None]:
    """Moves the nonce on after a failed transaction, which has undone its own advance; gives what changed."""
    found = _nonce_account(read, transaction)
    if found is None:
        return {}
    address, account = found
    value = hashlib.sha256(b"DURABLE_NONCE" + bytes(vm.latest_blockhash())).digest()
    data = account.data[: _VALUE.start] + value + account.data[_VALUE.stop :]
    moved = ChainAccount(account.lamports, data, account.owner)
    vm.set_account(address, moved.to_solders())
    return {address: moved}


def _nonce_account(read: Read, transaction: VersionedTransaction) -> tuple[Pubkey, ChainAccount] | None:
    if not transaction.uses_durable_nonce():
        return None
    message = transaction.message
    accounts = bytes(message.instructions[0].accounts)
    if not accounts or accounts[0] >= len(message.account_keys):
        return None
    address = message.account_keys[accounts[0]]
    account = read(address)
    if account is None or account.owner != _SYSTEM or len(account.data) != NONCE_BYTES:
        return None
    return (address, account) if account.data[4:8] == _INITIALIZED else None
