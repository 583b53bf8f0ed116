"""Random histories of two clients, three nodes and a clock: the invariants hold after every step (see Svm.send)."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Node, Reason, Requirements
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, token_address
from tests.support.market_world import DIGEST, RESULT, World
from tests.support.svm import Refused

EXPECTED = {
    "WrongJobState", "WrongNode", "WrongAuthority", "DeadlinePassed", "DeadlineNotPassed", "NodeFull",
    "NodeUntrusted", "WindowNotOpen", "AttemptsSpent", "JobStopped", "TimeoutOutOfRange", "NothingOwed", "StillOwed",
    "NothingDelivered", "EscrowNotEmptied", "NodeHasJobs", "StakeTooLow", "NotEnoughStake", "NothingUnstaking",
    "CooldownNotOver", "WrongPayee", "InvalidShare",
}  # fmt: skip


SENSIBLE: dict[JobState, list[str]] = {
    JobState.QUEUED: ["claim", "claim", "claim", "extend", "cancel", "time out"],
    JobState.CLAIMED: ["begin", "begin", "release", "cancel", "time out"],
    JobState.RUNNING: ["finish", "finish", "checkpoint", "stop", "extend", "release", "time out"],
    JobState.SUBMITTED: ["dispute", "dispute", "settle"],
    JobState.DISPUTED: ["resolve", "resolve", "settle"],
    JobState.SETTLED: ["close", "settle"],
    JobState.CANCELLED: ["close", "settle"],
    JobState.EXPIRED: ["close", "settle"],
}
BY_NODES = {"claim", "begin", "checkpoint", "release", "finish"}
BY_CLIENTS = {"cancel", "extend", "stop", "dispute"}
ANYTHING = sorted({what for choices in SENSIBLE.values() for what in choices})
SHARES = st.sampled_from([0, 4_999, 5_000, 10_000])


class Histories(RuleBasedStateMachine):
    """Each step is one instruction with any job; what the rules of the market refuse leaves no trace."""

    jobs = Bundle[Pubkey]("jobs")

    @initialize(
        spl=st.booleans(),
        fee_bps=st.integers(0, 10_000),
        bond_bps=st.sampled_from([0, 1, 5_000, 10_000]),
        heartbeat=st.sampled_from([0, 60]),
        review=st.sampled_from([0, 200]),
        lock=st.sampled_from([0, 300]),
    )
    def start(self, spl: bool, fee_bps: int, bond_bps: int, heartbeat: int, review: int, lock: int) -> None:
        terms = {
            "fee_bps": fee_bps, "bond_bps": bond_bps, "heartbeat_timeout": heartbeat, "max_attempts": 2,
            "queue_timeout": 600, "setup_timeout": 100, "start_credit": 150, "unstake_cooldown": 100,
            "resolve_timeout": 300, "slash_bps": 7_000,
        }  # fmt: skip
        self.world = World(spl=spl, staking=True, terms=terms)
        arbiter = self.world.arbiter.pubkey()
        self.world.update_market(review_period=review, arbiter=arbiter, lock_per_job=lock)
        self.nodes = [self.world.operator, self.world.another_node(capacity=1), self.world.another_node()]
        self.clients = [self.world.client, self.world.svm.wallet()]
        if spl:
            for wallet in (*self.clients, *self.nodes):
                self.world.svm.tokens(wallet.pubkey(), self.world.mint, 10**15)
        for node in self.nodes:
            self.stake_for(node, 1_000)
        self.world.svm.tokens(self.world.payout.pubkey(), self.world.stake_mint)
        self.ends: dict[Pubkey, tuple[JobState, int]] = {}

    def key_of(self, operator: Keypair) -> Pubkey:
        return self.world.program.node_address(self.world.market_key, operator.pubkey())

    def node_of(self, operator: Keypair) -> Node:
        return self.world.svm.node(self.key_of(operator))

    def stake_for(self, operator: Keypair, amount: int) -> None:
        mint, key = self.world.stake_mint, operator.pubkey()
        source = self.world.svm.tokens(key, mint, amount, address=Keypair().pubkey())
        self.attempt(self.world.program.stake(key, self.node_of(operator), mint, amount, source=source), operator)

    @rule(node=st.integers(0, 2), amount=st.integers(0, 1_200), what=st.sampled_from(["stake", "unstake", "withdraw"]))
    def manage_stake(self, node: int, amount: int, what: str) -> None:
        operator = self.nodes[node]
        match what:
            case "stake":
                self.stake_for(operator, amount + 1)
            case "unstake":
                self.attempt(self.world.program.request_unstake(self.node_of(operator), amount), operator)
            case _:
                self.attempt(self.world.program.withdraw_stake(self.node_of(operator), self.world.stake_mint))

    def attempt(self, instruction: Instruction, *signers: Keypair) -> None:
        try:
            self.world.send(instruction, *signers)
        except Refused as error:
            # A deposit of tokens is given from what earlier jobs have left.
            if error.name not in EXPECTED and "insufficient funds" not in str(error):
                raise

    def read(self, job: Pubkey) -> Job | None:
        return self.world.job(job) if self.world.svm.exists(job) else None

    @rule(
        target=jobs,
        who=st.integers(0, 1),
        price=st.integers(10, 2**40),
        timeout=st.integers(1, 1000),
        trust=st.integers(0, 2),
    )
    def create(self, who: int, price: int, timeout: int, trust: int) -> Any:
        try:
            return self.world.post(
                client=self.clients[who], price=price if self.world.is_spl else price % 10**6 + 10,
                timeout=timeout, requirements=Requirements(min_trust=trust),
            )  # fmt: skip
        except Refused as error:
            if "insufficient" not in str(error):
                raise
            return cast(Any, multiple())

    @rule(seconds=st.sampled_from([1, 30, 60, 130, 700]), halted=st.booleans())
    def wait(self, seconds: int, halted: bool) -> None:
        self.world.svm.advance(seconds, slots=1 if halted else None)

    @rule(job=jobs, picks=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2), SHARES), min_size=4, max_size=8))
    def live(self, job: Pubkey, picks: list[tuple[int, int, int]]) -> None:
        """A stretch of a job's life."""
        for pick, who, bps in picks:
            self.act(job, pick, False, who, bps)
            self.world.svm.advance(7)

    @rule(job=jobs, pick=st.integers(0, 11), wild=st.booleans(), who=st.integers(0, 2), bps=SHARES)
    def act(self, job: Pubkey, pick: int, wild: bool, who: int, bps: int) -> None:
        """Mostly what makes sense in the job's state by whom it befits, sometimes anything by anyone."""
        state = self.read(job)
        if state is None:
            return
        choices = ANYTHING if wild else SENSIBLE[state.state]
        self.do(choices[pick % len(choices)], state, self.nodes[who], bps, by_right=not wild)

    def do(self, what: str, job: Job, node: Keypair, bps: int, *, by_right: bool) -> None:
        holder = {self.key_of(k): k for k in self.nodes}.get(job.node)
        client = next(k for k in self.clients if k.pubkey() == job.client)
        if what in BY_NODES:
            self.as_node(what, job, holder if by_right and holder and what != "claim" else node, bps)
        elif what in BY_CLIENTS:
            self.as_client(what, job, client)
        else:
            self.as_anyone(what, job, client if by_right else node, bps)

    def as_node(self, what: str, job: Job, node: Keypair, bps: int) -> None:
        program, key = self.world.program, node.pubkey()
        match what:
            case "claim":
                made = program.work_job(key, job, begin=bps > 0)
            case "begin":
                made = program.begin_job(key, job)
            case "checkpoint":
                made = program.checkpoint_job(key, job, progress_bps=bps, cid=Cid.of(b"c"))
            case "release":
                made = program.release_job(key, job, Reason.NODE_FAULT)
            case _:
                made = program.finish_job(key, job, result_cid=RESULT, result_hash=DIGEST, exit_status=bps)
        self.attempt(made, node)

    def as_client(self, what: str, job: Job, client: Keypair) -> None:
        program = self.world.program
        match what:
            case "cancel":
                made = program.cancel_job(job)
            case "extend":
                made = program.extend_job(job, 50)
            case "stop":
                made = program.stop_job(job)
            case _:
                made = program.dispute_result(job, Cid.of(b"why"))
        self.attempt(made, client)

    def as_anyone(self, what: str, job: Job, caller: Keypair, bps: int) -> None:
        program = self.world.program
        match what:
            case "resolve":
                slash = 7_000 if bps == 0 else 0
                self.attempt(program.resolve_dispute(job, pay_bps=bps, slash_bps=slash), self.world.arbiter)
            case "settle":
                self.attempt(program.settle_job(caller.pubkey(), job), caller)
            case "close":
                self.attempt(program.close_job(caller.pubkey(), job), caller)
            case _:
                late = max(0, job.deadline - self.world.svm.time) if bps else 0
                self.world.svm.advance(late)
                self.attempt(program.timeout_job(job))

    @rule(node=st.integers(0, 2), able=st.booleans())
    def spoil_payout(self, node: int, able: bool) -> None:
        """A payee's account comes and goes."""
        wallet = self.world.payout.pubkey() if node == 0 else self.nodes[node].pubkey()
        if self.world.is_spl:
            self.world.svm.freeze(token_address(wallet, self.world.mint), frozen=not able)
        elif node == 0:
            self.world.svm.put(wallet, b"", SYSTEM_PROGRAM, 10**9 if able else 0)

    @invariant()
    def ends_are_final(self) -> None:
        for address in list(self.ends):
            job = self.read(address)
            if job is None:
                del self.ends[address]
                continue
            state, total = self.ends[address]
            assert job.state == state
            assert job.paid + job.fee + job.refunded + job.owed == total

    @rule(job=jobs)
    def remember(self, job: Pubkey) -> None:
        state = self.read(job)
        if state is not None and state.state.terminal:
            self.ends[job] = (state.state, state.deposit + state.bond)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


@pytest.mark.parametrize("seed", range(16))
def test_long_histories(seed: int) -> None:
    """Three hundred steps, mostly sensible ones: every state is reached with many jobs in the market at once."""
    dice, chain = random.Random(seed), Histories()
    chain.start(
        spl=bool(seed & 1), fee_bps=dice.choice([0, 100, 9_999]), bond_bps=dice.choice([0, 1, 5_000]),
        heartbeat=dice.choice([0, 60]), review=200 * (seed >> 1 & 1), lock=300 * (seed >> 2 & 1),
    )  # fmt: skip
    jobs: list[Pubkey] = []
    for _ in range(300):
        roll = dice.random()
        if roll < 0.08 or not jobs:
            made = chain.create(dice.randrange(2), dice.randint(10, 2**40), dice.randint(1, 1000), dice.randrange(3))
            jobs += [made] if isinstance(made, Pubkey) else []
        elif roll < 0.14:
            chain.wait(dice.choice([1, 30, 130]), dice.random() < 0.2)
        elif roll < 0.17:
            chain.manage_stake(dice.randrange(3), dice.randint(0, 1_200), dice.choice(["stake", "unstake", "withdraw"]))
        elif roll < 0.19:
            chain.spoil_payout(dice.randrange(3), dice.random() < 0.5)
        else:
            bps = dice.choice([0, 4_999, 5_000, 10_000])
            chain.act(dice.choice(jobs[-8:]), dice.randrange(12), roll > 0.95, dice.randrange(3), bps)
        chain.ends_are_final()
    reached = [chain.read(job) for job in jobs]
    assert sum(job is None or job.state.terminal for job in reached) > len(jobs) / 3
