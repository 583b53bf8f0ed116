"""Compute units of each instruction, beside the design's targets."""

from __future__ import annotations

from tests.bench.figure import Figure
from tests.support.compute_units import measure as measure_costs


def measure() -> list[Figure]:
    """Measured on the real SVM with the program that ships."""
    return [Figure(f"{cost.instruction} ({cost.currency})", cost.usual, "CU", cost.target) for cost in measure_costs()]
