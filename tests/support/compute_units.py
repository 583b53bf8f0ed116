"""What each instruction costs in compute units, measured on the SVM, and what the design allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.dear_calls import DEAR, SEARCHES, TRIES
from tests.support.market_world import World
from tests.support.program_calls import CALLS, Call

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
TRY = 1_500
"""What one try to find an address costs."""
CURRENCIES = ("native", "spl")
# An address is found at the first try in one of two worlds; in twelve it practically always is.
SEARCHING = {"create_market": 12, "register_node": 12, "stake": 12}


@dataclass(frozen=True, slots=True)
class Cost:
    """Compute units of one instruction: `usual`, and `most` on its dearest path; some have no target."""

    instruction: str
    currency: str
    usual: int
    most: int
    target: int | None

    @property
    def without_search(self) -> int:
        """The dearest path if each address were found without a try."""
        return self.most - TRY * TRIES * SEARCHES.get((self.instruction, self.currency), 0)


def measure() -> list[Cost]:
    """Each instruction's usual cost, with addresses found at the first try, and its highest."""
    costs: list[Cost] = []
    for name, call in CALLS.items():
        for currency in CURRENCIES:
            runs = [_units(call, currency) for _ in range(SEARCHING.get(name, 1))]
            dear = _units(DEAR[name], currency) if name in DEAR else 0
            most = max(dear, runs[0]) if name not in SEARCHING else dear
            costs.append(Cost(name, currency, min(runs), most, TARGETS.get((name, currency))))
    return costs


def _units(call: Callable[[World], Call], currency: str) -> int:
    world = World(spl=currency == "spl", staking=True)
    made = call(world)
    return world.svm.send(made.instruction, signers=made.signers, burnt=made.burnt).compute_units


def table(costs: list[Cost]) -> str:
    """Markdown: one row an instruction."""
    by_name: dict[str, dict[str, Cost]] = {}
    for cost in costs:
        by_name.setdefault(cost.instruction, {})[cost.currency] = cost
    rows = ["| instruction | native | most | target | SPL | most | target |", "|---|---:|---:|---:|---:|---:|---:|"]
    for name, pair in by_name.items():
        cells = [
            f"{c.usual:,} | {c.most:,} | {'' if c.target is None else f'{c.target:,}'}"
            for c in (pair[currency] for currency in CURRENCIES)
        ]
        rows.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return "\n".join(rows)
