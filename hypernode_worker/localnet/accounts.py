"""Accounts as the bank keeps them, and an index by owner.

The virtual machine is the truth. The index mirrors what transactions wrote, so that reads by owner touch only
that owner's accounts and copy no data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from solders.account import Account
from solders.pubkey import Pubkey

_NONE: Mapping[Pubkey, ChainAccount] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ChainAccount:
    """One account at one moment. An account without lamports doesn't exist: it is None everywhere here."""

    lamports: int
    data: bytes
    owner: Pubkey
    executable: bool = False
    rent_epoch: int = 2**64 - 1

    @classmethod
    def of(cls, account: Account | None) -> ChainAccount | None:
        """What the virtual machine holds; None for nothing or for an emptied account."""
        if account is None or account.lamports == 0:
            return None
        return cls(account.lamports, account.data, account.owner, account.executable, account.rent_epoch)

    def to_solders(self) -> Account:
        """The virtual machine's type."""
        return Account(self.lamports, self.data, self.owner, self.executable, self.rent_epoch)


class AccountIndex:
    """Every account that a transaction or the genesis wrote, by address and by owner."""

    def __init__(self) -> None:
        self._by_address: dict[Pubkey, ChainAccount] = {}
        self._by_owner: dict[Pubkey, dict[Pubkey, ChainAccount]] = {}

    def __len__(self) -> int:
        return len(self._by_address)

    def __iter__(self) -> Iterator[tuple[Pubkey, ChainAccount]]:
        return iter(self._by_address.items())

    def get(self, address: Pubkey) -> ChainAccount | None:
        return self._by_address.get(address)

    def put(self, address: Pubkey, account: ChainAccount | None) -> None:
        """Records the account's new state; None removes it. May be repeated."""
        old = self._by_address.pop(address, None)
        if old is not None and (account is None or account.owner != old.owner):
            owned = self._by_owner[old.owner]
            del owned[address]
            if not owned:
                del self._by_owner[old.owner]
        if account is not None:
            self._by_address[address] = account
            self._by_owner.setdefault(account.owner, {})[address] = account

    def owned_by(self, owner: Pubkey) -> Mapping[Pubkey, ChainAccount]:
        """The owner's accounts. The mapping is live: don't keep it across a transaction."""
        return self._by_owner.get(owner, _NONE)
