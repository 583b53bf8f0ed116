"""Random histories of two clients, three nodes and a clock: the invariants hold after every step (see Svm.send)."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Reason, Requirements
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, token_address
from tests.support.market_world import DIGEST, RESULT, World
from tests.support.svm import Refused

EXPECTED = {
    "WrongJobState", "WrongNode", "WrongAuthority", "DeadlinePassed", "DeadlineNotPassed", "NodeFull",
    "NodeUntrusted", "WindowNotOpen", "AttemptsSpent", "JobStopped", "TimeoutOutOfRange", "NothingOwed", "StillOwed",
    "NothingDelivered", "EscrowNotEmptied", "NodeHasJobs",
}  # fmt: skip


class Histories(RuleBasedStateMachine):
    """Each step is one instruction with any job; what the rules of the market refuse leaves no trace."""

    jobs = Bundle[Pubkey]("jobs")

    @initialize(spl=st.booleans(), fee_bps=st.integers(0, 10_000), heartbeat=st.sampled_from([0, 60]))
    def start(self, spl: bool, fee_bps: int, heartbeat: int) -> None:
        terms = {
            "fee_bps": fee_bps, "heartbeat_timeout": heartbeat, "max_attempts": 2, "queue_timeout": 600,
            "setup_timeout": 100, "start_credit": 150,
        }  # fmt: skip
        self.world = World(spl=spl, terms=terms)
        self.nodes = [self.world.operator, self.world.another_node(capacity=1), self.world.another_node()]
        self.clients = [self.world.client, self.world.svm.wallet()]
        if spl:
            for wallet in (*self.clients, *self.nodes):
                self.world.svm.tokens(wallet.pubkey(), self.world.mint, 10**15)
        self.ends: dict[Pubkey, tuple[JobState, int]] = {}

    def attempt(self, instruction: Instruction, *signers: Keypair) -> None:
        try:
            self.world.send(instruction, *signers)
        except Refused as error:
            if error.name not in EXPECTED:
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

    @rule(job=jobs, node=st.integers(0, 2), begin=st.booleans())
    def claim(self, job: Pubkey, node: int, begin: bool) -> None:
        if state := self.read(job):
            key = self.nodes[node]
            self.attempt(self.world.program.work_job(key.pubkey(), state, begin=begin), key)

    @rule(job=jobs, node=st.integers(0, 2), what=st.sampled_from(["begin", "checkpoint", "release", "finish"]))
    def run(self, job: Pubkey, node: int, what: str) -> None:
        state, key, program = self.read(job), self.nodes[node], self.world.program
        if state is None:
            return
        match what:
            case "begin":
                made = program.begin_job(key.pubkey(), state)
            case "checkpoint":
                made = program.checkpoint_job(key.pubkey(), state, progress_bps=1, cid=Cid.of(b"c"))
            case "release":
                made = program.release_job(key.pubkey(), state, Reason.NODE_FAULT)
            case _:
                made = program.finish_job(key.pubkey(), state, result_cid=RESULT, result_hash=DIGEST, exit_status=0)
        self.attempt(made, key)

    @rule(job=jobs, who=st.integers(0, 1), what=st.sampled_from(["cancel", "extend", "stop", "close", "settle"]))
    def command(self, job: Pubkey, who: int, what: str) -> None:
        state, key, program = self.read(job), self.clients[who], self.world.program
        if state is None:
            return
        mine = dataclasses.replace(state, client=key.pubkey())
        match what:
            case "cancel":
                made = program.cancel_job(state)
            case "extend":
                made = program.extend_job(state, 50)
            case "stop":
                made = program.stop_job(state)
            case "close":
                made = program.close_job(key.pubkey(), state)
            case _:
                made = program.settle_job(key.pubkey(), state)
        if state.client == mine.client or what in ("close", "settle"):
            self.attempt(made, key)

    @rule(job=jobs)
    def time_out(self, job: Pubkey) -> None:
        if state := self.read(job):
            self.attempt(self.world.program.timeout_job(state))

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
            self.ends[job] = (state.state, state.deposit)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
