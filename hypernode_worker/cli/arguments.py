"""Arguments as people type them: addresses, amounts. Each error says what was wrong with which one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypernode_worker.errors import ConfigError

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from hypernode_worker.config import Loaded

_SHARE = re.compile(r"(?P<number>\d{1,5}(?:\.\d{1,2})?)\s*(?P<unit>%|bps)?")


def read_address(text: str, name: str) -> Pubkey:
    """An address. Raises ConfigError, which names the argument."""
    from solders.pubkey import Pubkey

    try:
        return Pubkey.from_string(text.strip())
    except ValueError:
        raise ConfigError(f"{name} {text[:60]!r} is no address: it is the base58 of 32 bytes.") from None


def read_sol(text: str) -> int:
    """Lamports from a number of SOL: here the unit is clear, so its suffix may be left out."""
    from hypernode_worker.core.amounts import parse_amount

    typed = text.strip()
    try:
        lamports = parse_amount(typed if typed.lower().endswith("sol") else f"{typed}SOL")
    except ValueError as error:
        raise ConfigError(f"{error}.") from None
    if lamports == 0:
        raise ConfigError("The amount is zero; name how much SOL.")
    return lamports


def read_price(text: str | None, *, native: bool, flag: str = "--price") -> int | None:
    """Base units a second, from '250' or '0.001SOL'; SOL is refused where the market pays in another token."""
    from hypernode_worker.core.amounts import is_sol, parse_amount

    if text is None:
        return None
    if is_sol(text) and not native:
        raise ConfigError(f"{flag} {text[:40]} is in SOL, and this market pays in a token: write its base units.")
    try:
        return parse_amount(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}.") from None


def read_base_units(text: str, name: str) -> int:
    """Base units of a token, from '250' or '1_000_000'."""
    from hypernode_worker.core.amounts import is_sol, parse_amount

    if is_sol(text):
        raise ConfigError(f"{name} {text[:40]} is in SOL, and stake is a token: write its base units.")
    try:
        return parse_amount(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}.") from None


def read_share(text: str, flag: str) -> int:
    """Basis points, from a percentage ('75', '12.5%') or '7500bps'; at most the whole."""
    from decimal import Decimal

    match = _SHARE.fullmatch(text.strip())
    number = Decimal(match["number"]) * (1 if match["unit"] == "bps" else 100) if match else Decimal(-1)
    if number % 1 or not 0 <= number <= 10_000:
        raise ConfigError(
            f"{flag} {text[:40]!r} is no share: write a percentage with at most two decimals (75 or 12.5%) or basis "
            "points (7500bps), at most 100 %."
        )
    return int(number)


def market_of(loaded: Loaded) -> Pubkey:
    """The market of --market or MARKET_PUBKEY."""
    return read_address(loaded.require_market(), "market")
