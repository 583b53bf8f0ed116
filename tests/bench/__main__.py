"""Runs the benchmarks: `python -m tests.bench [NAME ...]`; prints a table, writes build/bench.json."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from tests.bench.figure import Figure, table, write

BENCHMARKS = ("startup", "compute", "journal", "settle", "throughput", "idle", "recovery")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", default=BENCHMARKS, metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    figures: list[Figure] = []
    for name in arguments.names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        figures += importlib.import_module(f"tests.bench.{name}").measure()
    print(table(figures))
    write(figures, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
