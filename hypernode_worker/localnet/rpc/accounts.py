"""Methods that read accounts."""

from __future__ import annotations

from hypernode_worker.localnet.json_types import Json
from hypernode_worker.localnet.rpc.context import Context, Method, Methods
from hypernode_worker.localnet.rpc.encoding import AccountView
from hypernode_worker.localnet.rpc.errors import invalid_params
from hypernode_worker.localnet.rpc.filters import AccountFilter
from hypernode_worker.localnet.rpc.params import Params, parse_pubkey

_MAX_MULTIPLE_ACCOUNTS = 100


def _get_account_info(context: Context, params: Params) -> Json:
    address = params.pubkey(0)
    view = AccountView.of(context.config(params, 1))
    account = context.bank.account(address)
    return context.wrap(None if account is None else view.to_json(address, account, context.bank.account))


def _get_multiple_accounts(context: Context, params: Params) -> Json:
    items = params.items(0)
    if len(items) > _MAX_MULTIPLE_ACCOUNTS:
        raise invalid_params(f"Too many inputs provided; max {_MAX_MULTIPLE_ACCOUNTS}")
    addresses = [parse_pubkey(item) for item in items]
    view = AccountView.of(context.config(params, 1), "base64")
    read = context.bank.account
    found = ((address, read(address)) for address in addresses)
    return context.wrap([None if a is None else view.to_json(key, a, read) for key, a in found])


def _get_program_accounts(context: Context, params: Params) -> Json:
    program = params.pubkey(0)
    config = context.config(params, 1)
    view, wanted = AccountView.of(config), AccountFilter.of(config)
    read = context.bank.account
    found: list[Json] = [
        {"account": view.to_json(address, account, read), "pubkey": str(address)}
        for address, account in context.bank.owned_by(program).items()
        if wanted.matches(account)
    ]
    return context.wrap(found) if config.flag("withContext") else found


def _get_balance(context: Context, params: Params) -> Json:
    address = params.pubkey(0)
    context.config(params, 1)
    account = context.bank.account(address)
    return context.wrap(0 if account is None else account.lamports)


def _get_minimum_balance(context: Context, params: Params) -> Json:
    context.config(params, 1)
    size = params.integer(0)
    # Larger accounts can't exist; the sum must not overflow.
    if size > 10 * 1024 * 1024:
        raise invalid_params(f"Invalid param: no account is as large as {size} bytes")
    return context.bank.rent_exempt_minimum(size)


METHODS: Methods = {
    "getAccountInfo": Method(_get_account_info, 1, 2),
    "getMultipleAccounts": Method(_get_multiple_accounts, 1, 2),
    "getProgramAccounts": Method(_get_program_accounts, 1, 2),
    "getBalance": Method(_get_balance, 1, 2),
    "getMinimumBalanceForRentExemption": Method(_get_minimum_balance, 1, 2),
}
