"""An account as JSON-RPC shows it: encodings and data slices."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from solders.pubkey import Pubkey

from hypernode_worker.localnet import base58, zstd_frame
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.json_types import Json, JsonObject
from hypernode_worker.localnet.rpc.errors import INVALID_REQUEST, RpcError, invalid_params
from hypernode_worker.localnet.rpc.params import Config
from hypernode_worker.localnet.rpc.parsed import parse_account

_ENCODINGS = ("binary", "base58", "base64", "jsonParsed", "base64+zstd")
_MAX_BASE58_BYTES = 128
_NO_RENT_EPOCH = 2**64 - 1
_SYSTEM_OWNERS = frozenset(
    Pubkey.from_string(text)
    for text in (
        "NativeLoader1111111111111111111111111111111",
        "Sysvar1111111111111111111111111111111111111",
    )
)

Read = Callable[[Pubkey], ChainAccount | None]


@dataclass(frozen=True, slots=True)
class AccountView:
    """How a client wants to see accounts: encoding and slice (offset, length) of the data."""

    encoding: str
    data_slice: tuple[int, int] | None

    @classmethod
    def of(cls, config: Config, default: str = "binary") -> AccountView:
        """Reads `encoding` and `dataSlice`; raises RpcError for an unknown encoding."""
        encoding = config.text("encoding") or default
        if encoding not in _ENCODINGS:
            known = ", ".join(f"`{name}`" for name in _ENCODINGS)
            raise invalid_params(f"Invalid params: unknown variant `{encoding[:40]}`, expected one of {known}.")
        part = config.config("dataSlice")
        if part is None:
            return cls(encoding, None)
        offset, length = part.integer("offset"), part.integer("length")
        if offset is None or length is None:
            missing = "offset" if offset is None else "length"
            raise invalid_params(f"Invalid params: missing field `{missing}`.")
        return cls(encoding, (offset, length))

    def to_json(self, address: Pubkey, account: ChainAccount, read: Read) -> JsonObject:
        """The account as JSON. `read` serves the parser, which looks up mints.

        Raises:
            RpcError: more data than base58 may carry.
        """
        return {
            "data": self._data(address, account, read),
            "executable": account.executable,
            "lamports": account.lamports,
            "owner": str(account.owner),
            "rentEpoch": 0 if account.owner in _SYSTEM_OWNERS else _NO_RENT_EPOCH,
            "space": len(account.data),
        }

    def _data(self, address: Pubkey, account: ChainAccount, read: Read) -> Json:
        if self.encoding == "jsonParsed":
            parsed = parse_account(account, read)
            if parsed is not None:
                return parsed
        data = account.data
        if self.data_slice is not None:
            offset, length = self.data_slice
            data = data[offset : offset + length]
        match self.encoding:
            case "binary":
                return _short_base58(data)
            case "base58":
                return [_short_base58(data), "base58"]
            case "base64+zstd":
                return [base64.b64encode(zstd_frame.frame(data)).decode(), "base64+zstd"]
            case _:
                return [base64.b64encode(data).decode(), "base64"]


def _short_base58(data: bytes) -> str:
    if len(data) > _MAX_BASE58_BYTES:
        limit = f"Encoded binary (base 58) data should be less than {_MAX_BASE58_BYTES} bytes"
        raise RpcError(INVALID_REQUEST, f"{limit}, please use Base64 encoding.")
    return base58.encode(data)
