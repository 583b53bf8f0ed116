"""How fast the command line answers, beside the cost of its framework alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.figure import Figure, median_s

RUNS = 15


def _run(*argv: str) -> None:
    subprocess.run(argv, capture_output=True, check=False)


def measure() -> list[Figure]:
    """Medians of whole processes, measured in the same run as their reference."""
    command = str(Path(sys.executable).with_name("hypernode-worker"))
    reference = median_s(lambda: _run(sys.executable, "-c", "import typer"), runs=RUNS)
    shown = median_s(lambda: _run(command, "--help"), runs=RUNS)
    status = median_s(lambda: _run(command, "status"), runs=RUNS)
    return [
        Figure("python -c 'import typer'", reference * 1e3, "ms"),
        Figure("hypernode-worker --help", shown * 1e3, "ms"),
        Figure("hypernode-worker --help / import typer", shown / reference, "x", target=3),
        Figure("hypernode-worker status", status * 1e3, "ms"),
        Figure("hypernode-worker status / import typer", status / reference, "x", target=5),
    ]
