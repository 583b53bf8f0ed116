"""`python -m tests.soak`: prints a table, writes build/soak.json. Fails where a job or a lamport was lost."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from tests.bench.figure import Figure, table, write
from tests.bench.world import open_world
from tests.soak.kills import Toll, kill_again_and_again
from tests.soak.load import Growth, run_many


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runtime", choices=("process", "docker"), default="process")
    parser.add_argument("--out", type=Path, default=Path("build/soak.json"))
    arguments = parser.parse_args()
    print(f"{arguments.kills} kills with seed {arguments.seed} ...", file=sys.stderr, flush=True)
    with open_world() as world:
        toll = asyncio.run(
            kill_again_and_again(world, kills=arguments.kills, seed=arguments.seed, runtime=arguments.runtime)
        )
    figures = figures_of(toll)
    print(f"{arguments.runs} runs by one worker ...", file=sys.stderr, flush=True)
    with open_world() as world:
        figures += figures_of_growth(asyncio.run(run_many(world, arguments.runs)))
    print(table(figures))
    write(figures, arguments.out)
    return int(any(figure.met is False for figure in figures))


def figures_of(toll: Toll) -> list[Figure]:
    return [
        *(Figure(f"kills {when}", count, "kills") for when, count in sorted(toll.kills.items())),
        Figure("requests that the endpoint failed", toll.faults, "requests"),
        Figure("jobs posted", toll.posted, "jobs"),
        Figure("settled", toll.settled, "jobs"),
        Figure("refunded", toll.refunded, "jobs"),
        Figure("given back to the queue", toll.released, "runs"),
        Figure("taken up again after a kill", toll.attached, "runs"),
        Figure("lost", toll.lost, "jobs", target=0),
        Figure("with a wrong result", toll.wrong, "jobs", target=0),
        Figure("paid twice", toll.overpaid, "lamports", target=0),
        Figure("folders, processes and containers left", toll.left_over, "", target=0),
        Figure("time", toll.seconds, "s"),
    ]


def figures_of_growth(growth: Growth) -> list[Figure]:
    grown = (growth.rss_end - growth.rss_warm) / 2**20
    return [
        Figure("runs by one worker, mock runtime", growth.runs, "runs"),
        Figure("runs a second", growth.rate, "runs/s"),
        Figure("memory of the worker when warm", growth.rss_warm / 2**20, "MiB"),
        Figure("memory of the worker at the end", growth.rss_end / 2**20, "MiB"),
        Figure("growth of its memory", grown, "MiB", target=5.0),
        Figure("growth of its open files", growth.files_end - growth.files_warm, "files", target=5),
    ]


if __name__ == "__main__":
    sys.exit(main())
