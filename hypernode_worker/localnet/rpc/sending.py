"""Methods that take a transaction: send, simulate, ask for its fee."""

from __future__ import annotations

import base64
import binascii
import contextlib

from solders.message import VersionedMessage, from_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from hypernode_worker.localnet import base58
from hypernode_worker.localnet.bank import Refused
from hypernode_worker.localnet.execution import Simulation
from hypernode_worker.localnet.failures import describe
from hypernode_worker.localnet.json_types import Json, JsonObject
from hypernode_worker.localnet.rpc.context import Context, Method, Methods
from hypernode_worker.localnet.rpc.encoding import AccountView
from hypernode_worker.localnet.rpc.errors import PREFLIGHT_FAILURE, RpcError, invalid_params
from hypernode_worker.localnet.rpc.params import Config, Params, parse_pubkey
from hypernode_worker.localnet.rpc.transaction_json import inner_instructions, loaded_addresses

_MAX_RAW = 1232
_MAX_TEXT = {"base58": 1683, "base64": 1644}
_TRANSACTION = "solana_transaction::versioned::VersionedTransaction"
_MESSAGE = "solana_message::versions::VersionedMessage"


def _send_transaction(context: Context, params: Params) -> Json:
    config = context.config(params, 1)
    skip, encoding = config.flag("skipPreflight"), config.text("encoding") or "base58"
    config.integer("maxRetries")
    transaction = _decode_transaction(params.text(0), encoding)
    if not skip:
        simulation = context.bank.simulate(transaction)
        if simulation.err is not None:
            data = _simulation_json(simulation)
            data.update(dict.fromkeys(_LEFT_OUT_OF_PREFLIGHT))
            message = f"Transaction simulation failed: {describe(simulation.err)}"
            raise RpcError(PREFLIGHT_FAILURE, message, data)
    # As on a real cluster: without a preflight the client only sees that a refused one never lands.
    with contextlib.suppress(Refused):
        context.bank.send(transaction)
    return str(transaction.signatures[0])


def _simulate_transaction(context: Context, params: Params) -> Json:
    config = context.config(params, 1)
    verify, replace = config.flag("sigVerify"), config.flag("replaceRecentBlockhash")
    transaction = _decode_transaction(params.text(0), config.text("encoding") or "base58")
    if verify and replace:
        raise invalid_params("sigVerify may not be used with replaceRecentBlockhash")
    wanted = _wanted_accounts(config, len(transaction.message.account_keys))
    simulation = context.bank.simulate(transaction, verify=verify, check_age=not replace)
    value = _simulation_json(simulation)
    if wanted is not None and simulation.executed and simulation.err is None:
        view, addresses = wanted
        found: list[Json] = []
        for address in addresses:
            in_it = address in simulation.accounts
            account = simulation.accounts[address] if in_it else context.bank.account(address)
            found.append(account and view.to_json(address, account, context.bank.account))
        value["accounts"] = found
    if config.flag("innerInstructions") and simulation.meta is not None:
        value["innerInstructions"] = inner_instructions(simulation.meta.to_json())
    if replace:
        blockhash = context.bank.latest_blockhash
        last = context.bank.last_valid_slot(blockhash)
        value["replacementBlockhash"] = {"blockhash": str(blockhash), "lastValidBlockHeight": last}
    return context.wrap(value)


def _get_fee_for_message(context: Context, params: Params) -> Json:
    message = _decode_message(params.text(0))
    context.config(params, 1)
    if not context.bank.is_valid(message.recent_blockhash):
        return context.wrap(None)
    return context.wrap(context.bank.fee_of(message))


def _wanted_accounts(config: Config, key_count: int) -> tuple[AccountView, list[Pubkey]] | None:
    accounts = config.config("accounts")
    if accounts is None:
        return None
    view = AccountView.of(accounts, "base64")
    if view.encoding in ("binary", "base58"):
        raise invalid_params("base58 encoding not supported")
    items = accounts.items("addresses") or []
    if len(items) > key_count:
        raise invalid_params(f"Too many accounts provided; max {key_count}")
    return view, [parse_pubkey(item) for item in items]


_LEFT_OUT_OF_PREFLIGHT = (
    "loadedAddresses",
    "postBalances",
    "postTokenBalances",
    "preBalances",
    "preTokenBalances",
)


def _simulation_json(simulation: Simulation) -> JsonObject:
    meta, keys, ran = simulation.meta, simulation.keys, simulation.executed
    return {
        "accounts": None,
        "err": simulation.err,
        "fee": meta.fee if meta and ran else None,
        "innerInstructions": None,
        "loadedAccountsDataSize": meta.loaded_bytes if meta and ran else 0,
        "loadedAddresses": loaded_addresses(keys.loaded_writable, keys.loaded_readonly) if keys else None,
        "logs": list(meta.logs) if meta else [],
        "postBalances": list(meta.post_balances) if meta else None,
        "postTokenBalances": list(meta.post_tokens) if meta else None,
        "preBalances": list(meta.pre_balances) if meta else None,
        "preTokenBalances": list(meta.pre_tokens) if meta else None,
        "replacementBlockhash": None,
        "returnData": meta.return_data if meta else None,
        "unitsConsumed": meta.compute_units if meta else 0,
    }


def _decode_transaction(text: str, encoding: str) -> VersionedTransaction:
    """Raises RpcError for text that holds no transaction. Bytes after it are ignored, as Agave does."""
    raw = _decode(text, encoding, _TRANSACTION)
    try:
        return VersionedTransaction.from_bytes(raw)
    except Exception as error:  # solders raises one of several classes without a common base
        raise invalid_params(f"failed to deserialize {_TRANSACTION}: {error}") from error


def _decode_message(text: str) -> VersionedMessage:
    raw = _decode(text, "base64", _MESSAGE)
    try:
        return from_bytes_versioned(raw)
    except Exception as error:  # as above
        raise invalid_params(f"failed to deserialize {_MESSAGE}: {error}") from error


def _decode(text: str, encoding: str, what: str) -> bytes:
    limit = _MAX_TEXT.get(encoding)
    if limit is None:
        supported = ", ".join(_MAX_TEXT)
        raise invalid_params(f"unsupported encoding: {encoding[:40]}. Supported encodings: {supported}")
    if len(text) > limit:
        size = f"{len(text)} bytes (max: encoded/raw {limit}/{_MAX_RAW})"
        raise invalid_params(f"{encoding} encoded {what} too large: {size}")
    try:
        raw = base58.decode(text) if encoding == "base58" else base64.b64decode(text, validate=True)
    except base58.Base58Error as error:
        fault = f"InvalidCharacter {{ character: {error.character!r}, index: {error.index} }}"
        raise invalid_params(f"invalid base58 encoding: {fault}") from error
    except (binascii.Error, ValueError) as error:
        raise invalid_params(f"invalid base64 encoding: {error}") from error
    if len(raw) > _MAX_RAW:
        raise invalid_params(f"decoded {what} too large: {len(raw)} bytes (max: {_MAX_RAW} bytes)")
    return raw


METHODS: Methods = {
    "sendTransaction": Method(_send_transaction, 1, 2),
    "simulateTransaction": Method(_simulate_transaction, 1, 2),
    "getFeeForMessage": Method(_get_fee_for_message, 1, 2),
}
