"""Base58 with Bitcoin's alphabet, for the short byte strings that JSON-RPC carries in it."""

from __future__ import annotations

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
_CHUNK = 58**10


class Base58Error(ValueError):
    """A character that is no base58 digit.

    Attributes:
        character, index: the first such one, and where.
    """

    def __init__(self, character: str, index: int) -> None:
        super().__init__(f"invalid base58 character {character!r} at {index}")
        self.character = character
        self.index = index


def encode(data: bytes) -> str:
    """The text of the bytes. Quadratic in the length: for a few kilobytes at most."""
    number = int.from_bytes(data)
    digits: list[str] = []
    while number:
        number, chunk = divmod(number, _CHUNK)
        for _ in range(10):
            chunk, value = divmod(chunk, 58)
            digits.append(_ALPHABET[value])
    text = "".join(reversed(digits)).lstrip("1")
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def decode(text: str) -> bytes:
    """The bytes of the text; the caller bounds its length.

    Raises:
        Base58Error: a character that is no base58 digit.
    """
    number = 0
    for index, char in enumerate(text):
        value = _VALUES.get(char)
        if value is None:
            raise Base58Error(char, index)
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8)
