"""Methods about the chain as a whole: slots, blockhashes, epochs, its one validator."""

from __future__ import annotations

from hypernode_worker.localnet.bank import SLOTS_PER_EPOCH, Refused
from hypernode_worker.localnet.json_types import Json
from hypernode_worker.localnet.rpc.context import API_VERSION, Context, Method, Methods
from hypernode_worker.localnet.rpc.errors import INTERNAL_ERROR, RpcError, invalid_params
from hypernode_worker.localnet.rpc.params import Params, parse_hash
from hypernode_worker.localnet.token import ui_amount

FEATURE_SET = 3345198602
"""Identifies Agave 4.1's set of features; clients only show it."""
_MAX_LEADERS = 5_000
_PRIORITY_FEE_SLOTS = 150


def _get_slot(context: Context, params: Params) -> Json:
    context.config(params, 0)
    return context.bank.slot


def _get_transaction_count(context: Context, params: Params) -> Json:
    context.config(params, 0)
    return context.bank.transaction_count


def _get_epoch_info(context: Context, params: Params) -> Json:
    context.config(params, 0)
    bank = context.bank
    return {
        "absoluteSlot": bank.slot,
        "blockHeight": bank.slot,
        "epoch": bank.epoch,
        "slotIndex": bank.slot % SLOTS_PER_EPOCH,
        "slotsInEpoch": SLOTS_PER_EPOCH,
        "transactionCount": bank.transaction_count,
    }


def _get_epoch_schedule(_context: Context, _params: Params) -> Json:
    return {
        "firstNormalEpoch": 0,
        "firstNormalSlot": 0,
        "leaderScheduleSlotOffset": SLOTS_PER_EPOCH,
        "slotsPerEpoch": SLOTS_PER_EPOCH,
        "warmup": False,
    }


def _get_latest_blockhash(context: Context, params: Params) -> Json:
    context.config(params, 0)
    blockhash = context.bank.latest_blockhash
    last = context.bank.last_valid_slot(blockhash)
    return context.wrap({"blockhash": str(blockhash), "lastValidBlockHeight": last})


def _is_blockhash_valid(context: Context, params: Params) -> Json:
    blockhash = parse_hash(params.text(0))
    context.config(params, 1)
    return context.wrap(context.bank.is_valid(blockhash))


def _get_slot_leaders(context: Context, params: Params) -> Json:
    params.integer(0)
    limit = params.integer(1)
    if limit > _MAX_LEADERS:
        raise invalid_params(f"Invalid limit; max {_MAX_LEADERS}")
    leaders: list[Json] = [str(context.bank.identity) for _ in range(limit)]
    return leaders


def _get_leader_schedule(context: Context, params: Params) -> Json:
    slot = params.raw(0)
    if isinstance(slot, int) and slot // SLOTS_PER_EPOCH != context.bank.epoch:
        return None
    # One validator leads every slot; the list is as long as an epoch only for who asks.
    return {str(context.bank.identity): list(range(SLOTS_PER_EPOCH))}


def _get_cluster_nodes(context: Context, _params: Params) -> Json:
    node: Json = {
        "featureSet": FEATURE_SET,
        "gossip": None,
        "pubkey": str(context.bank.identity),
        "pubsub": None,
        "rpc": None,
        "serveRepair": None,
        "shredVersion": 0,
        "tpu": None,
        "tpuForwards": None,
        "tpuForwardsQuic": None,
        "tpuQuic": None,
        "tpuVote": None,
        "tvu": None,
        "version": API_VERSION,
    }
    return [node]


def _get_vote_accounts(_context: Context, _params: Params) -> Json:
    return {"current": [], "delinquent": []}


def _get_recent_prioritization_fees(context: Context, params: Params) -> Json:
    if params.raw(0) is not None and len(params.items(0)) > 128:
        raise invalid_params("Too many inputs provided; max 128")
    first = max(1, context.bank.slot - _PRIORITY_FEE_SLOTS + 1)
    return [{"prioritizationFee": 0, "slot": slot} for slot in range(first, context.bank.slot + 1)]


def _get_supply(context: Context, params: Params) -> Json:
    context.config(params, 0)
    total = sum(account.lamports for _, account in context.bank.accounts())
    supply: Json = {
        "circulating": total,
        "nonCirculating": 0,
        "nonCirculatingAccounts": [],
        "total": total,
    }
    return context.wrap(supply)


def _request_airdrop(context: Context, params: Params) -> Json:
    address, lamports = params.pubkey(0), params.integer(1)
    context.config(params, 2)
    cap = context.airdrop_cap_lamports
    if cap is not None and lamports > cap:
        allowed = ui_amount(cap, 9)["uiAmountString"]
        raise RpcError(INTERNAL_ERROR, f"airdrop request failed: at most {allowed} SOL a request")
    try:
        return context.bank.airdrop(address, lamports).signature
    except Refused as refused:
        raise RpcError(INTERNAL_ERROR, f"airdrop request failed: {refused.err}") from refused


METHODS: Methods = {
    "getSlot": Method(_get_slot, 0, 1),
    "getBlockHeight": Method(_get_slot, 0, 1),
    "getTransactionCount": Method(_get_transaction_count, 0, 1),
    "getEpochInfo": Method(_get_epoch_info, 0, 1),
    "getEpochSchedule": Method(_get_epoch_schedule, 0, 0),
    "getLatestBlockhash": Method(_get_latest_blockhash, 0, 1),
    "isBlockhashValid": Method(_is_blockhash_valid, 1, 2),
    "getGenesisHash": Method(lambda context, _: str(context.bank.genesis_hash), 0, 0),
    "getHealth": Method(lambda _context, _: "ok", 0, 0),
    "getVersion": Method(lambda _context, _: {"feature-set": FEATURE_SET, "solana-core": API_VERSION}, 0, 0),
    "getIdentity": Method(lambda context, _: {"identity": str(context.bank.identity)}, 0, 0),
    "getSlotLeader": Method(lambda context, _: str(context.bank.identity), 0, 1),
    "getSlotLeaders": Method(_get_slot_leaders, 2, 2),
    "getLeaderSchedule": Method(_get_leader_schedule, 0, 2),
    "getClusterNodes": Method(_get_cluster_nodes, 0, 0),
    "getVoteAccounts": Method(_get_vote_accounts, 0, 1),
    "getRecentPrioritizationFees": Method(_get_recent_prioritization_fees, 0, 1),
    "getRecentPerformanceSamples": Method(lambda _context, _: [], 0, 1),
    "getSupply": Method(_get_supply, 0, 1),
    "requestAirdrop": Method(_request_airdrop, 2, 3),
}
