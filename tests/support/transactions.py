"""Transactions for tests of a chain."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import (
    CreateAccountParams,
    TransferParams,
    create_account,
    transfer,
)
from solders.transaction import VersionedTransaction

SOL = 1_000_000_000
TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
_MINT_BYTES, _ACCOUNT_BYTES = 82, 165
MINT_RENT, ACCOUNT_RENT = 1_461_600, 2_039_280


def signed(
    instructions: Sequence[Instruction],
    signers: Sequence[Keypair],
    blockhash: Hash,
    *,
    legacy: bool = False,
    tables: Sequence[AddressLookupTableAccount] = (),
) -> VersionedTransaction:
    """The instructions as one transaction; the first signer pays."""
    payer = signers[0].pubkey()
    if legacy:
        message = Message.new_with_blockhash(instructions, payer, blockhash)
        return VersionedTransaction(message, list(signers))
    return VersionedTransaction(MessageV0.try_compile(payer, instructions, tables, blockhash), list(signers))


def pay(payer: Keypair, to: Pubkey, lamports: int, blockhash: Hash, *, legacy: bool = False) -> VersionedTransaction:
    """A transfer of SOL."""
    move = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=lamports))
    return signed([move], [payer], blockhash, legacy=legacy)


def as_base64(transaction: VersionedTransaction) -> str:
    return base64.b64encode(bytes(transaction)).decode()


def make_mint(payer: Keypair, mint: Keypair, decimals: int) -> list[Instruction]:
    """Makes an SPL mint; payer has its authority."""
    made = create_account(
        CreateAccountParams(
            from_pubkey=payer.pubkey(),
            to_pubkey=mint.pubkey(),
            lamports=MINT_RENT,
            space=_MINT_BYTES,
            owner=TOKEN_PROGRAM,
        )
    )
    data = bytes([20, decimals]) + bytes(payer.pubkey()) + b"\0"
    return [made, Instruction(TOKEN_PROGRAM, data, [AccountMeta(mint.pubkey(), False, True)])]


def make_token_account(payer: Keypair, account: Keypair, mint: Pubkey, owner: Pubkey) -> list[Instruction]:
    """Makes an SPL token account of an owner."""
    made = create_account(
        CreateAccountParams(
            from_pubkey=payer.pubkey(),
            to_pubkey=account.pubkey(),
            lamports=ACCOUNT_RENT,
            space=_ACCOUNT_BYTES,
            owner=TOKEN_PROGRAM,
        )
    )
    keys = [AccountMeta(account.pubkey(), False, True), AccountMeta(mint, False, False)]
    return [made, Instruction(TOKEN_PROGRAM, bytes([18]) + bytes(owner), keys)]


def mint_to(authority: Keypair, mint: Pubkey, account: Pubkey, amount: int) -> Instruction:
    """Mints base units into a token account."""
    keys = [
        AccountMeta(mint, False, True),
        AccountMeta(account, False, True),
        AccountMeta(authority.pubkey(), True, False),
    ]
    return Instruction(TOKEN_PROGRAM, bytes([7]) + amount.to_bytes(8, "little"), keys)
