"""A market with one node and one client on the SVM, and a word for each thing they can do."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import (
    NATIVE_MINT,
    Job,
    Market,
    MarketTerms,
    Node,
    NodeSpecs,
    NodeState,
    Reason,
    Requirements,
)
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.addresses import token_address
from hypernode_worker.solana.program import Payees
from tests.support.accounts import make_specs
from tests.support.svm import START_SLOT, START_TIME, Landed, Svm

CID = Cid.of(b"a definition")
RESULT = Cid.of(b"a result")
DIGEST = bytes(range(32))
TOKENS = 1_000_000_000_000

SPECS = make_specs(
    gpu_vendor=1,
    gpu_count=2,
    country=b"DE",
    vram_mb=24_000,
    ram_mb=64_000,
    disk_gb=500,
    cpu_cores=16,
    specs_cid=Cid.of(b"specs"),
)


class World:
    """Wallets, a market and a registered node. `gapless`: on a chain without gaps between stack frames."""

    def __init__(
        self,
        *,
        spl: bool = False,
        staking: bool = False,
        gapless: bool = False,
        terms: dict[str, Any] | None = None,
        start: tuple[int, int] = (START_TIME, START_SLOT),
    ) -> None:
        self.svm = Svm(gapless=gapless, start=start)
        self.program = self.svm.program
        self.owner, self.client, self.operator = (self.svm.wallet() for _ in range(3))
        self.payout, self.fees = self.svm.wallet(1), self.svm.wallet(1)
        self.arbiter = self.svm.wallet()
        self.mint = self.svm.mint() if spl else NATIVE_MINT
        self.stake_mint = self.svm.mint() if staking else NATIVE_MINT
        if spl:
            self.svm.tokens(self.client.pubkey(), self.mint, TOKENS)
            for wallet in (self.payout, self.fees):
                self.svm.tokens(wallet.pubkey(), self.mint)
        self.terms = dataclasses.replace(MarketTerms(fee_receiver=self.fees.pubkey(), min_price=10), **(terms or {}))
        self._numbers = itertools.count(1)
        self.market_key = self.make_market()
        self.node_key = self.register(self.operator, payout=self.payout.pubkey())

    @property
    def is_spl(self) -> bool:
        return self.mint != NATIVE_MINT

    @property
    def market(self) -> Market:
        return self.svm.market(self.market_key)

    @property
    def node(self) -> Node:
        return self.svm.node(self.node_key)

    def job(self, address: Pubkey) -> Job:
        return self.svm.job(address)

    def send(self, instruction: Instruction, *signers: Keypair) -> Landed:
        return self.svm.send(instruction, signers=signers)

    def money(self, wallet: Keypair | Pubkey) -> int:
        """What a wallet has of the market's currency."""
        key = wallet.pubkey() if isinstance(wallet, Keypair) else wallet
        if not self.is_spl:
            return self.svm.lamports(key)
        return self.svm.token_balance(token_address(key, self.mint))

    # --- markets and nodes ---

    def make_market(self, **changes: Any) -> Pubkey:
        terms, number = dataclasses.replace(self.terms, **changes), next(self._numbers)
        build = self.program.create_market
        mints = {"payment_mint": self.mint, "stake_mint": self.stake_mint}
        self.send(build(self.owner.pubkey(), number, terms, **mints), self.owner)
        return self.program.market_address(self.owner.pubkey(), number)

    def update_market(self, *, paused: bool = False, **changes: Any) -> Landed:
        market = self.market
        terms = dataclasses.replace(market.terms, **changes)
        return self.send(self.program.update_market(market, terms, paused=paused), self.owner)

    def register(
        self, operator: Keypair, *, payout: Pubkey | None = None, capacity: int = 4, specs: NodeSpecs = SPECS
    ) -> Pubkey:
        build = self.program.register_node
        key = operator.pubkey()
        self.send(build(key, self.market_key, specs, capacity=capacity, payout=payout or key), operator)
        return self.program.node_address(self.market_key, key)

    def another_node(self, **changes: Any) -> Keypair:
        operator = self.svm.wallet()
        self.register(operator, **changes)
        return operator

    def stake(self, amount: int, *, funder: Keypair | None = None) -> Landed:
        """Puts this many tokens of the stake mint into the funder's hands, and stakes them."""
        funder = funder or self.operator
        self.svm.tokens(funder.pubkey(), self.stake_mint, amount)
        return self.send(self.program.stake(funder.pubkey(), self.node, self.stake_mint, amount), funder)

    def unstake(self, amount: int, *, owner: Keypair | None = None) -> Landed:
        owner = owner or self.operator
        return self.send(self.program.request_unstake(self.node, amount, owner=owner.pubkey()), owner)

    def withdraw(self) -> Landed:
        return self.send(self.program.withdraw_stake(self.node, self.stake_mint))

    def heartbeat(self, state: NodeState = NodeState.ACTIVE) -> Landed:
        return self.send(self.program.heartbeat_node(self.operator.pubkey(), self.market_key, state), self.operator)

    # --- a client's jobs ---

    def post(self, *, client: Keypair | None = None, **changes: Any) -> Pubkey:
        client = client or self.client
        market, nonce = self.market, changes.pop("nonce", None) or next(self._numbers)
        wishes: dict[str, Any] = {"definition_cid": CID, "price": 1000, "timeout": 600, "requirements": Requirements()}
        build = self.program.create_job
        self.send(build(client.pubkey(), market, nonce=nonce, **(wishes | changes)), client)
        return self.program.job_address(market.address, client.pubkey(), nonce)

    def cancel(self, job: Pubkey, payees: Payees | None = None) -> Landed:
        return self.send(self.program.cancel_job(self.job(job), payees), self.client)

    def extend(self, job: Pubkey, seconds: int) -> Landed:
        return self.send(self.program.extend_job(self.job(job), seconds), self.client)

    def stop(self, job: Pubkey) -> Landed:
        return self.send(self.program.stop_job(self.job(job)), self.client)

    def close(self, job: Pubkey, *, caller: Keypair | None = None, payees: Payees | None = None) -> Landed:
        caller = caller or self.client
        return self.send(self.program.close_job(caller.pubkey(), self.job(job), payees), caller)

    # --- a node's jobs ---

    def claim(self, job: Pubkey, *, begin: bool = False, operator: Keypair | None = None) -> Landed:
        operator = operator or self.operator
        return self.send(self.program.work_job(operator.pubkey(), self.job(job), begin=begin), operator)

    def running(self, **changes: Any) -> Pubkey:
        """A new job that the node has just begun."""
        job = self.post(**changes)
        self.claim(job, begin=True)
        return job

    def begin(self, job: Pubkey, operator: Keypair | None = None) -> Landed:
        operator = operator or self.operator
        return self.send(self.program.begin_job(operator.pubkey(), self.job(job)), operator)

    def checkpoint(self, job: Pubkey, progress_bps: int = 0, cid: Cid | None = None) -> Landed:
        build = self.program.checkpoint_job
        instruction = build(self.operator.pubkey(), self.job(job), progress_bps=progress_bps, cid=cid)
        return self.send(instruction, self.operator)

    def release(self, job: Pubkey, reason: Reason = Reason.NODE_FAULT) -> Landed:
        return self.send(self.program.release_job(self.operator.pubkey(), self.job(job), reason), self.operator)

    def finish(
        self, job: Pubkey, *, exit_status: int = 0, operator: Keypair | None = None, payees: Payees | None = None
    ) -> Landed:
        operator = operator or self.operator
        instruction = self.program.finish_job(
            operator.pubkey(),
            self.job(job),
            result_cid=RESULT,
            result_hash=DIGEST,
            exit_status=exit_status,
            payees=payees,
        )
        return self.send(instruction, operator)

    # --- review ---

    def dispute(self, job: Pubkey, reason: Cid = CID) -> Landed:
        return self.send(self.program.dispute_result(self.job(job), reason), self.client)

    def resolve(self, job: Pubkey, pay_bps: int, slash_bps: int = 0) -> Landed:
        made = self.program.resolve_dispute(self.job(job), pay_bps=pay_bps, slash_bps=slash_bps)
        return self.send(made, self.arbiter)

    # --- anyone ---

    def settle(self, job: Pubkey, *, caller: Keypair | None = None, payees: Payees | None = None) -> Landed:
        caller = caller or self.client
        return self.send(self.program.settle_job(caller.pubkey(), self.job(job), payees), caller)

    def time_out(self, job: Pubkey, payees: Payees | None = None) -> Landed:
        return self.send(self.program.timeout_job(self.job(job), payees))
