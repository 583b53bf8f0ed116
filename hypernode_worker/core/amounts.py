"""Amounts as people type and read them: base units of a mint, or SOL with its suffix."""

from __future__ import annotations

import re

from hypernode_worker.core.types import LAMPORTS_PER_SOL

U64_MAX = 2**64 - 1
_AMOUNT = re.compile(r"(?P<number>\d[\d_]*(?:\.\d+)?|\.\d+)\s*(?P<unit>sol|lamports?)?", re.IGNORECASE)


def parse_amount(text: str) -> int:
    """Base units from '250', '1_000_000', '5000lamports' or '0.001SOL' (SOL only where the mint is native).

    Raises:
        ValueError: not such a number, a fraction of a base unit, or more than a u64 holds.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text[:40]!r} is not an amount: write whole base units (250) or SOL with its suffix (0.001SOL)"
        )
    from decimal import Decimal

    value = Decimal(match["number"].replace("_", ""))
    if (match["unit"] or "").lower() == "sol":
        value *= LAMPORTS_PER_SOL
    if value != int(value):
        hint = " (SOL needs its suffix: 0.5SOL)" if not match["unit"] else ""
        raise ValueError(f"{text[:40]!r} is not a whole number of base units{hint}")
    if value > U64_MAX:
        raise ValueError(f"{text[:40]!r} is more than an account can hold")
    return int(value)


def is_sol(text: str) -> bool:
    """Whether an amount was typed in SOL, so that it may be refused where another token pays."""
    return text.strip().lower().endswith(("sol", "lamport", "lamports"))


def sol(lamports: int, places: int = 9) -> str:
    """'1.5' SOL: at most `places` decimals, at least one digit after the point, never rounded up to another sum."""
    whole, rest = divmod(abs(lamports), LAMPORTS_PER_SOL)
    decimals = f"{rest:09d}"[:places].rstrip("0") or "0"
    return f"{'-' if lamports < 0 else ''}{whole}.{decimals}"


def show_amount(amount: int, *, native: bool) -> str:
    """'2500 base units (0.0000025 SOL)' or '2500 base units'."""
    return f"{amount:,} lamports ({sol(amount)} SOL)" if native else f"{amount:,} base units"
