"""A landed transaction as JSON-RPC shows it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import cast

from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import Legacy, VersionedTransaction

from hypernode_worker.localnet import base58
from hypernode_worker.localnet.json_types import Json, JsonObject
from hypernode_worker.localnet.keys import static_writable
from hypernode_worker.localnet.landed import Landed
from hypernode_worker.localnet.rpc.errors import UNSUPPORTED_TRANSACTION_VERSION, RpcError, invalid_params
from hypernode_worker.localnet.rpc.instruction_parsers import parse_instruction

ENCODINGS = ("binary", "base64", "base58", "json", "jsonParsed")
_SIGNATURE_COST, _WRITE_LOCK_COST = 720, 300
_PAGE_BYTES, _PAGE_COST = 32 * 1024, 8


def transaction_json(landed: Landed, encoding: str, max_version: int | None) -> JsonObject:
    """The transaction with its meta, without slot and block time.

    Args:
        max_version: the newest version that the client reads; None: legacy only, and no `version` is told.

    Raises:
        RpcError: the transaction's version is newer than that.
    """
    transaction = landed.transaction()
    version = transaction.version()
    if not isinstance(version, Legacy) and (max_version is None or version > max_version):
        parameter = f'"maxSupportedTransactionVersion": {version}'
        raise RpcError(
            UNSUPPORTED_TRANSACTION_VERSION,
            f"Transaction version ({version}) is not supported by the requesting client."
            f" Please try the request again with the following configuration parameter: {parameter}",
        )
    shown: JsonObject = {
        "meta": _meta(landed, transaction, encoding),
        "transaction": _body(landed, transaction, encoding),
        "transactionIndex": landed.index,
    }
    if max_version is not None:
        shown["version"] = "legacy" if isinstance(version, Legacy) else version
    return shown


def check_encoding(encoding: str) -> str:
    """The encoding, if it is one; raises RpcError."""
    if encoding not in ENCODINGS:
        known = ", ".join(f"`{name}`" for name in ENCODINGS)
        raise invalid_params(f"Invalid params: unknown variant `{encoding[:40]}`, expected one of {known}.")
    return encoding


def status(err: Json) -> JsonObject:
    """The old form of a result, which clients still read."""
    return {"Ok": None} if err is None else {"Err": err}


def loaded_addresses(writable: Iterable[Pubkey], readonly: Iterable[Pubkey]) -> JsonObject:
    return {"readonly": [str(key) for key in readonly], "writable": [str(key) for key in writable]}


def inner_instructions(meta: JsonObject, keys: tuple[Pubkey, ...] | None = None) -> list[Json]:
    """Inner instructions of a `TransactionMeta.to_json`; in words where the keys are given."""
    groups = cast(list[tuple[int, list[tuple[int, list[int], str, int | None]]]], meta["inner"])
    shown: list[Json] = []
    for index, calls in groups:
        instructions: list[Json] = [
            _instruction(program, accounts, bytes.fromhex(data), height, keys)
            for program, accounts, data, height in calls
        ]
        shown.append({"index": index, "instructions": instructions})
    return shown


def _meta(landed: Landed, transaction: VersionedTransaction, encoding: str) -> JsonObject:
    meta = landed.meta_of()
    keys = landed.keys if encoding == "jsonParsed" else None
    shown: JsonObject = {
        "computeUnitsConsumed": meta["compute_units"],
        "costUnits": _cost(meta, transaction),
        "err": landed.err,
        "fee": meta["fee"],
        "innerInstructions": inner_instructions(meta, keys),
        "logMessages": meta["logs"],
        "postBalances": meta["post_balances"],
        "postTokenBalances": meta["post_tokens"],
        "preBalances": meta["pre_balances"],
        "preTokenBalances": meta["pre_tokens"],
        "rewards": [],
        "status": status(landed.err),
    }
    if meta["return_data"] is not None:
        shown["returnData"] = meta["return_data"]
    if keys is None:
        writable, readonly = _loaded(landed, transaction, meta)
        shown["loadedAddresses"] = loaded_addresses(writable, readonly)
    return shown


def _body(landed: Landed, transaction: VersionedTransaction, encoding: str) -> Json:
    match encoding:
        case "binary":
            return base58.encode(landed.wire)
        case "base58":
            return [base58.encode(landed.wire), "base58"]
        case "base64":
            return [base64.b64encode(landed.wire).decode(), "base64"]
        case _:
            signatures: list[Json] = [str(signature) for signature in transaction.signatures]
            message = _message(landed, transaction, encoding == "jsonParsed")
            return {"message": message, "signatures": signatures}


def _message(landed: Landed, transaction: VersionedTransaction, parsed: bool) -> JsonObject:
    message = transaction.message
    instructions: list[Json] = [
        _instruction(
            call.program_id_index,
            list(bytes(call.accounts)),
            bytes(call.data),
            1,
            landed.keys if parsed else None,
        )
        for call in message.instructions
    ]
    shown: JsonObject = {"instructions": instructions, "recentBlockhash": str(message.recent_blockhash)}
    if parsed:
        shown["accountKeys"] = _parsed_keys(landed, transaction)
    else:
        header = message.header
        shown["accountKeys"] = [str(key) for key in message.account_keys]
        shown["header"] = {
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
            "numRequiredSignatures": header.num_required_signatures,
        }
    if isinstance(message, MessageV0):
        shown["addressTableLookups"] = [
            {
                "accountKey": str(lookup.account_key),
                "readonlyIndexes": list(lookup.readonly_indexes),
                "writableIndexes": list(lookup.writable_indexes),
            }
            for lookup in message.address_table_lookups
        ]
    return shown


def _parsed_keys(landed: Landed, transaction: VersionedTransaction) -> list[Json]:
    message = transaction.message
    static = len(message.account_keys)
    writable_static = static_writable(message)
    loaded_writable = cast(int, landed.meta_of()["loaded_writable"])
    shown: list[Json] = []
    for index, key in enumerate(landed.keys):
        in_message = index < static
        writable = writable_static[index] if in_message else index < static + loaded_writable
        shown.append(
            {
                "pubkey": str(key),
                "signer": in_message and message.is_signer(index),
                "source": "transaction" if in_message else "lookupTable",
                "writable": writable,
            }
        )
    return shown


def _instruction(
    program: int, accounts: list[int], data: bytes, height: int | None, keys: tuple[Pubkey, ...] | None
) -> JsonObject:
    if keys is None:
        indexes: list[Json] = list(accounts)
        return {
            "accounts": indexes,
            "data": base58.encode(data),
            "programIdIndex": program,
            "stackHeight": height,
        }
    named = [str(keys[index]) for index in accounts]
    parsed = parse_instruction(keys[program], named, data)
    if parsed is not None:
        return {**parsed, "programId": str(keys[program]), "stackHeight": height}
    return {
        "accounts": cast(list[Json], named),
        "data": base58.encode(data),
        "programId": str(keys[program]),
        "stackHeight": height,
    }


def _loaded(
    landed: Landed, transaction: VersionedTransaction, meta: JsonObject
) -> tuple[tuple[Pubkey, ...], tuple[Pubkey, ...]]:
    static = len(transaction.message.account_keys)
    writable = cast(int, meta["loaded_writable"])
    return landed.keys[static : static + writable], landed.keys[static + writable :]


def _cost(meta: JsonObject, transaction: VersionedTransaction) -> int:
    """Block cost units, by Agave's cost model for what was really used."""
    data_bytes = sum(len(call.data) for call in transaction.message.instructions)
    pages = -(-cast(int, meta["loaded_bytes"]) // _PAGE_BYTES)
    return (
        len(transaction.signatures) * _SIGNATURE_COST
        + cast(int, meta["writable"]) * _WRITE_LOCK_COST
        + data_bytes // 4
        + cast(int, meta["compute_units"])
        + pages * _PAGE_COST
    )
