"""Token accounts and mints of SPL Token and Token-2022, read from their bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from solders.pubkey import Pubkey

from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.json_types import Json, JsonObject

SPL_TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
TOKEN_PROGRAMS = (SPL_TOKEN, TOKEN_2022)
_NATIVE_MINT = Pubkey.from_string("So11111111111111111111111111111111111111112")

ACCOUNT_BYTES = 165
MINT_BYTES = 82
MULTISIG_BYTES = 355
_STATES = ("uninitialized", "initialized", "frozen")
_KIND_AT = ACCOUNT_BYTES
"""Token-2022 with extensions: a byte here tells 1 mint, 2 account."""


@dataclass(frozen=True, slots=True)
class TokenHolding:
    """A token account. Amounts are base units of the mint."""

    mint: Pubkey
    owner: Pubkey
    amount: int
    delegate: Pubkey | None
    state: int
    rent_reserve: int | None
    delegated_amount: int
    close_authority: Pubkey | None

    def to_json(self, decimals: int) -> JsonObject:
        """Agave's `jsonParsed` form."""
        info: JsonObject = {
            "isNative": self.rent_reserve is not None,
            "mint": str(self.mint),
            "owner": str(self.owner),
            "state": _STATES[self.state],
            "tokenAmount": ui_amount(self.amount, decimals),
        }
        if self.delegate is not None:
            info["delegate"] = str(self.delegate)
            if self.delegated_amount:
                info["delegatedAmount"] = ui_amount(self.delegated_amount, decimals)
        if self.rent_reserve is not None:
            info["rentExemptReserve"] = ui_amount(self.rent_reserve, decimals)
        if self.close_authority is not None:
            info["closeAuthority"] = str(self.close_authority)
        return info


@dataclass(frozen=True, slots=True)
class TokenMint:
    """A mint; supply in base units."""

    authority: Pubkey | None
    supply: int
    decimals: int
    freeze_authority: Pubkey | None

    def to_json(self) -> JsonObject:
        """Agave's `jsonParsed` form."""
        return {
            "decimals": self.decimals,
            "freezeAuthority": str(self.freeze_authority) if self.freeze_authority else None,
            "isInitialized": True,
            "mintAuthority": str(self.authority) if self.authority else None,
            "supply": str(self.supply),
        }


def read_holding(account: ChainAccount) -> TokenHolding | None:
    """The account as a token account; None for anything else or an uninitialised one."""
    data = account.data
    if account.owner not in TOKEN_PROGRAMS or not _is_kind(account, ACCOUNT_BYTES, 2):
        return None
    if data[108] not in (1, 2):
        return None
    native = _u32(data, 109)
    return TokenHolding(
        Pubkey(data[:32]),
        Pubkey(data[32:64]),
        _u64(data, 64),
        _key_option(data, 72),
        data[108],
        _u64(data, 113) if native else None,
        _u64(data, 121),
        _key_option(data, 129),
    )


def read_mint(account: ChainAccount) -> TokenMint | None:
    """The account as a mint; None for anything else or an uninitialised one."""
    data = account.data
    if account.owner not in TOKEN_PROGRAMS or not _is_kind(account, MINT_BYTES, 1) or not data[45]:
        return None
    return TokenMint(_key_option(data, 0), _u64(data, 36), data[44], _key_option(data, 46))


def ui_amount(amount: int, decimals: int) -> JsonObject:
    """The amount as RPC gives it: base units, and the decimal number as float and as text."""
    digits = str(amount).zfill(decimals + 1)
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :].rstrip("0")
    return {
        "amount": str(amount),
        "decimals": decimals,
        "uiAmount": amount / 10**decimals,
        "uiAmountString": f"{whole}.{fraction}" if fraction else whole,
    }


def token_balances(
    keys: Sequence[Pubkey],
    accounts: Sequence[ChainAccount | None],
    decimals_of: Callable[[Pubkey], int | None],
) -> list[Json]:
    """The token balances among a transaction's accounts, as its meta lists them."""
    balances: list[Json] = []
    for index, account in enumerate(accounts):
        holding = read_holding(account) if account is not None else None
        decimals = decimals_of(holding.mint) if holding is not None else None
        if account is None or holding is None or decimals is None:
            continue
        balances.append(
            {
                "accountIndex": index,
                "mint": str(holding.mint),
                "owner": str(holding.owner),
                "programId": str(account.owner),
                "uiTokenAmount": ui_amount(holding.amount, decimals),
            }
        )
    return balances


def names_token_program(keys: Sequence[Pubkey]) -> bool:
    """Whether a transaction can touch tokens at all."""
    return any(program in keys for program in TOKEN_PROGRAMS)


def mint_decimals(account: ChainAccount | None, mint: Pubkey) -> int | None:
    """The mint's decimals; None for what isn't a mint. Wrapped SOL has nine even where its mint isn't there."""
    if mint == _NATIVE_MINT:
        return 9
    found = read_mint(account) if account is not None else None
    return found.decimals if found is not None else None


def _is_kind(account: ChainAccount, plain_bytes: int, kind: int) -> bool:
    size = len(account.data)
    if size == plain_bytes:
        return True
    extended = account.owner == TOKEN_2022 and size > ACCOUNT_BYTES and size != MULTISIG_BYTES
    return extended and account.data[_KIND_AT] == kind


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _key_option(data: bytes, at: int) -> Pubkey | None:
    return Pubkey(data[at + 4 : at + 36]) if _u32(data, at) else None
