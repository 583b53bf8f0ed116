"""What is simulated, and which figures are made of it."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.figure import Figure
from tests.simulate.chain_cost import load
from tests.simulate.model import Scenario, Simulation
from tests.simulate.network import Network

CLAIMED_WITHIN_S = 10.0
WASTED = 0.5
ACCOUNT_UNITS = 12_000_000
BLOCK_UNITS = 60_000_000
NODES = 10_000
JOBS_A_SECOND = 1_000.0
FEW_JOBS = 300
APART_S = 60.0
COLUMNS = ("wasted", "median", "p99", "refused", "Gini", "account", "block", "mean block")


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        load: how many jobs a second for how long; None: one job after the other, all nodes idle.
        processed: claims are simulated against the newest state, else against the confirmed one.
        aim: whether the aims of the design are asked of it.
    """

    idle: int
    spread: int
    aim: bool
    processed: bool = True
    load: tuple[float, float] | None = None
    work_s: float = 8.0

    @property
    def name(self) -> str:
        jobs = f"{self.idle:,} idle nodes, one job" if self.load is None else _rate(self.load[0], self.work_s)
        return f"{jobs}, window {self.spread}{'' if self.processed else ', claims look at confirmed'}"


def by_rule(idle: int) -> int:
    """claim_spread_slots for so many idle nodes: two slots for each doubling, and four."""
    return 0 if idle <= 1 else 2 * math.ceil(math.log2(idle)) + 4


def cases(seconds: float) -> list[Case]:
    """The sweep over idle nodes, then the full load for so many seconds."""
    sweep = [10, 100, 1_000, 10_000]
    full = (JOBS_A_SECOND, seconds)
    return [
        *(Case(idle, 0, aim=False) for idle in sweep),
        *(Case(idle, 24, aim=False) for idle in sweep),
        *(Case(idle, by_rule(idle), aim=True) for idle in sweep),
        *(Case(idle, by_rule(idle), aim=False, processed=False) for idle in sweep),
        Case(NODES, 0, aim=False, load=full),
        Case(NODES, by_rule(NODES), aim=True, load=full),
        Case(NODES, by_rule(NODES), aim=True, load=full, work_s=2.0),
    ]


def scenario(case: Case, seed: int) -> Scenario:
    """Jobs come at random times of their rate; without a load each finds all nodes idle again."""
    chance = random.Random(seed)
    if case.load is None:
        # Fewer where everybody runs for each job: the mean is over thousands of claims all the same.
        jobs = FEW_JOBS if case.spread else max(10, FEW_JOBS // max(1, case.idle // 100))
        posts = [number * APART_S + chance.uniform(0, 1) for number in range(jobs)]
    else:
        posts = _at_random(chance, *case.load)
    network = Network()
    look_s = network.processed_s if case.processed else network.confirmed_s
    work_s = case.work_s if case.load else 1.0
    return Scenario(case.idle, posts, work_s, case.spread, look_s, seed, network)


def figures(case: Case, seed: int) -> list[Figure]:
    """Runs it; names end in one of COLUMNS."""
    claims = Simulation(scenario(case, seed)).run()
    waited = sorted(math.inf if one is None else one for one in claims.waited_s)
    wasted = claims.wasted / len(waited)
    borne = load(claims, fees_in_one_account=case.load is not None)
    made = [
        ("wasted", wasted, "a job", WASTED),
        ("median", statistics.median(waited), "s", None),
        ("p99", _p99(waited), "s", CLAIMED_WITHIN_S),
        ("refused", claims.refused / len(waited), "a job", None),
        ("account", borne.account, "CU", ACCOUNT_UNITS),
    ]
    if case.load is not None:
        made += [
            ("Gini", gini(claims.won), "", None),
            ("block", borne.block, "CU", BLOCK_UNITS),
            ("mean block", borne.mean, "CU", None),
        ]
    return [
        Figure(f"{case.name}: {name}", value, unit, target if case.aim else None) for name, value, unit, target in made
    ]


def gini(shares: Sequence[int]) -> float:
    """0: all have the same; towards 1: one has all."""
    ordered, total, count = sorted(shares), sum(shares), len(shares)
    if total == 0:
        return 0.0
    return sum((2 * place - count - 1) * share for place, share in enumerate(ordered, 1)) / (count * total)


def _p99(ordered: Sequence[float]) -> float:
    return ordered[math.ceil(0.99 * len(ordered)) - 1]


def _at_random(chance: random.Random, rate: float, seconds: float) -> list[float]:
    posts: list[float] = []
    at = chance.expovariate(rate)
    while at < seconds:
        posts.append(at)
        at += chance.expovariate(rate)
    return posts


def _rate(rate: float, work_s: float) -> str:
    return f"{rate:,.0f} jobs/s of {work_s:g} s"
