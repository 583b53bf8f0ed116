"""Which accounts a transaction names and which of them it may write, lookup tables included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from solders.address_lookup_table_account import AddressLookupTable
from solders.message import MessageV0, VersionedMessage
from solders.pubkey import Pubkey

from hypernode_worker.localnet.accounts import ChainAccount


@dataclass(frozen=True, slots=True)
class TransactionKeys:
    """The accounts of a transaction in the order in which instructions count them.

    Attributes:
        static: keys in the message itself.
        loaded_writable, loaded_readonly: keys from address lookup tables.
        writable: for each key, whether the transaction may write it.
    """

    static: tuple[Pubkey, ...]
    loaded_writable: tuple[Pubkey, ...]
    loaded_readonly: tuple[Pubkey, ...]
    writable: tuple[bool, ...]

    @property
    def all(self) -> tuple[Pubkey, ...]:
        return self.static + self.loaded_writable + self.loaded_readonly


def static_writable(message: VersionedMessage) -> list[bool]:
    """For each key of the message itself, whether its header lets the transaction write it."""
    header = message.header
    signed, count = header.num_required_signatures, len(message.account_keys)
    first_readonly_signed = signed - header.num_readonly_signed_accounts
    first_readonly = count - header.num_readonly_unsigned_accounts
    return [i < first_readonly_signed or signed <= i < first_readonly for i in range(count)]


def resolve_keys(message: VersionedMessage, account: Callable[[Pubkey], ChainAccount | None]) -> TransactionKeys | None:
    """The transaction's accounts; None when a lookup table is missing or too short (the chain refuses those)."""
    static = tuple(message.account_keys)
    writable = static_writable(message)
    loaded_writable: list[Pubkey] = []
    loaded_readonly: list[Pubkey] = []
    if isinstance(message, MessageV0):
        for lookup in message.address_table_lookups:
            table = account(lookup.account_key)
            try:
                addresses = AddressLookupTable.deserialize(table.data).addresses if table else []
                loaded_writable += [addresses[index] for index in lookup.writable_indexes]
                loaded_readonly += [addresses[index] for index in lookup.readonly_indexes]
            except (ValueError, IndexError):
                return None
    writable += [True] * len(loaded_writable) + [False] * len(loaded_readonly)
    return TransactionKeys(static, tuple(loaded_writable), tuple(loaded_readonly), tuple(writable))
