"""What each instruction costs in compute units, measured on the SVM, and what the design allows."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.market_world import World
from tests.support.program_calls import CALLS

TARGETS: dict[tuple[str, str], int] = {
    ("work_job", "native"): 2_500,
    ("work_job", "spl"): 2_500,
    ("begin_job", "native"): 1_500,
    ("begin_job", "spl"): 1_500,
    ("checkpoint_job", "native"): 1_500,
    ("checkpoint_job", "spl"): 1_500,
    ("create_job", "native"): 5_500,
    ("create_job", "spl"): 9_000,
    ("finish_job", "native"): 3_500,
    ("finish_job", "spl"): 8_500,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Compute units of one instruction: None where there is no target."""

    instruction: str
    currency: str
    units: int
    target: int | None


def measure(worlds: int = 5) -> list[Cost]:
    """The least of some runs: addresses are found in a number of tries that varies with the keys."""
    costs: list[Cost] = []
    for name, call in CALLS.items():
        for currency in ("native", "spl"):
            units: list[int] = []
            for _ in range(worlds):
                world = World(spl=currency == "spl", staking=True)
                made = call(world)
                units.append(world.svm.send(made.instruction, signers=made.signers).compute_units)
            costs.append(Cost(name, currency, min(units), TARGETS.get((name, currency))))
    return costs


def table(costs: list[Cost]) -> str:
    """Markdown: one row an instruction."""
    by_name: dict[str, dict[str, Cost]] = {}
    for cost in costs:
        by_name.setdefault(cost.instruction, {})[cost.currency] = cost
    rows = ["| instruction | native | target | SPL | target |", "|---|---:|---:|---:|---:|"]
    for name, pair in by_name.items():
        cells = [f"{c.units:,} | {'' if c.target is None else f'{c.target:,}'}" for c in (pair["native"], pair["spl"])]
        rows.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(rows)
