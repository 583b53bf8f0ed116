"""Simulates the claim window at scale: `python -m tests.simulate`; prints a table, writes build/simulate.json."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.bench.figure import table, write
from tests.simulate.network import SLOT_S, Network
from tests.simulate.scenarios import NODES, cases, figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same table")
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated time under full load")
    parser.add_argument("--out", type=Path, default=Path("build/simulate.json"))
    arguments = parser.parse_args()
    print(_assumed(arguments.seed, arguments.seconds))
    with ProcessPoolExecutor() as pool:
        # The long ones first, so that no process waits for the last of them.
        longest_first = sorted(cases(arguments.seconds), key=lambda case: case.load is None)
        measured = dict(zip(longest_first, pool.map(partial(figures, seed=arguments.seed), longest_first), strict=True))
    found = [figure for case in cases(arguments.seconds) for figure in measured[case]]
    print(table(found))
    write(found, arguments.out)
    return 0


def _assumed(seed: int, seconds: float) -> str:
    net = Network()
    return (
        f"Slots of {SLOT_S * 1e3:.0f} ms; a request takes {net.fastest_s * 1e3:.0f}-{net.slowest_s * 1e3:.0f} ms there and "
        f"back, {net.lost:.0%} of messages are lost;\nan execution shows after {net.processed_s:g} s as processed, after "
        f"{net.confirmed_s:g} s as confirmed; nodes have one place each,\nare all able and willing, hear of jobs when "
        f"they are confirmed, and keep to the window. Full load: {NODES:,} nodes,\n{seconds:g} s simulated, all nodes idle "
        f"at its start, runs of exponential length. Seed {seed}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
