"""Methods about token accounts and mints."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from solders.pubkey import Pubkey

from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.json_types import Json
from hypernode_worker.localnet.rpc.context import Context, Method, Methods
from hypernode_worker.localnet.rpc.encoding import AccountView
from hypernode_worker.localnet.rpc.errors import RpcError, invalid_params
from hypernode_worker.localnet.rpc.params import Config, Params, parse_pubkey
from hypernode_worker.localnet.token import (
    TOKEN_PROGRAMS,
    TokenHolding,
    TokenMint,
    mint_decimals,
    read_holding,
    read_mint,
    ui_amount,
)

_LARGEST = 20


def _get_token_account_balance(context: Context, params: Params) -> Json:
    address = params.pubkey(0)
    context.config(params, 1)
    account = _existing(context, address)
    holding = read_holding(account)
    if holding is None:
        raise invalid_params("Invalid param: not a Token account")
    decimals = mint_decimals(context.bank.account(holding.mint), holding.mint)
    if decimals is None:
        raise invalid_params("Invalid param: could not find mint")
    return context.wrap(ui_amount(holding.amount, decimals))


def _get_token_supply(context: Context, params: Params) -> Json:
    address = params.pubkey(0)
    context.config(params, 1)
    mint = read_mint(_existing(context, address))
    if mint is None:
        raise invalid_params("Invalid param: not a Token mint")
    return context.wrap(ui_amount(mint.supply, mint.decimals))


def _get_token_largest_accounts(context: Context, params: Params) -> Json:
    address = params.pubkey(0)
    context.config(params, 1)
    program, mint = _mint(context, address, "could not find mint")
    holdings = [
        (holding.amount, key) for key, holding in _holdings(context, program, lambda data: data[:32] == bytes(address))
    ]
    holdings.sort(key=lambda item: (-item[0], str(item[1])))
    found: list[Json] = [
        {"address": str(key), **ui_amount(amount, mint.decimals)} for amount, key in holdings[:_LARGEST]
    ]
    return context.wrap(found)


def _get_token_accounts_by_owner(context: Context, params: Params) -> Json:
    return _token_accounts(context, params, lambda holding, owner: holding.owner == owner)


def _get_token_accounts_by_delegate(context: Context, params: Params) -> Json:
    return _token_accounts(context, params, lambda holding, owner: holding.delegate == owner)


def _token_accounts(context: Context, params: Params, belongs: Callable[[TokenHolding, Pubkey], bool]) -> Json:
    owner = params.pubkey(0)
    programs, mint = _selection(context, params.config(1))
    view = AccountView.of(context.config(params, 2))
    read = context.bank.account
    found: list[Json] = []
    for program in programs:
        needle = bytes(owner)
        for key, holding in _holdings(context, program, lambda data, needle=needle: needle in data):
            account = read(key)
            if account and belongs(holding, owner) and mint in (None, holding.mint):
                found.append({"account": view.to_json(key, account, read), "pubkey": str(key)})
    return context.wrap(found)


def _selection(context: Context, config: Config) -> tuple[tuple[Pubkey, ...], Pubkey | None]:
    """Which token programs, and which mint if only one."""
    mint, program = config.raw("mint"), config.raw("programId")
    if (mint is None) == (program is None):
        raise invalid_params("Invalid params: invalid value: map, expected map with a single key.")
    if program is not None:
        address = parse_pubkey(program)
        if address not in TOKEN_PROGRAMS:
            raise invalid_params("Invalid param: unrecognized Token program id")
        return (address,), None
    address = parse_pubkey(mint)
    owner, _ = _mint(context, address, "could not find mint")
    return (owner,), address


def _mint(context: Context, address: Pubkey, missing: str) -> tuple[Pubkey, TokenMint]:
    account = context.bank.account(address)
    if account is None:
        raise invalid_params(f"Invalid param: {missing}")
    mint = read_mint(account)
    if mint is None:
        raise invalid_params("Invalid param: Token mint could not be unpacked")
    return account.owner, mint


def _holdings(
    context: Context, program: Pubkey, candidate: Callable[[bytes], bool]
) -> Iterator[tuple[Pubkey, TokenHolding]]:
    """A token program's accounts; `candidate` looks at the raw bytes first, which costs little."""
    for key, account in context.bank.owned_by(program).items():
        if candidate(account.data):
            holding = read_holding(account)
            if holding is not None:
                yield key, holding


def _existing(context: Context, address: Pubkey) -> ChainAccount:
    account = context.bank.account(address)
    if account is None:
        raise RpcError(-32602, "Invalid param: could not find account")
    return account


METHODS: Methods = {
    "getTokenAccountBalance": Method(_get_token_account_balance, 1, 2),
    "getTokenSupply": Method(_get_token_supply, 1, 2),
    "getTokenLargestAccounts": Method(_get_token_largest_accounts, 1, 2),
    "getTokenAccountsByOwner": Method(_get_token_accounts_by_owner, 2, 3),
    "getTokenAccountsByDelegate": Method(_get_token_accounts_by_delegate, 2, 3),
}
