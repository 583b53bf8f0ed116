"""Simulates the claim window at scale: `python -m tests.simulate`; prints a table, writes build/simulate.json."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.bench.figure import Figure, write
from tests.simulate.network import SLOT_S, Network
from tests.simulate.scenarios import COLUMNS, NODES, Case, cases, figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same table")
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated time under full load")
    parser.add_argument("--out", type=Path, default=Path("build/simulate.json"))
    arguments = parser.parse_args()
    all_cases = cases(arguments.seconds)
    print(_assumed(arguments.seed, arguments.seconds))
    with ProcessPoolExecutor() as pool:
        # The long ones first, so that no process waits for the last of them.
        order = sorted(all_cases, key=lambda case: case.load is None)
        measured = dict(zip(order, pool.map(partial(figures, seed=arguments.seed), order), strict=True))
    print(_table(all_cases, measured))
    write([figure for case in all_cases for figure in measured[case]], arguments.out)
    return 0


def _table(rows: Sequence[Case], measured: Mapping[Case, Sequence[Figure]]) -> str:
    """One line a case; where an aim is missed, its figure is marked."""
    lines = [f"{'':<62}" + "".join(f"{column:>13}" for column in COLUMNS)]
    for case in rows:
        found = {figure.name.removeprefix(f"{case.name}: "): figure for figure in measured[case]}
        cells = [_cell(found.get(column)) for column in COLUMNS]
        lines.append(f"{case.name:<62}" + "".join(f"{cell:>13}" for cell in cells))
    return "\n".join(lines)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    value = f"{figure.value / 1e6:,.2f} M" if figure.unit == "CU" else f"{figure.value:,.2f}"
    return value + {None: "", True: " ok", False: " !!"}[figure.met]


def _assumed(seed: int, seconds: float) -> str:
    net = Network()
    sentences = (
        f"Slots of {SLOT_S * 1e3:.0f} ms.",
        f"A request takes {net.fastest_s * 1e3:.0f}-{net.slowest_s * 1e3:.0f} ms there and back;",
        f"{net.lost:.0%} of messages are lost.",
        f"What was executed shows after {net.processed_s:g} s as processed, after {net.confirmed_s:g} s as confirmed.",
        "Nodes have one place each, can and want to do every job, hear of it when it is confirmed, and keep to the",
        "window. One job: all nodes are idle each time.",
        f"Full load: {NODES:,} nodes, {seconds:g} s simulated, all idle at the start, runs of exponential length.",
        "Times from post to claim in seconds. Claims a job: wasted ones cost a fee, refused ones only a simulation.",
        "Account, block: compute units in the busiest slot (limits: 12 M, 60 M).",
        f"ok, !!: the aim is met, missed. Seed {seed}.",
    )
    return textwrap.fill(" ".join(sentences), width=110) + "\n"


if __name__ == "__main__":
    sys.exit(main())
