"""Addresses that follow from others: the program's accounts and SPL token accounts."""

from __future__ import annotations

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

SYSTEM_PROGRAM = Pubkey.default()
TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
ASSOCIATED_TOKEN_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
WRAPPED_SOL = Pubkey.from_string("So11111111111111111111111111111111111111112")

_CREATE_IDEMPOTENT = bytes([1])


def market_address(program: Pubkey, authority: Pubkey, market_id: int) -> Pubkey:
    """The market that an authority made under this number."""
    return _derive(program, b"market", bytes(authority), market_id.to_bytes(8, "little"))[0]


def node_address(program: Pubkey, market: Pubkey, authority: Pubkey) -> Pubkey:
    """A wallet's registration in a market."""
    return _derive(program, b"node", bytes(market), bytes(authority))[0]


def job_address(program: Pubkey, market: Pubkey, client: Pubkey, nonce: int) -> tuple[Pubkey, int]:
    """A client's job of this number, with the bump that create_job is given."""
    return _derive(program, b"job", bytes(market), bytes(client), nonce.to_bytes(8, "little"))


def escrow_address(program: Pubkey, job: Pubkey) -> tuple[Pubkey, int]:
    """The token account of a job that is paid in an SPL token, with its bump."""
    return _derive(program, b"escrow", bytes(job))


def stake_address(program: Pubkey, node: Pubkey) -> Pubkey:
    """The token account that holds a node's stake."""
    return _derive(program, b"stake", bytes(node))[0]


def token_address(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """A wallet's associated token account of an SPL Token mint."""
    return _derive(ASSOCIATED_TOKEN_PROGRAM, bytes(owner), bytes(TOKEN_PROGRAM), bytes(mint))[0]


def create_token_account(payer: Pubkey, owner: Pubkey, mint: Pubkey) -> Instruction:
    """Makes a wallet's associated token account; does nothing where it exists."""
    accounts = [
        AccountMeta(payer, is_signer=True, is_writable=True),
        AccountMeta(token_address(owner, mint), is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=False, is_writable=False),
        AccountMeta(mint, is_signer=False, is_writable=False),
        AccountMeta(SYSTEM_PROGRAM, is_signer=False, is_writable=False),
        AccountMeta(TOKEN_PROGRAM, is_signer=False, is_writable=False),
    ]
    return Instruction(ASSOCIATED_TOKEN_PROGRAM, _CREATE_IDEMPOTENT, accounts)


def _derive(program: Pubkey, *seeds: bytes) -> tuple[Pubkey, int]:
    return Pubkey.find_program_address(list(seeds), program)
