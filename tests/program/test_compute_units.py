"""Compute units stay within the targets, and programs/README.md shows what was measured."""

from __future__ import annotations

import pytest

from tests.support import measured_tables
from tests.support.compute_units import CURRENCIES, Cost, measure, table
from tests.support.measured_tables import WRITE

# Another SVM may count a little differently; a rebuilt program's table is written again.
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def costs() -> list[Cost]:
    return measure()


def test_each_instruction_meets_its_target(costs: list[Cost]) -> None:
    over = [cost for cost in costs if cost.target is not None and cost.usual > cost.target]
    assert not over


def test_the_dearest_paths_meet_the_targets_but_for_the_search_of_addresses(costs: list[Cost]) -> None:
    over = [cost for cost in costs if cost.target is not None and cost.without_search > cost.target]
    assert not over
    assert all(cost.most >= cost.usual for cost in costs)


def test_the_readme_shows_what_is_measured(costs: list[Cost]) -> None:
    shown = measured_tables.rows("compute units", table(costs))
    for cost in costs:
        cells = shown[cost.instruction][3 * CURRENCIES.index(cost.currency) :]
        usual, most = (int(cell.replace(",", "")) for cell in cells[:2])
        again = f"set {WRITE}=1 to write the table again: {cost}"
        assert usual == pytest.approx(cost.usual, rel=TOLERANCE), again
        assert most == pytest.approx(cost.most, rel=TOLERANCE), again
        assert cells[2] == (f"{cost.target:,}" if cost.target else ""), again
