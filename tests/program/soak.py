"""`make soak-program`: random histories of the program for as many steps as asked; see tests/support/histories.

Prints what was answered and how fast. On a failure it prints the seed, the step and how to see the same again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.support.histories.chain import ACCEPTED
from tests.support.histories.history import History

HISTORY_STEPS = 5_000
"""Longer histories reach nothing that several don't."""

MOST = 4
Answers = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Played:
    """One history: what was answered, or why and at which step it failed."""

    seed: int
    steps: int
    answers: Answers = field(default_factory=Answers)
    fault: str | None = None


def play(wanted: tuple[int, int]) -> Played:
    """Plays one history by its seed and number of steps."""
    seed, steps = wanted
    at = 0
    try:
        history = History(seed)
        while at < steps:
            history.step()
            at = history.steps
        history.check_all()
        history.leave()
    except Exception as error:  # noqa: BLE001 -- whatever goes wrong, the seed must be told
        return Played(seed, at + 1, fault=f"{type(error).__name__}: {error}")
    return Played(seed, history.steps, history.answers)


def table(answers: Answers) -> str:
    """One row an instruction: how often it was accepted and refused, and the errors that refused it most."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for (name, answer), count in answers.items():
        rows[name][answer] += count
    lines = [f"{'instruction':<17}{'accepted':>9}{'refused':>9}  by"]
    for name in sorted(rows):
        errors = [(e, n) for e, n in rows[name].most_common() if e != ACCEPTED]
        said = ", ".join(f"{error} {count:,}" for error, count in errors[:MOST])
        said += f", {len(errors) - MOST} others" if len(errors) > MOST else ""
        lines.append(f"{name:<17}{rows[name][ACCEPTED]:>9,}{sum(n for _, n in errors):>9,}  {said}")
    return "\n".join(lines)


def soak(steps: int, seed: int, processes: int) -> int:
    """Plays histories of consecutive seeds until so many steps are done. Returns the exit status."""
    count = -(-steps // HISTORY_STEPS)
    wanted = [(seed + n, min(HISTORY_STEPS, steps - n * HISTORY_STEPS)) for n in range(count)]
    answers, done, began = Answers(), 0, time.monotonic()
    with multiprocessing.get_context("spawn").Pool(min(processes, count)) as pool:
        for played in pool.imap_unordered(play, wanted):
            if played.fault:
                print(f"seed {played.seed} failed at step {played.steps}: {played.fault}", file=sys.stderr)
                print(f"The same again: make soak-program SEED={played.seed} STEPS={played.steps}", file=sys.stderr)
                return 1
            answers += played.answers
            done += played.steps
    took = time.monotonic() - began
    print(table(answers))
    print(f"{done:,} steps of {count} histories in {took:.0f} s: {done / took:,.0f} steps/s, {processes} processes")
    print(f"seeds {seed} to {seed + count - 1}: no invariant was broken, and all money came out")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.program.soak", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, help="of the first history (default: any)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    return soak(max(1, chosen.steps), seed, max(1, chosen.processes))


if __name__ == "__main__":
    sys.exit(main())
