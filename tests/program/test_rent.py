"""Rent is a deposit: what an account cost comes back when it is closed, and programs/README.md says how much."""

from __future__ import annotations

import pytest

from tests.support import measured_tables
from tests.support.measured_tables import WRITE
from tests.support.rents import Rent, measure, table

# Of the design, in lamports.
TARGETS = {"job, native": 6_500_000, "job, SPL": 8_500_000}


@pytest.fixture(scope="module")
def rents() -> list[Rent]:
    return measure()


def test_all_rent_comes_back(rents: list[Rent]) -> None:
    assert all(rent.paid == rent.back > 0 for rent in rents)


def test_a_job_costs_no_more_than_its_target(rents: list[Rent]) -> None:
    paid = {rent.what: rent.paid for rent in rents}
    assert all(paid[what] <= target for what, target in TARGETS.items())


def test_the_readme_shows_what_is_measured(rents: list[Rent]) -> None:
    measured = table(rents)
    shown = measured_tables.rows("rent", measured)
    for line in measured.splitlines()[2:]:
        what, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        assert shown[what] == cells, f"set {WRITE}=1 to write the table again"
