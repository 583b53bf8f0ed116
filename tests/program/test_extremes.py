"""The largest and smallest amounts, addresses that are prefunded, and rent that changes."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair
from solders.rent import Rent

from hypernode_worker.core.accounts import JobState
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM
from hypernode_worker.solana.program import MarketsProgram
from tests.support.market_world import SPECS, World
from tests.support.svm import START_TIME, Svm, refused

MAX = 2**64 - 1


@pytest.mark.parametrize(("price", "timeout"), [(MAX, 1), (MAX // 86_400, 86_400), (MAX // 7, 7)])
def test_the_largest_deposits_settle_exactly(price: int, timeout: int) -> None:
    world = World(spl=True, terms={"fee_bps": 9_999})
    world.svm.tokens(world.client.pubkey(), world.mint, MAX)
    job = world.running(price=price, timeout=timeout)
    world.svm.advance(timeout)
    world.finish(job)
    done = world.job(job)
    gross = price * min(timeout, done.used)
    assert done.fee == gross * 9_999 // 10_000
    assert done.paid == gross - done.fee
    assert world.money(world.client) == MAX - gross


def test_more_than_there_is_cannot_be_asked(spl: World) -> None:
    with refused("Overflow"):
        spl.post(price=MAX, timeout=2)
    spl.svm.tokens(spl.client.pubkey(), spl.mint, MAX)
    job = spl.post(price=MAX // 600)
    with refused("Overflow"):
        spl.extend(job, 600)
    with refused("Overflow"):
        spl.extend(job, 1)


def test_a_job_may_be_free() -> None:
    for is_spl in (False, True):
        world = World(spl=is_spl, terms={"min_price": 0, "fee_bps": 10_000})
        job = world.running(price=0)
        world.extend(job, 10)
        world.svm.advance(5)
        world.finish(job)
        assert (world.job(job).paid, world.job(job).fee, world.job(job).refunded) == (0, 0, 0)
        world.close(job)


def test_a_fee_of_everything_leaves_the_node_nothing_and_needs_no_payee(world: World) -> None:
    world.update_market(fee_bps=10_000)
    job = world.running()
    world.svm.advance(10)
    world.finish(job)
    assert (world.job(job).paid, world.job(job).fee) == (0, 10_000)


def test_the_smallest_amounts_round_in_the_nodes_favour(world: World) -> None:
    world.update_market(min_price=1)
    job = world.running(price=1, timeout=1)
    world.finish(job)
    assert (world.job(job).paid, world.job(job).fee, world.job(job).refunded) == (1, 0, 0)


@pytest.mark.parametrize("gift", [1, 890_880, 10**10])
def test_prefunded_addresses_are_used_all_the_same(gift: int) -> None:
    """Whoever sends lamports to an address before it is made can't keep it from being made."""
    world = World(spl=True)
    program = world.program
    market = program.market_address(world.owner.pubkey(), 500)
    world.svm.put(market, b"", SYSTEM_PROGRAM, gift)
    world.send(program.create_market(world.owner.pubkey(), 500, world.terms), world.owner)
    assert world.svm.lamports(market) == max(gift, world.svm.rent(320))
    operator = world.svm.wallet()
    node = program.node_address(world.market_key, operator.pubkey())
    world.svm.put(node, b"", SYSTEM_PROGRAM, gift)
    world.register(operator)
    assert world.svm.lamports(node) == max(gift, world.svm.rent(320))
    job = program.job_address(world.market_key, world.client.pubkey(), 600)
    escrow = program.escrow_address(job)
    for address in (job, escrow):
        world.svm.put(address, b"", SYSTEM_PROGRAM, gift)
    assert world.post(nonce=600) == job
    assert world.svm.lamports(escrow) == max(gift, world.svm.rent(165))
    start = world.svm.lamports(world.client.pubkey())
    world.claim(job, begin=True)
    world.finish(job)
    world.close(job)
    back = max(gift, world.svm.rent(768)) + max(gift, world.svm.rent(165))
    assert world.svm.lamports(world.client.pubkey()) == start + back


def test_a_prefunded_native_job_still_takes_the_whole_deposit(native: World) -> None:
    job = native.program.job_address(native.market_key, native.client.pubkey(), 600)
    native.svm.put(job, b"", SYSTEM_PROGRAM, 10**10)
    before = native.money(native.client)
    native.post(nonce=600)
    assert native.money(native.client) == before - 600_000
    native.cancel(job)
    native.close(job)
    assert native.money(native.client) == before + 10**10


def test_rent_is_what_the_chain_asks(native: World) -> None:
    """Rent is to fall: what was paid at the old rate comes back, the new rate is asked for new accounts."""
    old = native.post()
    full = native.svm.rent(768)
    native.svm.vm.set_rent(Rent.with_lamports_per_byte(696))
    assert native.svm.rent(768) < full / 4
    new = native.post()
    assert native.svm.lamports(new) == native.svm.rent(768) + 600_000
    before = native.money(native.client)
    native.cancel(old)
    native.close(old)
    assert native.money(native.client) == before + full + 600_000


def test_a_client_without_the_money_is_refused(world: World) -> None:
    poor = world.svm.wallet()
    if world.is_spl:
        world.svm.tokens(poor.pubkey(), world.mint, 599_999)
    else:
        world.svm.put(poor.pubkey(), b"", SYSTEM_PROGRAM, world.svm.rent(768) + 599_999)
    with pytest.raises(Exception, match=r"Custom\(1\)|insufficient"):
        world.post(client=poor)


def test_tokens_of_another_mint_or_owner_are_no_deposit(spl: World) -> None:
    other = spl.svm.mint()
    worthless = spl.svm.tokens(spl.client.pubkey(), other, 10**12)
    with refused("WrongTokenAccount"):
        spl.post(source=worthless)
    with refused("WrongTokenAccount"):
        spl.post(source=Keypair().pubkey())
    anothers = spl.svm.tokens(Keypair().pubkey(), spl.mint, 10**12)
    with refused("Callee: OwnerMismatch"):
        spl.post(source=anothers)


def test_clock_extremes() -> None:
    world = World()
    job = world.running()
    world.svm.set_clock(START_TIME - 1_000, world.svm.slot)
    world.finish(job)
    assert (world.job(job).used, world.job(job).state) == (1, JobState.SETTLED)


def test_the_program_runs_at_any_address() -> None:
    program = MarketsProgram(Keypair().pubkey())
    svm = Svm(program)
    owner, operator = svm.wallet(), svm.wallet()
    svm.send(program.create_market(owner.pubkey(), 1, World().terms), signers=[owner])
    market = svm.market(program.market_address(owner.pubkey(), 1))
    key = operator.pubkey()
    svm.send(program.register_node(key, market.address, SPECS, capacity=1, payout=key), signers=[operator])
    assert svm.node(program.node_address(market.address, key)).market == market.address
