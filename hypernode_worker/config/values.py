"""How a setting's text becomes a value: sizes, prices, addresses, paths. Each raises ValueError with the rule."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainSerializer

from hypernode_worker.config.places import absolute
from hypernode_worker.core.amounts import parse_amount
from hypernode_worker.core.image_reference import parse_image_reference

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_BASE58 = frozenset("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")


def parse_size(value: object) -> object:
    """Bytes from 1048576, '512MiB', '4GB', '1.5g' (k, M, G, T; with i: powers of 1024, as with a bare letter)."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("write a number of bytes, or one with a suffix such as 512MiB or 4GiB")
    number, letter, binary = match.groups()
    decimal = not binary and value.strip().lower().endswith("b") and letter
    return int(float(number) * (1000 if decimal else 1024) ** " kmgt".index(letter.lower() or " "))


def parse_price(value: object) -> object:
    if not isinstance(value, str):
        return value
    return parse_amount(value)


def expand_path(value: object) -> object:
    return absolute(value) if isinstance(value, str | Path) else value


def check_address(value: object) -> object:
    """Base58 of 32 bytes, kept as text: the key types of Solana cost a third of what `status` may take."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    number = 0
    if not 32 <= len(text) <= 44 or not set(text) <= _BASE58:
        raise ValueError("an address is 32 to 44 letters and digits (base58)")
    for char in text:
        number = number * 58 + "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".index(char)
    zeros = len(text) - len(text.lstrip("1"))
    if zeros + (number.bit_length() + 7) // 8 != 32:
        raise ValueError("an address is the base58 of 32 bytes, and this is another length")
    return text


def check_url(value: object) -> object:
    return _url(value, ("http", "https"))


def check_ws_url(value: object) -> object:
    return _url(value, ("ws", "wss"))


def split_urls(value: object) -> object:
    """Several URLs between commas; 'none' for none."""
    if isinstance(value, str):
        value = () if value.strip().lower() == "none" else [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        return tuple(check_url(part) for part in cast("list[object]", value))
    return value


def split_names(value: object) -> object:
    """Several words between commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def check_image(value: object) -> object:
    if isinstance(value, str) and parse_image_reference(value) is None:
        raise ValueError(f"{value[:120]!r} is no image's name: write it as [registry/]name[:tag][@sha256:digest]")
    return value


def split_rpc_urls(value: object) -> object:
    urls = split_urls(value)
    if urls == ():
        raise ValueError("name at least one endpoint")
    return urls


def _url(value: object, schemes: tuple[str, ...]) -> object:
    if not isinstance(value, str):
        return value
    text = value.strip()
    parts = urlsplit(text)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"a URL here begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    _ = parts.port  # raises ValueError when it is no port
    return text.rstrip("/")


Size = Annotated[int, BeforeValidator(parse_size)]
Price = Annotated[int, BeforeValidator(parse_price)]
FilePath = Annotated[Path, BeforeValidator(expand_path), PlainSerializer(str)]
Address = Annotated[str, BeforeValidator(check_address)]
Url = Annotated[str, BeforeValidator(check_url)]
WsUrl = Annotated[str, BeforeValidator(check_ws_url)]
Urls = Annotated[tuple[str, ...], BeforeValidator(split_urls)]
RpcUrls = Annotated[tuple[str, ...], BeforeValidator(split_rpc_urls)]
Image = Annotated[str, BeforeValidator(check_image)]
Images = Annotated[tuple[Image, ...], BeforeValidator(split_names)]
Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
