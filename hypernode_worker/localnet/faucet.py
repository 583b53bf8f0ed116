"""The faucet: an ordinary account with much SOL, whose key the chain holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solders.compute_budget import set_compute_unit_limit
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams
from solders.system_program import transfer as transfer_instruction
from solders.transaction import VersionedTransaction

from hypernode_worker.localnet.accounts import ChainAccount

if TYPE_CHECKING:
    from hypernode_worker.localnet.bank import Bank

_SYSTEM = Pubkey.default()
_UNITS = 1_000
_VARIANTS = 1_000_000


def fund(bank: Bank, lamports: int) -> None:
    """Gives the faucet its lamports, at genesis."""
    bank.set_account(bank.faucet.pubkey(), ChainAccount(lamports, b"", _SYSTEM))


def transfer(bank: Bank, address: Pubkey, lamports: int) -> VersionedTransaction:
    """A transfer from the faucet.

    Its compute limit counts up: two equal airdrops in one slot would otherwise be one transaction.
    """
    faucet = bank.faucet
    pay = transfer_instruction(TransferParams(from_pubkey=faucet.pubkey(), to_pubkey=address, lamports=lamports))
    limit = set_compute_unit_limit(_UNITS + bank.transaction_count % _VARIANTS)
    message = MessageV0.try_compile(faucet.pubkey(), [limit, pay], [], bank.latest_blockhash)
    return VersionedTransaction(message, [faucet])
