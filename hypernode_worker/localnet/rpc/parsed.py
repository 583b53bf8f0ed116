"""`jsonParsed`: accounts of well-known programs in words. Others stay base64, as Agave leaves them."""

from __future__ import annotations

import base64
from collections.abc import Callable

from solders.address_lookup_table_account import AddressLookupTable
from solders.pubkey import Pubkey

from hypernode_worker.localnet import base58
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.genesis import UPGRADEABLE_LOADER
from hypernode_worker.localnet.json_types import Json, JsonObject
from hypernode_worker.localnet.nonce import NONCE_BYTES
from hypernode_worker.localnet.token import (
    MULTISIG_BYTES,
    TOKEN_2022,
    TOKEN_PROGRAMS,
    mint_decimals,
    read_holding,
    read_mint,
)

Read = Callable[[Pubkey], ChainAccount | None]

_SYSTEM = Pubkey.default()
_LOOKUP_TABLES = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
_PROGRAM, _PROGRAMDATA = 2, 3
_PROGRAMDATA_HEADER = 45
_MULTISIG_SIGNERS = 11


def parse_account(account: ChainAccount, read: Read) -> JsonObject | None:
    """The account in words; None where there is no parser for it."""
    program = ""
    parsed: JsonObject | None = None
    if account.owner in TOKEN_PROGRAMS:
        program = "spl-token-2022" if account.owner == TOKEN_2022 else "spl-token"
        parsed = _token(account, read)
    elif account.owner == _SYSTEM and len(account.data) == NONCE_BYTES:
        program, parsed = "nonce", _nonce(account.data)
    elif account.owner == UPGRADEABLE_LOADER:
        program, parsed = "bpf-upgradeable-loader", _loader(account.data)
    elif account.owner == _LOOKUP_TABLES:
        program, parsed = "address-lookup-table", _lookup_table(account.data)
    if parsed is None:
        return None
    return {"parsed": parsed, "program": program, "space": len(account.data)}


def _token(account: ChainAccount, read: Read) -> JsonObject | None:
    holding = read_holding(account)
    if holding is not None:
        decimals = mint_decimals(read(holding.mint), holding.mint)
        if decimals is None:
            return None
        return {"info": holding.to_json(decimals), "type": "account"}
    mint = read_mint(account)
    if mint is not None:
        return {"info": mint.to_json(), "type": "mint"}
    if len(account.data) == MULTISIG_BYTES and account.data[2]:
        return {"info": _multisig(account.data), "type": "multisig"}
    return None


def _multisig(data: bytes) -> JsonObject:
    keys = [Pubkey(data[at : at + 32]) for at in range(3, 3 + 32 * _MULTISIG_SIGNERS, 32)]
    return {
        "isInitialized": True,
        "numRequiredSigners": data[0],
        "numValidSigners": data[1],
        "signers": [str(key) for key in keys if key != _SYSTEM],
    }


def _nonce(data: bytes) -> JsonObject | None:
    if int.from_bytes(data[4:8], "little") != 1:
        return None
    info: JsonObject = {
        "authority": str(Pubkey(data[8:40])),
        "blockhash": base58.encode(data[40:72]),
        "feeCalculator": {"lamportsPerSignature": str(int.from_bytes(data[72:80], "little"))},
    }
    return {"info": info, "type": "initialized"}


def _loader(data: bytes) -> JsonObject | None:
    kind = int.from_bytes(data[:4], "little")
    if kind == _PROGRAM and len(data) >= 36:
        return {"info": {"programData": str(Pubkey(data[4:36]))}, "type": "program"}
    if kind == _PROGRAMDATA and len(data) >= _PROGRAMDATA_HEADER:
        elf: list[Json] = [base64.b64encode(data[_PROGRAMDATA_HEADER:]).decode(), "base64"]
        authority = str(Pubkey(data[13:45])) if data[12] else None
        slot = int.from_bytes(data[4:12], "little")
        return {"info": {"authority": authority, "data": elf, "slot": slot}, "type": "programData"}
    return None


def _lookup_table(data: bytes) -> JsonObject | None:
    try:
        table = AddressLookupTable.deserialize(data)
    except ValueError:
        return None
    meta = table.meta
    info: JsonObject = {
        "addresses": [str(address) for address in table.addresses],
        "deactivationSlot": str(meta.deactivation_slot),
        "lastExtendedSlot": str(meta.last_extended_slot),
        "lastExtendedSlotStartIndex": meta.last_extended_slot_start_index,
    }
    if meta.authority is not None:
        info["authority"] = str(meta.authority)
    return {"info": info, "type": "lookupTable"}
