"""Methods that look back: transactions, signatures, blocks."""

from __future__ import annotations

from itertools import islice

from solders.pubkey import Pubkey

from hypernode_worker.localnet.json_types import Json, JsonObject
from hypernode_worker.localnet.landed import Landed
from hypernode_worker.localnet.rpc.context import Context, Method, Methods, refuse_processed
from hypernode_worker.localnet.rpc.errors import (
    BLOCK_CLEANED_UP,
    BLOCK_NOT_AVAILABLE,
    RpcError,
    invalid_params,
)
from hypernode_worker.localnet.rpc.params import Config, Params, parse_signature
from hypernode_worker.localnet.rpc.transaction_json import check_encoding, status, transaction_json

_MAX_STATUSES = 256
_MAX_SIGNATURES = 1_000
_MAX_BLOCKS = 500_000


def _get_signature_statuses(context: Context, params: Params) -> Json:
    items = params.items(0)
    if len(items) > _MAX_STATUSES:
        raise invalid_params(f"Too many inputs provided; max {_MAX_STATUSES}")
    signatures = [parse_signature(item) for item in items]
    context.config(params, 1)
    found = (context.bank.landed(signature) for signature in signatures)
    return context.wrap([None if landed is None else _status(landed) for landed in found])


def _status(landed: Landed) -> JsonObject:
    return {
        "confirmationStatus": "finalized",
        "confirmations": None,
        "err": landed.err,
        "slot": landed.slot,
        "status": status(landed.err),
    }


def _get_transaction(context: Context, params: Params) -> Json:
    signature = params.signature(0)
    # Old clients give the encoding alone.
    bare = params.raw(1)
    config = Config({"encoding": bare}) if isinstance(bare, str) else context.config(params, 1)
    refuse_processed(config)
    encoding = check_encoding(config.text("encoding") or "json")
    newest = config.integer("maxSupportedTransactionVersion")
    landed = context.bank.landed(signature)
    if landed is None:
        return None
    shown = transaction_json(landed, encoding, newest)
    return {"blockTime": landed.block_time, "slot": landed.slot, **shown}


def _get_signatures_for_address(context: Context, params: Params) -> Json:
    address = params.pubkey(0)
    config = context.config(params, 1)
    refuse_processed(config)
    limit = config.integer("limit")
    limit = _MAX_SIGNATURES if limit is None else limit
    if not 1 <= limit <= _MAX_SIGNATURES:
        raise invalid_params(f"Invalid limit; max {_MAX_SIGNATURES}")
    before, until = config.text("before"), config.text("until")
    for bound in (before, until):
        if bound is not None:
            parse_signature(bound)
    return [_signature_json(landed) for landed in islice(_between(context, address, before, until), limit)]


def _between(context: Context, address: Pubkey, before: str | None, until: str | None) -> list[Landed]:
    landed = list(context.bank.landed_at(address))
    if before is not None:
        start = next((at + 1 for at, one in enumerate(landed) if one.signature == before), len(landed))
        landed = landed[start:]
    if until is not None:
        end = next((at for at, one in enumerate(landed) if one.signature == until), len(landed))
        landed = landed[:end]
    return landed


def _signature_json(landed: Landed) -> JsonObject:
    return {
        "blockTime": landed.block_time,
        "confirmationStatus": "finalized",
        "err": landed.err,
        "memo": None,
        "signature": landed.signature,
        "slot": landed.slot,
        "transactionIndex": landed.index,
    }


def _get_block_time(context: Context, params: Params) -> Json:
    slot = params.integer(0)
    _check_slot(context, slot)
    return context.bank.time_of(slot)


def _get_block(context: Context, params: Params) -> Json:
    slot = params.integer(0)
    bare = params.raw(1)
    config = Config({"encoding": bare}) if isinstance(bare, str) else context.config(params, 1)
    refuse_processed(config)
    _check_slot(context, slot)
    blockhash, parent = context.bank.blockhash_of(slot), context.bank.blockhash_of(slot - 1)
    block: JsonObject = {
        "blockHeight": slot,
        "blockTime": context.bank.time_of(slot),
        "blockhash": str(blockhash),
        "parentSlot": slot - 1,
        "previousBlockhash": str(parent or context.bank.genesis_hash),
    }
    transactions = context.bank.landed_in(slot)
    match config.text("transactionDetails") or "full":
        case "full":
            encoding = check_encoding(config.text("encoding") or "json")
            newest = config.integer("maxSupportedTransactionVersion")
            block["transactions"] = [_in_block(landed, encoding, newest) for landed in transactions]
        case "signatures":
            block["signatures"] = [landed.signature for landed in transactions]
        case "none":
            pass
        case other:
            raise invalid_params(f"transactionDetails {other[:40]!r} is not served here: use full, signatures or none")
    if config.raw("rewards") is not False:
        block["rewards"] = []
    return block


def _in_block(landed: Landed, encoding: str, newest: int | None) -> Json:
    shown = transaction_json(landed, encoding, newest)
    del shown["transactionIndex"]
    return shown


def _get_blocks(context: Context, params: Params) -> Json:
    first = params.integer(0)
    bare = params.raw(1)
    last = context.bank.slot if bare is None or isinstance(bare, dict) else params.integer(1)
    last = min(last, context.bank.slot)
    if last - first > _MAX_BLOCKS:
        raise invalid_params(f"Slot range too large; max {_MAX_BLOCKS}")
    return list(range(max(first, context.bank.first_slot), last + 1))


def _get_blocks_with_limit(context: Context, params: Params) -> Json:
    first, limit = params.integer(0), params.integer(1)
    if limit > _MAX_BLOCKS:
        raise invalid_params(f"Limit too large; max {_MAX_BLOCKS}")
    first = max(first, context.bank.first_slot)
    return list(range(first, min(first + limit, context.bank.slot + 1)))


def _check_slot(context: Context, slot: int) -> None:
    if slot > context.bank.slot:
        raise RpcError(BLOCK_NOT_AVAILABLE, f"Block not available for slot {slot}")
    first = context.bank.first_slot
    if slot < first:
        kept = f"First available block: {first}"
        raise RpcError(BLOCK_CLEANED_UP, f"Block {slot} cleaned up, does not exist on node. {kept}")


METHODS: Methods = {
    "getSignatureStatuses": Method(_get_signature_statuses, 1, 2),
    "getTransaction": Method(_get_transaction, 1, 2),
    "getSignaturesForAddress": Method(_get_signatures_for_address, 1, 2),
    "getBlockTime": Method(_get_block_time, 1, 1),
    "getBlock": Method(_get_block, 1, 2),
    "getBlocks": Method(_get_blocks, 1, 3),
    "getBlocksWithLimit": Method(_get_blocks_with_limit, 2, 3),
    "getFirstAvailableBlock": Method(lambda context, _: context.bank.first_slot, 0, 0),
    "minimumLedgerSlot": Method(lambda context, _: context.bank.first_slot, 0, 0),
}
