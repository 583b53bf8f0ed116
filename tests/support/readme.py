"""The README's code, cut out so that tests can run it."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def blocks(heading: str, language: str) -> list[str]:
    """The code blocks of a language under a heading, in order.

    Raises:
        AssertionError: there is no such heading.
    """
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, f"the README has no heading {heading!r}"
    return re.findall(rf"^```{language}\n(.*?)^```$", found[1], re.M | re.S)
