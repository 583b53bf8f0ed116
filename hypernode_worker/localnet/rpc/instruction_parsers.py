"""Instructions of well-known programs in words, for `jsonParsed`. Others stay as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from solders.pubkey import Pubkey

from hypernode_worker.localnet.json_types import JsonObject
from hypernode_worker.localnet.token import SPL_TOKEN, ui_amount

_SYSTEM = Pubkey.default()
_MEMO_1 = Pubkey.from_string("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
_MEMO_2 = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
_ASSOCIATED = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")


def parse_instruction(program: Pubkey, accounts: list[str], data: bytes) -> JsonObject | None:
    """`program` and `parsed` as Agave gives them; None where there is no parser for this instruction."""
    if program in (_MEMO_1, _MEMO_2):
        try:
            return {"program": "spl-memo", "parsed": data.decode()}
        except UnicodeDecodeError:
            return None
    known = _PARSERS.get(program)
    if known is None:
        return None
    name, parse = known
    try:
        parsed = parse(accounts, data)
    except (IndexError, ValueError):
        # Too few accounts or bytes: such an instruction failed on the chain.
        return None
    return None if parsed is None else {"program": name, "parsed": parsed}


def _system(accounts: list[str], data: bytes) -> JsonObject | None:
    match int.from_bytes(data[:4], "little"):
        case 0 if len(data) == 52:
            return _typed(
                "createAccount",
                {
                    "lamports": _u64(data, 4),
                    "newAccount": accounts[1],
                    "owner": str(Pubkey(data[20:52])),
                    "source": accounts[0],
                    "space": _u64(data, 12),
                },
            )
        case 1 if len(data) == 36:
            return _typed("assign", {"account": accounts[0], "owner": str(Pubkey(data[4:36]))})
        case 2 if len(data) == 12:
            info: JsonObject = {
                "destination": accounts[1],
                "lamports": _u64(data, 4),
                "source": accounts[0],
            }
            return _typed("transfer", info)
        case 8 if len(data) == 12:
            return _typed("allocate", {"account": accounts[0], "space": _u64(data, 4)})
        case _:
            return None


def _token(accounts: list[str], data: bytes) -> JsonObject | None:
    kind = data[0]
    # With more than one signer Agave names a multisig; that form is left as bytes here.
    match kind, len(data), len(accounts):
        case 3, 9, 3:
            info: JsonObject = {
                "amount": str(_u64(data, 1)),
                "authority": accounts[2],
                "destination": accounts[1],
                "source": accounts[0],
            }
            return _typed("transfer", info)
        case 7, 9, 3:
            info = {
                "account": accounts[1],
                "amount": str(_u64(data, 1)),
                "mint": accounts[0],
                "mintAuthority": accounts[2],
            }
            return _typed("mintTo", info)
        case 8, 9, 3:
            info = {
                "account": accounts[0],
                "amount": str(_u64(data, 1)),
                "authority": accounts[2],
                "mint": accounts[1],
            }
            return _typed("burn", info)
        case 9, 1, 3:
            info = {"account": accounts[0], "destination": accounts[1], "owner": accounts[2]}
            return _typed("closeAccount", info)
        case 12, 10, 4:
            info = {
                "authority": accounts[3],
                "destination": accounts[2],
                "mint": accounts[1],
                "source": accounts[0],
                "tokenAmount": ui_amount(_u64(data, 1), data[9]),
            }
            return _typed("transferChecked", info)
        case 20, size, 1 if size in (35, 67):
            info = {"decimals": data[1], "mint": accounts[0], "mintAuthority": str(Pubkey(data[2:34]))}
            if data[34]:
                info["freezeAuthority"] = str(Pubkey(data[35:67]))
            return _typed("initializeMint2", info)
        case 18, 33, 2:
            info = {"account": accounts[0], "mint": accounts[1], "owner": str(Pubkey(data[1:33]))}
            return _typed("initializeAccount3", info)
        case _:
            return None


def _associated(accounts: list[str], data: bytes) -> JsonObject | None:
    kinds = {b"": "create", b"\0": "create", b"\1": "createIdempotent"}
    if data not in kinds:
        return None
    names = ("source", "account", "wallet", "mint", "systemProgram", "tokenProgram")
    return _typed(kinds[data], {name: accounts[index] for index, name in enumerate(names)})


def _typed(kind: str, info: JsonObject) -> JsonObject:
    return {"info": info, "type": kind}


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


_Parser = Callable[[list[str], bytes], JsonObject | None]
_PARSERS: Mapping[Pubkey, tuple[str, _Parser]] = {
    _SYSTEM: ("system", _system),
    SPL_TOKEN: ("spl-token", _token),
    _ASSOCIATED: ("spl-associated-token-account", _associated),
}
