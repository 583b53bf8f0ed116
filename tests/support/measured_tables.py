"""Tables in programs/README.md that hold what the tests have measured."""

from __future__ import annotations

import os
import re
from pathlib import Path

README = Path(__file__).parents[2] / "programs" / "README.md"
WRITE = "HYPERNODE_TEST_WRITE_TABLES"


def rows(marker: str, measured: str) -> dict[str, list[str]]:
    """The cells that stand between `<!-- marker: begin -->` and its end, by the first cell of each row.

    Writes the measured table first where WRITE is set in the environment.
    """
    begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
    before, rest = README.read_text(encoding="utf-8").split(begin)
    shown, after = rest.split(end)
    if os.environ.get(WRITE):
        README.write_text(f"{before}{begin}\n{measured}\n{end}{after}", encoding="utf-8")
        shown = measured
    lines = re.findall(r"^\| (.+) \|$", shown, re.MULTILINE)
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in (line.split("|") for line in lines)}
