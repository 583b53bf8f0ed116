"""A random history of markets: each step is one instruction or one turn of fate, and is checked against the books."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market, Node
from hypernode_worker.core.claim_window import open_slot
from hypernode_worker.solana.addresses import token_address
from tests.support.histories import end_rules, job_rules, market_rules
from tests.support.histories.books import Draft, Forbidden, Told
from tests.support.histories.chain import ACCEPTED
from tests.support.histories.invariants import INVARIANTS, Before, Step
from tests.support.histories.moves import WEIGHTS, Moves, NothingToDo
from tests.support.histories.town import Town

DAY = 86_400
CHECK_ALL_EVERY = 200
RULES: dict[str, Callable[[Draft], None]] = {
    name: next(getattr(rules, name) for rules in (market_rules, job_rules, end_rules) if hasattr(rules, name))
    for name in WEIGHTS
}
AT_ONCE = {
    "create_market": ("update_market",), "update_market": ("update_market", "close_market"),
    "close_market": ("create_market",), "register_node": ("deregister_node",), "deregister_node": ("register_node",),
    "close_job": ("create_job",),
}  # fmt: skip
"""What is tried in the same slot after: what is made again must not be taken for what was there."""
FATES = ("wait", "wait", "deadline", "halt", "window", "moment", "payee", "payee", "gift", "age", "years")


@dataclass(slots=True)
class History:
    """`seed` decides everything that happens; `answers` counts what the chain said to each instruction."""

    seed: int
    dice: random.Random = field(init=False)
    town: Town = field(init=False)
    moves: Moves = field(init=False)
    ends: dict[Pubkey, Job] = field(default_factory=dict[Pubkey, Job])
    answers: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    steps: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.town = Town(self.dice)
        self.moves = Moves(self.town, self.dice)
        for name, times in (("create_market", 8), ("register_node", 14), ("stake", 14)):
            for _ in range(times):
                with suppress(NothingToDo):
                    self.act(name)

    def step(self) -> None:
        """One step: mostly an instruction."""
        with suppress(NothingToDo):
            if self.dice.random() < 0.12:
                self.fate(self.dice.choice(FATES))
            else:
                self.act(self.dice.choices(_NAMES, _SHARES)[0])
        if self.steps % CHECK_ALL_EVERY == 0:
            self.check_all()

    def act(self, name: str) -> None:
        """Raises NothingToDo where there is nothing that the instruction could be about."""
        made = getattr(self.moves, name)()
        if self.dice.randrange(100) < self.moves.wild:
            made = self.moves.spoil(made)
        if self.run(name, made) and name in AT_ONCE and self.dice.randrange(3) == 0:
            self.act(self.dice.choice(AT_ONCE[name]))

    def run(self, name: str, instruction: Instruction) -> bool:
        """Sends the instruction, and checks that the chain did what the rules say, all of it and nothing else."""
        chain, books = self.town.chain, self.town.books
        told = Told.read(books.program, name, instruction)
        draft, why = Draft(books, told), ""
        try:
            RULES[name](draft)
            draft.commit()
        except Forbidden as error:
            why = str(error)
        touched = list(dict.fromkeys(told.keys.values()))
        before = Before.of(chain, touched)
        outcome = chain.send(instruction)
        chain.look(touched)
        self.steps += 1
        answer = outcome.answer or str(outcome.why)
        self.answers[name, answer] += 1
        said = f"{name}: the chain says {answer}, the rules say {why or ACCEPTED}"
        assert outcome.landed == (not why), said + "\n" + "\n".join([str(told.args), str(told.keys), *outcome.logs])
        step = Step(chain, books, told, outcome, touched, before, self.ends)
        for check in INVARIANTS:
            check(step)
        return outcome.landed

    # --- fate ---

    def fate(self, kind: str) -> None:
        """Time, halts, and what happens to payees' accounts without the program's doing."""
        town, dice = self.town, self.dice
        match kind:
            case "wait":
                seconds = dice.choice((1, 7, 30, 61, 130))
                town.wait(seconds, seconds * 5 // 2)
            case "deadline":
                self._wait_for_a_deadline()
            case "halt":
                # Time without slots, or slots without time.
                town.wait(*dice.choice(((700, 1), (60, 0), (0, 1), (0, 40), (0, 400))))
            case "window":
                self._claim_as_the_window_opens()
            case "moment":
                self._wait_for_a_moment()
            case "payee":
                self._payee()
            case "gift":
                self._gift()
            case "age":
                town.age(self.moves.some(Node))
            case _ if dice.random() < 0.03:
                town.wait(90 * DAY, 200 * DAY)
            case _:
                town.wait(1, 2)
        self.steps += 1

    def _wait_for_a_deadline(self) -> None:
        """To the last moment before a deadline, or the first after it."""
        jobs = [job for job in self.town.books.of(Job) if not job.state.terminal]
        if jobs:
            first = min(jobs, key=lambda job: job.deadline)
            job, early = self.dice.choice((first, first, first, *jobs[:1])), self.dice.choice(((0, 0), (1, 0), (0, 1)))
            self.town.wait_for(job.deadline - early[0], job.deadline_slot - early[1])

    def _claim_as_the_window_opens(self) -> None:
        """A node claims in its first slot, or in the one before."""
        books = self.town.books
        jobs = [job for job in books.of(Job) if job.state == JobState.QUEUED]
        job = self.moves.one_of(jobs, Job)
        node = self.moves.one_of([node for node in books.of(Node) if node.market == job.market], Node)
        opens = open_slot(job, node.address)
        self.town.wait_for(0, opens - self.dice.randrange(2))
        self.run("work_job", books.program.work_job(node.authority, job, begin=True))

    def _wait_for_a_moment(self) -> None:
        """To the moment when stake can be withdrawn, credit is given again, or a job may be closed by anyone."""
        books = self.town.books
        moments = [n.unstake_at for n in books.of(Node) if n.unstaking]
        moments += [n.credited_at + 3_600 for n in books.of(Node) if n.credited_at]
        if self.dice.randrange(20) == 0:
            moments = [job.settled_at + end_rules.KEEP_OWED for job in books.of(Job) if job.state.terminal]
        if moments:
            self.town.wait_for(self.dice.choice(moments) - self.dice.randrange(2), 0)

    def _payee(self) -> None:
        town, dice = self.town, self.dice
        wallet = dice.choice((*town.payouts, *town.receivers, *town.clients))
        mint = dice.choice(town.mints)
        address = token_address(wallet, mint)
        places = [place for place in town.money_places() if place in town.books.tokens]
        match dice.randrange(8):
            case 0 if address in town.books.tokens:
                town.freeze(address, frozen=True)
            case 1 if address in town.books.tokens and wallet not in town.clients:
                town.lose(address)
            case 2 if wallet not in town.clients:
                town.empty(wallet, dice.choice((0, 1, town.chain.rent(0) - 1)))
            case 3 if places:
                place = dice.choice(places)
                town.freeze(place, frozen=not town.books.tokens[place].frozen)
            case _:
                town.heal(wallet)

    def _gift(self) -> None:
        town, dice = self.town, self.dice
        places = town.money_places()
        if not places:
            return
        place = dice.choice(places)
        if place in town.books.tokens and dice.random() < 0.6:
            town.gift_tokens(place)
        else:
            market, nonce = dice.choice([*town.books.of(Market), None]), dice.randrange(4)
            client = dice.choice(town.clients)
            new = town.books.program.job_address(market.address, client, nonce) if market else place
            town.gift(dice.choice((place, new)), dice.choice((1, 890_880, 10**8)))

    # --- the whole ---

    def check_all(self) -> None:
        """Looks at every account, also at those that no instruction has named."""
        chain, books = self.town.chain, self.town.books
        chain.look_at_all()
        assert chain.records == books.records
        assert chain.tokens == books.tokens
        assert chain.supplies == books.supplies
        assert {k: v for k, v in books.lamports.items() if v} == chain.lamports

    def leave(self) -> None:
        """Everyone goes: strangers end every job after its deadlines, and all money comes out."""
        books = self.town.books
        self.town.heal_all()
        for _ in range(4):
            for job in books.of(Job):
                self._end(job)
        self.town.wait(91 * DAY, 0)
        for job in books.of(Job):
            build = books.program.close_job
            assert self.run("close_job", build(self.town.stranger, job)), f"{job} can't be closed"
        for node in books.of(Node):
            self._retire(node)
        for market in books.of(Market):
            self.town.wait_for(0, max(market.created_slot, market.revision) + 1)
            assert self.run("close_market", books.program.close_market(market.authority, market.address))
        self.check_all()
        assert not books.records
        for mint, supply in books.supplies.items():
            assert supply == sum(token.amount for token in books.tokens.values() if token.mint == mint)

    def _end(self, job: Job) -> None:
        """A stranger takes the exit of the job's state."""
        program = self.town.books.program
        if job.state.terminal:
            return
        self.town.wait_for(job.deadline, job.deadline_slot)
        if job.state <= JobState.RUNNING:
            made = ("timeout_job", program.timeout_job(job))
        else:
            made = ("settle_job", program.settle_job(self.town.stranger, job))
        assert self.run(*made), f"{job} can't be ended"

    def _retire(self, node: Node) -> None:
        """The payout wallet has all stake and rent back."""
        books = self.town.books
        vault = books.tokens.get(books.program.stake_address(node.address))
        if node.staked:
            assert self.run("request_unstake", books.program.request_unstake(node, node.staked))
            self.town.wait(node.unstake_cooldown, 0)
            assert vault is not None
            self.town.open(node.payout, vault.mint)
            assert self.run("withdraw_stake", books.program.withdraw_stake(node, vault.mint))
        mint = {"stake_mint": vault.mint} if vault else {}
        assert self.run("deregister_node", books.program.deregister_node(node, **mint))


def play(seed: int, steps: int) -> History:
    """A history of so many steps, after which everyone has gone."""
    history = History(seed)
    while history.steps < steps:
        history.step()
    history.leave()
    return history


_NAMES = list(WEIGHTS)
_SHARES = list(WEIGHTS.values())
