"""Jobs of one market don't wait for each other: all that two of them both write is the fee receiver's account."""

from __future__ import annotations

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey

from hypernode_worker.solana.addresses import token_address
from tests.support.market_world import DIGEST, RESULT, World


def _written(instruction: Instruction, payer: Keypair) -> set[Pubkey]:
    """The accounts that a transaction with this instruction locks for writing, the fee payer's too."""
    message = Message([instruction], payer.pubkey())
    header, keys = message.header, message.account_keys
    signers, others = keys[: header.num_required_signatures], keys[header.num_required_signatures :]
    written = signers[: len(signers) - header.num_readonly_signed_accounts]
    return {*written, *others[: len(others) - header.num_readonly_unsigned_accounts]}


class _Pair:
    """Two jobs of two clients, and two nodes with payout wallets of their own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clients = [world.client, world.svm.wallet()]
        if world.is_spl:
            for wallet in self.clients[1:]:
                world.svm.tokens(wallet.pubkey(), world.mint, 10**9)
        payouts = [world.svm.wallet().pubkey() for _ in range(2)]
        self.operators = [world.another_node(payout=payout) for payout in payouts]
        if world.is_spl:
            for payout in payouts:
                world.svm.tokens(payout, world.mint)
        self.jobs = [world.post(client=client) for client in self.clients]

    def common(self, instructions: list[Instruction], payers: list[Keypair]) -> set[Pubkey]:
        """What both write; sends both, so that the lists are those of transactions that land."""
        first, second = (_written(i, p) for i, p in zip(instructions, payers, strict=True))
        for instruction, payer in zip(instructions, payers, strict=True):
            self.world.send(instruction, payer)
        assert len(first) > 2
        return first & second

    def claim(self) -> set[Pubkey]:
        build, jobs = self.world.program.work_job, [self.world.job(job) for job in self.jobs]
        pairs = zip(self.operators, jobs, strict=True)
        return self.common([build(o.pubkey(), job, begin=True) for o, job in pairs], self.operators)

    def finish(self) -> set[Pubkey]:
        build = self.world.program.finish_job
        self.world.svm.advance(10)
        made = [
            build(o.pubkey(), self.world.job(job), result_cid=RESULT, result_hash=DIGEST, exit_status=0)
            for o, job in zip(self.operators, self.jobs, strict=True)
        ]
        return self.common(made, self.operators)

    def settle(self) -> set[Pubkey]:
        build = self.world.program.settle_job
        pairs = zip(self.clients, self.jobs, strict=True)
        return self.common([build(c.pubkey(), self.world.job(job)) for c, job in pairs], self.clients)


@pytest.fixture(params=["native", "spl"])
def currency(request: pytest.FixtureRequest) -> World:
    return World(spl=request.param == "spl")


def _fee_account(world: World) -> Pubkey:
    return token_address(world.fees.pubkey(), world.mint) if world.is_spl else world.fees.pubkey()


def test_claims_share_nothing_and_settlements_the_fee_receiver(currency: World) -> None:
    pair = _Pair(currency)
    assert pair.claim() == set()
    assert pair.finish() == {_fee_account(currency)}


def test_settlements_after_a_review_share_the_fee_receiver(currency: World) -> None:
    currency.update_market(review_period=100, arbiter=currency.arbiter.pubkey())
    pair = _Pair(currency)
    assert pair.claim() == set()
    # The lists are the same with and without a review; nothing is paid here.
    assert pair.finish() <= {_fee_account(currency)}
    assert pair.settle() == {_fee_account(currency)}


def test_the_lists_are_those_of_the_market(currency: World) -> None:
    """The check can fail: two jobs of one client share the client's account."""
    pair = _Pair(currency)
    pair.clients = [pair.clients[0], pair.clients[0]]
    pair.jobs = [currency.post(client=client) for client in pair.clients]
    pair.claim()
    assert len(pair.finish()) == 2
