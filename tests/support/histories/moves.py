"""What anybody may do next, mostly what makes sense: one builder for each instruction, chosen by dice."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import (
    NATIVE_MINT,
    Job,
    JobState,
    Market,
    MarketTerms,
    Node,
    NodeSpecs,
    NodeState,
    Reason,
    Requirements,
)
from hypernode_worker.core.types import Cid
from tests.support.histories.books import U64, Kind
from tests.support.histories.end_rules import KEEP_OWED
from tests.support.histories.market_rules import MONTH
from tests.support.histories.town import STAKES, Town
from tests.support.svm import SOL

CIDS = [Cid.of(bytes([n])) for n in range(4)]
SHARES = (0, 1, 100, 4_999, 5_000, 9_999, 10_000)
CLAIMED, RUNNING, QUEUED = JobState.CLAIMED, JobState.RUNNING, JobState.QUEUED
SUBMITTED, DISPUTED = JobState.SUBMITTED, JobState.DISPUTED
# More jobs at once make a history slow, and no state is reached by more.
MANY = 40
ENDED = (JobState.SETTLED, JobState.CANCELLED, JobState.EXPIRED)


class NothingToDo(Exception):
    """The history has nothing yet that this instruction could be about."""


@dataclass(slots=True)
class Moves:
    """Builds instructions about what stands in the town's books. `wild` of a hundred are about anything, by anyone."""

    town: Town
    dice: random.Random
    wild: int = 6

    def odd(self) -> bool:
        return self.dice.randrange(100) < self.wild

    def some(self, kind: type[Kind]) -> Kind:
        found = self.town.books.of(kind)
        if not found:
            raise NothingToDo
        return self.dice.choice(found)

    def job(self, *states: JobState) -> Job:
        """A job in one of these states; sometimes any."""
        return self.one_of([job for job in self.town.books.of(Job) if job.state in states], Job)

    def one_of(self, fitting: list[Kind], kind: type[Kind]) -> Kind:
        """One of those that fit; sometimes any, so that the rest is refused too."""
        if self.odd():
            return self.some(kind)
        if not fitting:
            raise NothingToDo
        return self.dice.choice(fitting)

    def who(self, key: Pubkey) -> Pubkey:
        return self.dice.choice(self.town.wallets) if self.odd() else key

    def holder(self, job: Job) -> Pubkey:
        """The authority of the job's node."""
        node = self.town.books.records.get(job.node)
        return self.who(node.authority if isinstance(node, Node) else self.town.operators[0])

    def caller(self, job: Job) -> Pubkey:
        return self.dice.choice((job.client, self.town.stranger))

    # --- markets ---

    def terms(self, staking: bool) -> MarketTerms:
        pick = self.dice.choice
        terms = MarketTerms(
            fee_bps=pick((0, 100, 9_999, 10_000)), slash_bps=pick(SHARES), bond_bps=pick((0, 1, 5_000, 10_000)),
            claim_spread_slots=pick((0, 0, 24)), max_capacity=pick((1, 3, 16)), start_credit=pick((40, 60, 150)),
            max_attempts=pick((1, 2, 3)), flags=pick((0, 3)), arbiter=self.town.arbiter,
            fee_receiver=pick(self.town.receivers), min_price=pick((0, 10)),
            min_stake=pick((0, 500)) if staking else 0, lock_per_job=pick((0, 300, 301)) if staking else 0,
            credit_pay=pick((0, 600)), max_timeout=1_000, setup_timeout=100, queue_timeout=600,
            review_period=pick((0, 200)), resolve_timeout=300, heartbeat_timeout=pick((0, 60)),
            finish_grace=30, unstake_cooldown=pick((0, 100)), spec_cid=pick((None, CIDS[0])),
        )  # fmt: skip
        return self._contradict(terms) if self.odd() else terms

    def _contradict(self, terms: MarketTerms) -> MarketTerms:
        wrong: dict[str, object] = {
            "fee_bps": 10_001, "bond_bps": 65_535, "max_attempts": 0, "max_capacity": 0, "start_credit": 201,
            "flags": 4, "setup_timeout": 0, "finish_grace": MONTH + 1, "arbiter": NATIVE_MINT,
            "resolve_timeout": 0, "claim_spread_slots": 1_201, "lock_per_job": U64, "fee_receiver": NATIVE_MINT,
        }  # fmt: skip
        name = self.dice.choice(list(wrong))
        return replace(terms, **{name: wrong[name]})

    def create_market(self) -> Instruction:
        first, huge, stakes = self.town.mints
        ids = {market.market_id for market in self.town.books.of(Market)}
        number = self.dice.choice(list(range(6) if self.odd() else set(range(6)) - ids) or [0])
        payment = (NATIVE_MINT, NATIVE_MINT, first, first, huge, stakes)[number]
        stake = (NATIVE_MINT, stakes, stakes, NATIVE_MINT, stakes, stakes)[number]
        terms = self.terms(stake != NATIVE_MINT)
        build = self.town.books.program.create_market
        return build(self.who(self.town.owner), number, terms, payment_mint=payment, stake_mint=stake)

    def update_market(self) -> Instruction:
        young = max(self.town.books.of(Market), key=lambda market: market.revision, default=None)
        market = young if young and self.dice.randrange(2) else self.some(Market)
        made = self.terms(market.stake_mint != NATIVE_MINT)
        paused = self.dice.randrange(8) == 0
        return self.town.books.program.update_market(
            replace(market, authority=self.who(market.authority)), made, paused=paused
        )

    def close_market(self) -> Instruction:
        young = max(self.town.books.of(Market), key=lambda market: market.revision, default=None)
        market = young if young and self.dice.randrange(4) else self.some(Market)
        return self.town.books.program.close_market(self.who(market.authority), market.address)

    # --- nodes and stake ---

    def register_node(self) -> Instruction:
        market, dice = self.some(Market), self.dice
        authority = dice.choice(self.town.operators)
        payout = dice.choice((authority, authority, *self.town.payouts, self.town.owner if self.odd() else authority))
        specs = NodeSpecs(
            isolation=int(dice.randrange(8) > 0), gpu_vendor=1, gpu_count=2, country=b"DE", vram_mb=24_000,
            ram_mb=64_000, disk_gb=500, cpu_cores=16, frameworks=0b11111, specs_cid=dice.choice((None, CIDS[1])),
        )  # fmt: skip
        build, known = self.town.books.program.register_node, self.town.books.records
        old = known.get(self.town.books.program.node_address(market.address, authority))
        signs = old.payout if isinstance(old, Node) and dice.randrange(4) else None
        made = build(
            authority, market.address, specs, capacity=dice.choice((1, 2, 3, 65_535)), payout=payout, old_payout=signs
        )
        if signs is None:
            return made
        metas = [AccountMeta(m.pubkey, m.is_signer or m.pubkey == signs, m.is_writable) for m in made.accounts]
        return Instruction(made.program_id, bytes(made.data), metas)

    def heartbeat_node(self) -> Instruction:
        node = self.some(Node)
        state = NodeState.DRAINING if self.dice.randrange(8) == 0 else NodeState.ACTIVE
        return self.town.books.program.heartbeat_node(self.who(node.authority), node.market, state)

    def deregister_node(self) -> Instruction:
        node = self.one_of([n for n in self.town.books.of(Node) if n.staked == 0 and n.open_jobs == 0], Node)
        vault = self.town.books.tokens.get(self.town.books.program.stake_address(node.address))
        owner = self.who(self.dice.choice((node.authority, node.payout)))
        build = self.town.books.program.deregister_node
        return build(node, owner=owner, stake_mint=vault.mint if vault else NATIVE_MINT)

    def stake(self) -> Instruction:
        dice, books = self.dice, self.town.books
        mints = {(m.address, m.created_slot): m.stake_mint for m in books.of(Market) if m.stake_mint != NATIVE_MINT}
        node = self.one_of([n for n in books.of(Node) if (n.market, n.market_slot) in mints], Node)
        mint = mints.get((node.market, node.market_slot), self.town.mints[2])
        amount = dice.choice((0, 1, 700, 1_500, 1_500, STAKES if self.odd() else 900))
        funder = dice.choice((*self.town.operators, self.town.stranger))
        return self.town.books.program.stake(funder, node, mint, amount)

    def request_unstake(self) -> Instruction:
        node, dice = self.some(Node), self.dice
        free = node.staked - node.locked
        amount = dice.choice((0, free, free, free + 1, free // 2))
        owner = self.who(dice.choice((node.authority, node.payout)))
        return self.town.books.program.request_unstake(node, amount, owner=owner)

    def withdraw_stake(self) -> Instruction:
        node = self.one_of([n for n in self.town.books.of(Node) if n.unstaking], Node)
        vault = self.town.books.tokens.get(self.town.books.program.stake_address(node.address))
        return self.town.books.program.withdraw_stake(node, vault.mint if vault else self.town.mints[2])

    # --- a client's jobs ---

    def create_job(self) -> Instruction:
        market, dice = self.some(Market), self.dice
        if len(self.town.books.of(Job)) > MANY and not self.odd():
            raise NothingToDo
        timeout = dice.choice((1, 60, 600, 1_000, 1_001 if self.odd() else 30))
        most = SOL if market.is_native else U64 // 40 if market.payment_mint == self.town.mints[1] else 10**12
        price = dice.choice((market.terms.min_price, 10, 1_000, most // timeout, U64 if self.odd() else 11))
        wishes = Requirements(
            min_trust=dice.choice((0, 0, 1, 2)), gpu_vendor=dice.choice((0, 1, 2 if self.odd() else 0)),
            gpu_count=dice.choice((0, 2)), vram_mb=dice.choice((0, 24_000)), framework=dice.randrange(5),
        )  # fmt: skip
        if self.odd():
            market = replace(market, revision=market.revision + 1)
        return self.town.books.program.create_job(
            dice.choice(self.town.clients), market, nonce=dice.randrange(8), definition_cid=dice.choice(CIDS),
            price=price, timeout=timeout, requirements=wishes,
        )  # fmt: skip

    def cancel_job(self) -> Instruction:
        return self._by_client(self.town.books.program.cancel_job, self.job(QUEUED, CLAIMED))

    def extend_job(self) -> Instruction:
        job = self.job(QUEUED, CLAIMED, RUNNING)
        seconds = self.dice.choice((1, 30, job.max_timeout - job.timeout, 2**32 - 1 if self.odd() else 2))
        return self._by_client(lambda j: self.town.books.program.extend_job(j, max(0, seconds)), job)

    def stop_job(self) -> Instruction:
        return self._by_client(self.town.books.program.stop_job, self.job(RUNNING))

    def share_secrets(self) -> Instruction:
        build, cid = self.town.books.program.share_secrets, self.dice.choice(CIDS)
        return self._by_client(lambda j: build(j, cid), self.job(CLAIMED, RUNNING))

    def dispute_result(self) -> Instruction:
        build, cid = self.town.books.program.dispute_result, self.dice.choice(CIDS)
        return self._by_client(lambda j: build(j, cid), self.job(SUBMITTED))

    def _by_client(self, build: Callable[[Job], Instruction], job: Job) -> Instruction:
        return build(replace(job, client=self.who(job.client)))

    # --- a node's jobs ---

    def work_job(self) -> Instruction:
        books = self.town.books
        queued = [j for j in books.of(Job) if j.state == QUEUED and j.deadline > books.time]
        slots = {market.address: market.created_slot for market in books.of(Market)}
        older = [j for j in queued if j.market_slot != slots.get(j.market, j.market_slot)]
        job = self.one_of(older if older and self.dice.randrange(4) == 0 else queued, Job)
        slot = slots.get(job.market)
        node = self.one_of([n for n in books.of(Node) if _takes(n, job) and n.market_slot == slot], Node)
        stale = replace(job, queued_slot=job.queued_slot - 1) if self.odd() else job
        return self.town.books.program.work_job(self.who(node.authority), stale, begin=self.dice.random() < 0.5)

    def begin_job(self) -> Instruction:
        job = self.job(CLAIMED)
        return self.town.books.program.begin_job(self.holder(job), job)

    def checkpoint_job(self) -> Instruction:
        job = self.job(RUNNING)
        progress = 10_001 if self.odd() else self.dice.randrange(10_001)
        build, cid = self.town.books.program.checkpoint_job, self.dice.choice((None, *CIDS))
        return build(self.holder(job), job, progress_bps=progress, cid=cid)

    def release_job(self) -> Instruction:
        job = self.job(CLAIMED, RUNNING)
        reason = self.dice.choice(
            (Reason.NODE_FAULT, Reason.NODE_SHUTDOWN, Reason.STOPPED if self.odd() else Reason.NODE_FAULT)
        )
        return self.town.books.program.release_job(self.holder(job), job, reason)

    def finish_job(self) -> Instruction:
        job, dice = self.job(RUNNING), self.dice
        status, digest = dice.choice((0, 0, 1, -1)), bytes([dice.randrange(256)] * 32)
        return self.town.books.program.finish_job(
            self.holder(job), job, result_cid=dice.choice(CIDS), result_hash=digest, exit_status=status
        )

    # --- ends ---

    def resolve_dispute(self) -> Instruction:
        job = self.job(DISPUTED)
        pay = 10_001 if self.odd() else self.dice.choice(SHARES)
        cut = job.slash_bps + 1 if self.odd() else self.dice.choice((0, job.slash_bps)) if pay < 5_000 else 0
        build = self.town.books.program.resolve_dispute
        return build(replace(job, arbiter=self.who(job.arbiter)), pay_bps=pay, slash_bps=cut)

    def settle_job(self) -> Instruction:
        owed = [j for j in self.town.books.of(Job) if j.owed]
        job = self.one_of(owed, Job) if self.dice.random() < 0.2 else self.job(SUBMITTED, DISPUTED)
        return self.town.books.program.settle_job(self.caller(job), job)

    def timeout_job(self) -> Instruction:
        books = self.town.books
        late = [j for j in books.of(Job) if j.deadline <= books.time and j.deadline_slot <= books.slot]
        return books.program.timeout_job(self.one_of([j for j in late if j.state <= RUNNING], Job))

    def close_job(self) -> Instruction:
        job = self.job(*ENDED)
        old = self.town.books.time - job.settled_at >= KEEP_OWED
        caller = self.caller(job) if old or self.dice.random() < 0.1 else self.who(job.client)
        return self.town.books.program.close_job(caller, job)

    # --- spoilt ---

    def spoil(self, made: Instruction) -> Instruction:
        """Another account in the place of one, or a flag dropped. Nobody signs for what isn't a wallet."""
        metas = list(made.accounts)
        at = self.dice.randrange(len(metas))
        meta = metas[at]
        match self.dice.randrange(3):
            case 0:
                metas[at] = AccountMeta(meta.pubkey, is_signer=False, is_writable=meta.is_writable)
            case 1:
                metas[at] = AccountMeta(meta.pubkey, is_signer=meta.is_signer, is_writable=False)
            case _:
                books = self.town.books
                key = self.dice.choice([*books.records, *self.town.wallets, *books.tokens, made.program_id])
                signs = meta.is_signer and key in self.town.wallets
                metas[at] = AccountMeta(key, is_signer=signs, is_writable=meta.is_writable)
        return Instruction(made.program_id, bytes(made.data), metas)


def _takes(node: Node, job: Job) -> bool:
    """The node is of the job's market, works, has room, credit and stake, and didn't have the job last."""
    same = node.market == job.market and node.address != job.node
    free = node.staked - node.unstaking - node.locked
    room = node.state == NodeState.ACTIVE and node.active_jobs < node.capacity and free >= job.lock
    return same and room and node.trust >= job.requirements.min_trust


WEIGHTS = {
    "create_market": 0.6, "update_market": 0.7, "close_market": 0.15, "register_node": 2, "heartbeat_node": 1,
    "deregister_node": 0.4, "stake": 4, "request_unstake": 0.7, "withdraw_stake": 1, "create_job": 14,
    "cancel_job": 1, "extend_job": 2, "stop_job": 1.5, "work_job": 30, "begin_job": 9, "checkpoint_job": 4,
    "share_secrets": 2, "release_job": 2, "finish_job": 16, "dispute_result": 5, "resolve_dispute": 5, "settle_job": 5,
    "timeout_job": 4, "close_job": 6,
}  # fmt: skip
