"""Reads the params of a request; what is wrong with them is told as Agave tells it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.localnet.json_types import Json
from hypernode_worker.localnet.rpc.errors import RpcError, invalid_params

_EMPTY: Mapping[str, Json] = MappingProxyType({})
_MAX_KEY_TEXT = 44
_MAX_SIGNATURE_TEXT = 88


class Config:
    """A request's options. Unknown ones are ignored, as Agave does."""

    def __init__(self, values: Mapping[str, Json] = _EMPTY) -> None:
        self._values = values

    def raw(self, name: str) -> Json:
        return self._values.get(name)

    def flag(self, name: str) -> bool:
        value = self._values.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise wrong_type(value, "a boolean")

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None or isinstance(value, str):
            return value
        raise wrong_type(value, "a string")

    def integer(self, name: str) -> int | None:
        """A number of 64 bits without sign."""
        value = self._values.get(name)
        return None if value is None else unsigned(value)

    def items(self, name: str) -> list[Json] | None:
        value = self._values.get(name)
        if value is None or isinstance(value, list):
            return value
        raise wrong_type(value, "a sequence")

    def config(self, name: str) -> Config | None:
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, dict):
            return Config(value)
        raise wrong_type(value, "a map")


class Params:
    """The positional params of one request.

    Raises:
        RpcError: too few or too many of them, here; a wrong type, from each reader.
    """

    def __init__(self, values: list[Json], least: int, most: int) -> None:
        if len(values) < least:
            raise invalid_params(f"`params` should have at least {least} argument(s)")
        if len(values) > most:
            message = f"Invalid parameters: Expected from {least} to {most} parameters."
            if most == 0:
                message = "Invalid parameters: No parameters were expected"
            raise RpcError(-32602, message, f'"Got: {len(values)}"')
        self._values = values

    def raw(self, index: int) -> Json:
        return self._values[index] if index < len(self._values) else None

    def text(self, index: int) -> str:
        value = self.raw(index)
        if isinstance(value, str):
            return value
        raise wrong_type(value, "a string")

    def integer(self, index: int) -> int:
        return unsigned(self.raw(index))

    def items(self, index: int) -> list[Json]:
        value = self.raw(index)
        if isinstance(value, list):
            return value
        raise wrong_type(value, "a sequence")

    def pubkey(self, index: int) -> Pubkey:
        return parse_pubkey(self.text(index))

    def signature(self, index: int) -> str:
        return parse_signature(self.text(index))

    def config(self, index: int) -> Config:
        """The options at this place; none at all where it is missing or null."""
        value = self.raw(index)
        if value is None:
            return Config()
        if isinstance(value, dict):
            return Config(value)
        raise wrong_type(value, "a map")


def parse_pubkey(text: Json, prefix: str = "Invalid param: ") -> Pubkey:
    """An address; raises RpcError for anything else."""
    if not isinstance(text, str):
        raise wrong_type(text, "a string")
    if len(text) > _MAX_KEY_TEXT:
        raise invalid_params(f"{prefix}WrongSize")
    try:
        return Pubkey.from_string(text)
    except ValueError as error:
        raise invalid_params(prefix + _key_fault(error)) from error


def parse_signature(text: Json) -> str:
    """A signature's text, checked."""
    if not isinstance(text, str):
        raise wrong_type(text, "a string")
    if len(text) > _MAX_SIGNATURE_TEXT:
        raise invalid_params("Invalid param: WrongSize")
    try:
        return str(Signature.from_string(text))
    except ValueError as error:
        raise invalid_params("Invalid param: " + _key_fault(error)) from error


def parse_hash(text: str) -> Hash:
    """A blockhash; raises RpcError for anything else."""
    try:
        return Hash.from_string(text[: _MAX_KEY_TEXT + 1])
    except Exception as error:  # ParseHashError has no base that solders names
        raise invalid_params(_key_fault(error)) from error


def unsigned(value: Json) -> int:
    """A number of 64 bits without sign."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return value
    raise wrong_type(value, "u64")


def wrong_type(value: Json, expected: str) -> RpcError:
    """The error for a value of another type."""
    match value:
        case None:
            found = "null"
        case bool():
            found = f"boolean `{str(value).lower()}`"
        case int():
            found = f"integer `{value}`"
        case float():
            found = f"floating point `{value}`"
        case str():
            found = f'string "{value[:80]}"'
        case list():
            found = "sequence"
        case dict():
            found = "map"
    return invalid_params(f"Invalid params: invalid type: {found}, expected {expected}.")


def _key_fault(error: Exception) -> str:
    return "WrongSize" if "size" in str(error).lower() else "Invalid"
