"""One measured figure, and what a list of them looks like on a terminal and on disk."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """`target` is the most that is allowed, in `unit`; None where a figure is only reported."""

    name: str
    value: float
    unit: str
    target: float | None = None
    floor: bool = False

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.floor else self.value <= self.target

    def as_json(self) -> dict[str, object]:
        fields = asdict(self)
        del fields["floor"]
        return {**fields, "met": self.met}


def median_s(call: Callable[[], object], *, runs: int, warmup: int = 1) -> float:
    """Median wall time of a call, in seconds."""
    for _ in range(warmup):
        call()
    seen: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        seen.append(time.perf_counter() - start)
    return statistics.median(seen)


def table(figures: Sequence[Figure]) -> str:
    """Aligned text; a missed target is marked."""
    rows = [("figure", "value", "unit", "target", "")]
    for figure in figures:
        mark = {None: "", True: "met", False: "MISSED"}[figure.met]
        bound = "" if figure.target is None else f"{'>=' if figure.floor else '<='} {figure.target:g}"
        rows.append((figure.name, f"{figure.value:,.4g}", figure.unit, bound, mark))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    )


def write(figures: Sequence[Figure], path: Path) -> None:
    """Writes the list that later runs can be compared with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([figure.as_json() for figure in figures], indent=2) + "\n")
