"""What transactions cost a block, by the validators' cost model, and what a simulation's claims come to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.simulate.model import Claims

README = Path(__file__).parents[2] / "programs" / "README.md"
SIGNATURE = 720
WRITE_LOCK = 300
LOADED_DATA = 16_384
"""64 MiB, what a transaction may load when it doesn't ask for less, at 8 units for each 32 KiB."""
BUDGET_INSTRUCTION = 150


def transaction(instruction: str, *, writable: int) -> int:
    """Compute units of a transaction with one instruction on a native job, as the program's page has it measured."""
    measured = re.search(rf"^\| {instruction} \| ([\d,]+) \|", README.read_text(encoding="utf-8"), re.M)
    assert measured, f"{README} has no compute units of {instruction}"
    executed = int(measured[1].replace(",", ""))
    return SIGNATURE + writable * WRITE_LOCK + LOADED_DATA + BUDGET_INSTRUCTION + executed


CREATE = transaction("create_job", writable=2)
CLAIM = transaction("work_job", writable=3)
FINISH = transaction("finish_job", writable=6)
"""Writable beside the signer: job; node, job; node, job, payout, client, fee receiver."""


@dataclass(frozen=True, slots=True)
class Load:
    """Compute units of the busiest account and the fullest block in any slot, and of the mean block."""

    account: int
    block: int
    mean: float


def load(claims: Claims, *, fees_in_one_account: bool) -> Load:
    """Each job's creation and end are put into the slot of the claim that won: in the long run they are as many.

    Args:
        fees_in_one_account: the fee receiver's account is counted too: all ends of jobs write it.
    """
    hottest = fullest = total = 0
    for slot, landed in claims.landed.items():
        won = claims.won_in.get(slot, 0)
        units = sum(landed.values()) * CLAIM + won * (CREATE + FINISH)
        fees = won * FINISH if fees_in_one_account else 0
        hottest = max(hottest, fees, max(landed.values()) * CLAIM)
        fullest = max(fullest, units)
        total += units
    return Load(hottest, fullest, total / max(1, len(claims.landed)))
