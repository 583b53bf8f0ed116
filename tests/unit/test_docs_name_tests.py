"""Every test that a page in docs/ names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
_NAMED = re.compile(r"`(test_\w+)`")
_DEFINED = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def defined() -> set[str]:
    return {name for path in (REPOSITORY / "tests").rglob("test_*.py") for name in _DEFINED.findall(path.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_test_that_is_named_exists(page: Path) -> None:
    assert set(_NAMED.findall(page.read_text())) <= defined()


def test_the_fault_table_names_tests() -> None:
    rows = [line for line in (REPOSITORY / "docs" / "faults.md").read_text().splitlines() if line.startswith("| ")]
    shown = [row for row in rows if "`test_" in row]
    headings = [row for row in rows if row.startswith("| fault ")]
    assert len(shown) == len(rows) - len(headings) > 20
