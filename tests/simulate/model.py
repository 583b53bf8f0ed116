"""One market, its jobs and its nodes, event by event: what workers do from a job's posting to the claim that wins.

A node here does what hypernode_worker.node does, with one place: it hears of a queued job by push (or, when that was
lost, by the read each minute) and reads its account; when the job's window opens by its own clock, which is as late as
the commitment that it reads, it simulates the claim. A claim that the simulation refuses costs nothing. Else it is
sent, and is wasted when another one was executed before. Then it takes the open job for which it is earliest next.

Assumed: every node is able and wants every job; image and files are there; content is fetched in the time of the read;
no node is greedy, for the program holds the window; a job's account is written at once, not queued by the scheduler.
Its board isn't simulated: the jobs that matter are taken to be on it, as it puts those first for which a node is early.
Without a window a node that hears of a job tries for any that it knows of, each in an order of its own.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count

from tests.simulate.bag import Bag
from tests.simulate.lots import openings
from tests.simulate.network import SLOT_S, Network

DRAWS = 16
"""So many jobs are drawn at random before all are gone through: nearly always one of them will do."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated.

    Attributes:
        nodes: registered nodes, one place each.
        posts: when each job's creation is executed, in seconds, rising.
        work_s: mean length of a run, from claim to free again; exponential.
        spread: claim_spread_slots.
        look_s: how old the state is against which a claim is simulated.
        seed: of everything that is drawn.
    """

    nodes: int
    posts: Sequence[float]
    work_s: float
    spread: int
    look_s: float
    seed: int = 1
    network: Network = field(default_factory=Network)


@dataclass(slots=True)
class Claims:
    """What came of a scenario.

    Attributes:
        waited_s: of each job from post to claim, None while nobody had it.
        won: jobs of each node.
        wasted, refused: claims that failed on chain, and that the simulation refused.
        landed: claims executed in each slot, by job: what the chain has to bear.
        won_in: jobs that got their node in each slot.
    """

    waited_s: list[float | None]
    won: list[int]
    wasted: int = 0
    refused: int = 0
    landed: dict[int, dict[int, int]] = field(default_factory=dict[int, dict[int, int]])
    won_in: Counter[int] = field(default_factory=Counter[int])


@dataclass(slots=True)
class _Node:
    """`open`: jobs whose window has opened while it was busy, by wait and number; `tried`: without a window."""

    clock_late_s: float
    tried: set[int] = field(default_factory=set[int])
    open: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


class Simulation:
    """Runs one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._network = scenario.network
        self._chance = random.Random(scenario.seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = count()
        self._now = 0.0
        self._claimed_at: list[float | None] = [None] * len(scenario.posts)
        behind = self._network.confirmed_s
        self._nodes = [_Node(behind + self._network.one_way(self._chance)) for _ in range(scenario.nodes)]
        self._idle = Bag(range(scenario.nodes))
        self._shown = Bag[int]()
        self.claims = Claims([None] * len(scenario.posts), [0] * scenario.nodes)

    def run(self) -> Claims:
        """Until nobody tries for anything any more."""
        post = self._show if self._scenario.spread == 0 else self._draw
        delay = self._network.confirmed_s if self._scenario.spread == 0 else 0.0
        for job, at in enumerate(self._scenario.posts):
            self._at(at + delay, post, job)
        while self._events:
            self._now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)
        return self.claims

    def _at(self, time: float, act: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (time, next(self._order), act, arguments))

    def _gone(self, job: int, after_s: float) -> bool:
        """Whether an endpoint shows now that somebody has the job; `after_s`: how old is what it shows."""
        claimed_at = self._claimed_at[job]
        return claimed_at is not None and self._now >= claimed_at + after_s

    # --- a window: each node has its own time for each job ---

    def _draw(self, job: int) -> None:
        lots = openings(self._scenario.nodes, self._scenario.spread, self._chance)
        self._open(job, lots, next(lots, None))

    def _open(self, job: int, rest: Iterator[tuple[int, int]], first: tuple[int, int] | None) -> None:
        """Tells the nodes whose windows open within two slots; the later ones only if the job is there then."""
        if first is None or self._gone(job, self._scenario.look_s):
            return
        posted = self._scenario.posts[job]
        queued_slot = int(posted / SLOT_S)
        following: tuple[int, int] | None = first
        while following is not None and following[0] < first[0] + 2:
            wait, number = following
            known = posted + self._network.heard_after(self._chance) + self._network.round_trip(self._chance)
            opens = (queued_slot + wait) * SLOT_S + self._nodes[number].clock_late_s
            self._at(max(self._now, known, opens), self._offer, number, job, wait)
            following = next(rest, None)
        if following is not None:
            # No clock is less late than this, so nobody of the next ones could have looked before.
            next_at = (queued_slot + following[0]) * SLOT_S + self._network.confirmed_s
            self._at(max(self._now, next_at), self._open, job, rest, following)

    def _offer(self, number: int, job: int, wait: int) -> None:
        if number in self._idle:
            self._try(number, job)
        else:
            heapq.heappush(self._nodes[number].open, (wait, job))

    # --- no window: whoever is idle takes any job that it sees ---

    def _show(self, job: int) -> None:
        """All idle nodes hear of it; what else they have heard of just now is as good to them."""
        self._shown.add(job)
        for number in list(self._idle):
            heard = self._network.one_way(self._chance) + self._network.round_trip(self._chance)
            self._idle.discard(number)
            self._at(self._now + heard, self._pick, number)

    def _pick(self, number: int) -> None:
        """Any job that it has not tried before and that isn't seen to be gone."""
        tried = self._nodes[number].tried
        at_random = (self._shown.any(self._chance) for _ in range(DRAWS) if self._shown)
        for job in chain(at_random, list(self._shown)):
            if self._gone(job, self._network.confirmed_s):
                self._shown.discard(job)
            elif job not in tried:
                tried.add(job)
                self._try(number, job)
                return
        self._idle.add(number)

    # --- one claim ---

    def _try(self, number: int, job: int) -> None:
        self._idle.discard(number)
        round_trip = self._network.round_trip(self._chance)
        self._at(self._now + round_trip / 2, self._look, number, job, round_trip / 2)

    def _look(self, number: int, job: int, back: float) -> None:
        if self._gone(job, self._scenario.look_s):
            self.claims.refused += 1
            self._at(self._now + back, self._free, number)
        else:
            self._at(self._now + back + self._network.one_way(self._chance), self._land, number, job)

    def _land(self, number: int, job: int) -> None:
        slot = int(self._now / SLOT_S)
        landed = self.claims.landed.setdefault(slot, {})
        landed[job] = landed.get(job, 0) + 1
        if self._claimed_at[job] is None:
            self._claimed_at[job] = self._now
            self.claims.waited_s[job] = self._now - self._scenario.posts[job]
            self.claims.won[number] += 1
            self.claims.won_in[slot] += 1
            self._at(self._now + self._chance.expovariate(1 / self._scenario.work_s), self._free, number)
        else:
            self.claims.wasted += 1
            self._at(self._now + self._network.confirmed_s + self._network.one_way(self._chance), self._free, number)

    def _free(self, number: int) -> None:
        """Has a place again: the open job for which it was earliest is next."""
        opened = self._nodes[number].open
        if opened:
            self._try(number, heapq.heappop(opened)[1])
        else:
            self._pick(number)
