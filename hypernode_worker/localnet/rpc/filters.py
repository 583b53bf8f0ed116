"""Filters of getProgramAccounts and programSubscribe."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

from hypernode_worker.localnet import base58
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.json_types import Json
from hypernode_worker.localnet.rpc.errors import invalid_params
from hypernode_worker.localnet.rpc.params import Config, unsigned, wrong_type
from hypernode_worker.localnet.token import read_holding

MAX_FILTERS = 4
_MAX_BYTES = 128
_MAX_BASE58_TEXT = 175
_MAX_BASE64_TEXT = 172


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """All conditions on an account's data; no condition matches every account.

    Attributes:
        size: the data's exact length.
        pieces: (offset, bytes) that the data must hold.
        token_state: it must be an initialised token account.
    """

    size: int | None = None
    pieces: tuple[tuple[int, bytes], ...] = ()
    token_state: bool = False
    impossible: bool = False

    def matches(self, account: ChainAccount) -> bool:
        data = account.data
        if self.impossible or (self.size is not None and len(data) != self.size):
            return False
        for offset, piece in self.pieces:
            if data[offset : offset + len(piece)] != piece or offset > len(data):
                return False
        return not self.token_state or read_holding(account) is not None

    @classmethod
    def of(cls, config: Config) -> AccountFilter:
        """Reads `filters`.

        Raises:
            RpcError: too many, unknown, or bytes that can't be decoded or are too long.
        """
        items = config.items("filters") or []
        if len(items) > MAX_FILTERS:
            raise invalid_params(f"Too many filters provided; max {MAX_FILTERS}")
        sizes: set[int] = set()
        pieces: list[tuple[int, bytes]] = []
        token_state = False
        for item in items:
            match item:
                case {"dataSize": size}:
                    sizes.add(unsigned(size))
                case {"memcmp": dict(memcmp)}:
                    pieces.append(_piece(Config(memcmp)))
                case "tokenAccountState":
                    token_state = True
                case _:
                    raise _unknown(item)
        size = next(iter(sizes)) if sizes else None
        return cls(size, tuple(pieces), token_state, len(sizes) > 1)


def _unknown(item: Json) -> Exception:
    known = "expected one of `dataSize`, `memcmp`, `tokenAccountState`."
    if isinstance(item, str) or (isinstance(item, dict) and len(item) == 1):
        name = item if isinstance(item, str) else next(iter(item))
        return invalid_params(f"Invalid params: unknown variant `{name[:40]}`, {known}")
    return invalid_params("Invalid params: invalid value: a filter is an object with a single key.")


def _piece(config: Config) -> tuple[int, bytes]:
    offset = config.integer("offset")
    if offset is None:
        raise invalid_params("Invalid params: missing field `offset`.")
    raw = config.raw("bytes")
    encoding = config.text("encoding") or "base58"
    if isinstance(raw, list):
        data = bytes(_byte(value) for value in raw[: _MAX_BYTES + 1])
    elif not isinstance(raw, str):
        raise wrong_type(raw, "a string or a sequence of bytes")
    else:
        decoder = _DECODERS.get(encoding)
        if decoder is None:
            raise invalid_params(
                f"Invalid params: unknown variant `{encoding[:40]}`, expected one of `base58`, `base64`."
            )
        data = decoder(raw)
    if len(data) > _MAX_BYTES:
        raise invalid_params("Invalid param: DataTooLarge")
    return offset, data


def _byte(value: Json) -> int:
    number = unsigned(value)
    if number > 255:
        raise wrong_type(value, "u8")
    return number


def _from_base58(text: str) -> bytes:
    if len(text) > _MAX_BASE58_TEXT:
        raise invalid_params("Invalid param: DataTooLarge")
    try:
        return base58.decode(text)
    except base58.Base58Error as error:
        fault = f"InvalidCharacter {{ character: {error.character!r}, index: {error.index} }}"
        raise invalid_params(f"Invalid param: Base58DecodeError({fault})") from error


def _from_base64(text: str) -> bytes:
    if len(text) > _MAX_BASE64_TEXT:
        raise invalid_params("Invalid param: DataTooLarge")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_params(f"Invalid param: Base64DecodeError({error})") from error


_DECODERS: dict[str, Callable[[str], bytes]] = {"base58": _from_base58, "base64": _from_base64}
