"""No party's account can block what is due to another: what can't be delivered is owed, and paid later by anyone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM, token_address
from hypernode_worker.solana.program import Payees
from tests.support.market_world import DIGEST, RESULT, World
from tests.support.svm import refused

DAYS_90 = 90 * 24 * 3600
NODE, FEE, REST = 9_900, 100, 590_000


def finished(world: World) -> Job:
    """A job that ran ten seconds: gross 10,000."""
    job = world.running()
    world.svm.advance(10)
    world.finish(job)
    return world.job(job)


def read_only(instruction: Instruction, *addresses: Pubkey) -> Instruction:
    metas = [
        AccountMeta(m.pubkey, m.is_signer, m.is_writable and m.pubkey not in addresses) for m in instruction.accounts
    ]
    return Instruction(instruction.program_id, bytes(instruction.data), metas)


# --- native: a wallet can be too poor, the program's own, a program, or read-only ---


def empty(world: World, wallet: Pubkey) -> None:
    world.svm.put(wallet, b"", SYSTEM_PROGRAM, 0)


def test_a_payout_below_rent_exemption_is_owed_and_paid_once_it_is_there(native: World) -> None:
    empty(native, native.payout.pubkey())
    job = finished(native)
    assert (job.state, job.paid, job.owed_node, job.fee, job.refunded) == (JobState.SETTLED, 0, NODE, FEE, REST)
    with refused("NothingDelivered"):
        native.settle(job.address)
    native.svm.put(native.payout.pubkey(), b"", SYSTEM_PROGRAM, 10**9)
    anyone = native.svm.wallet()
    landed = native.settle(job.address, caller=anyone)
    assert native.money(native.payout) == 10**9 + NODE
    assert (native.job(job.address).paid, native.job(job.address).owed) == (NODE, 0)
    assert [e.name for e in landed.events] == ["JobDelivered"]
    with refused("NothingOwed"):
        native.settle(job.address)


def test_a_payment_that_itself_reaches_rent_exemption_is_delivered(native: World) -> None:
    empty(native, native.payout.pubkey())
    job = native.running(price=1_000_000)
    native.svm.advance(10)
    native.finish(job)
    assert native.job(job).paid == 9_900_000
    assert native.money(native.payout) == 9_900_000


def test_dust_stays_owed_until_more_comes(native: World) -> None:
    rent = native.svm.rent(0)
    native.svm.put(native.fees.pubkey(), b"", SYSTEM_PROGRAM, rent - FEE - 1)
    assert finished(native).owed_fee == FEE
    native.svm.put(native.fees.pubkey(), b"", SYSTEM_PROGRAM, rent - FEE)
    assert finished(native).owed_fee == 0


def test_payees_that_are_programs_or_the_programs_own_are_unable(native: World) -> None:
    operator = native.another_node(payout=native.market_key)
    job = native.post()
    native.claim(job, begin=True, operator=operator)
    before = native.svm.lamports(native.market_key)
    native.finish(job, operator=operator)
    assert native.job(job).owed_node > 0
    assert native.svm.lamports(native.market_key) == before
    native.update_market(fee_receiver=TOKEN_PROGRAM)
    assert finished(native).owed_fee == FEE


def test_a_payee_that_the_runtime_keeps_read_only_is_unable(native: World) -> None:
    clock = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
    operator = native.another_node(payout=clock)
    job = native.post()
    native.claim(job, begin=True, operator=operator)
    native.svm.advance(10)
    native.finish(job, operator=operator)
    assert (native.job(job).owed_node, native.job(job).refunded) == (NODE, REST)


@pytest.mark.parametrize("name", ["payout", "client", "fees"])
def test_nobody_withholds_by_passing_a_wallet_read_only(native: World, name: str) -> None:
    job, wallet = native.running(), getattr(native, name).pubkey()
    built = native.program.finish_job(
        native.operator.pubkey(), native.job(job), result_cid=RESULT, result_hash=DIGEST, exit_status=0
    )
    with refused("PayeeReadOnly"):
        native.send(read_only(built, wallet), native.operator)


@pytest.mark.parametrize("name", ["payout_to", "client_to", "fee_to"])
def test_nobody_redirects_a_payment(world: World, name: str) -> None:
    thief = world.svm.wallet()
    to = world.svm.tokens(thief.pubkey(), world.mint) if world.is_spl else thief.pubkey()
    job = world.running()
    everyone = world.program.payees(world.job(job))
    with refused("WrongPayee"):
        world.finish(job, payees=dataclasses.replace(everyone, **{name: to}))


def test_one_wallet_may_be_every_payee(native: World) -> None:
    """The same account at three places: each amount arrives."""
    native.update_market(fee_receiver=native.client.pubkey())
    operator = native.another_node(payout=native.client.pubkey())
    job = native.post()
    paid_in = native.money(native.client)
    native.claim(job, begin=True, operator=operator)
    native.svm.advance(10)
    native.finish(job, operator=operator)
    assert native.money(native.client) == paid_in + 600_000
    assert (native.job(job).paid, native.job(job).fee, native.job(job).refunded) == (NODE, FEE, REST)


# --- SPL: token accounts can be missing, frozen, given away, or of another mint ---


def missing(world: World, account: Pubkey) -> None:
    world.svm.put(account, b"", SYSTEM_PROGRAM, 0)


def frozen(world: World, account: Pubkey) -> None:
    world.svm.freeze(account)


def given_away(world: World, account: Pubkey) -> None:
    world.svm.tokens(Keypair().pubkey(), world.mint, address=account)


def prefunded(world: World, account: Pubkey) -> None:
    world.svm.put(account, b"", SYSTEM_PROGRAM, 1)


@pytest.mark.parametrize("spoil", [missing, frozen, given_away, prefunded])
def test_a_token_account_that_cannot_receive_is_owed(spl: World, spoil: Callable[[World, Pubkey], None]) -> None:
    account = token_address(spl.payout.pubkey(), spl.mint)
    spoil(spl, account)
    job = finished(spl)
    assert (job.owed_node, job.fee, job.refunded) == (NODE, FEE, REST)
    with refused("NothingDelivered"):
        spl.settle(job.address)
    spl.svm.tokens(spl.payout.pubkey(), spl.mint)
    spl.settle(job.address, caller=spl.svm.wallet())
    assert spl.svm.token_balance(account) == NODE


def test_any_live_token_account_of_the_wallet_will_do(spl: World) -> None:
    other = spl.svm.tokens(spl.payout.pubkey(), spl.mint, address=Keypair().pubkey())
    job = spl.running()
    spl.svm.advance(10)
    spl.finish(job, payees=dataclasses.replace(spl.program.payees(spl.job(job)), payout_to=other))
    assert spl.svm.token_balance(other) == NODE


def test_only_the_associated_account_is_taken_as_unable(spl: World) -> None:
    job = spl.running()
    everyone = spl.program.payees(spl.job(job))
    key = spl.payout.pubkey()
    others = [
        Keypair().pubkey(),
        key,
        spl.svm.tokens(key, spl.mint, address=Keypair().pubkey(), frozen=True),
        spl.svm.tokens(key, spl.svm.mint()),
        spl.svm.mint(),
    ]
    for account in others:
        with refused("WrongPayee"):
            spl.finish(job, payees=dataclasses.replace(everyone, payout_to=account))


def test_the_escrow_is_no_payee(spl: World) -> None:
    job = spl.running()
    everyone = spl.program.payees(spl.job(job))
    with refused("WrongPayee"):
        spl.finish(job, payees=dataclasses.replace(everyone, client_to=spl.job(job).escrow))


def test_a_frozen_escrow_makes_all_unable_and_still_lets_the_job_end(spl: World) -> None:
    job = spl.running()
    spl.svm.freeze(spl.job(job).escrow)
    spl.svm.advance(10)
    spl.finish(job)
    owing = spl.job(job)
    assert (owing.owed_node, owing.owed_fee, owing.owed_client) == (NODE, FEE, REST)
    assert (owing.state, spl.node.open_jobs) == (JobState.SETTLED, 0)
    with refused("NothingDelivered"):
        spl.settle(job)
    spl.svm.advance(DAYS_90)
    with refused("EscrowNotEmptied"):
        spl.close(job)
    spl.svm.freeze(owing.escrow, frozen=False)
    spl.settle(job)
    assert spl.job(job).owed == 0
    spl.close(job)


@pytest.mark.parametrize("end", ["cancel", "timeout"])
def test_a_client_that_cannot_receive_does_not_block_the_end(spl: World, end: str) -> None:
    job = spl.post()
    account = token_address(spl.client.pubkey(), spl.mint)
    spl.svm.freeze(account)
    if end == "cancel":
        spl.cancel(job)
    else:
        spl.svm.advance(3600)
        spl.time_out(job)
    assert spl.job(job).owed_client == 600_000
    with refused("EscrowNotEmptied"):
        spl.close(job)
    spl.svm.freeze(account, frozen=False)
    spl.close(job)
    assert not spl.svm.exists(job)


def test_token_accounts_passed_read_only_are_an_error(spl: World) -> None:
    job = spl.running()
    built = spl.program.finish_job(
        spl.operator.pubkey(), spl.job(job), result_cid=RESULT, result_hash=DIGEST, exit_status=0
    )
    for wallet in (spl.payout, spl.client, spl.fees):
        with refused("PayeeReadOnly"):
            spl.send(read_only(built, token_address(wallet.pubkey(), spl.mint)), spl.operator)
    with refused("NotWritable"):
        spl.send(read_only(built, spl.job(job).escrow), spl.operator)


def test_the_escrow_and_token_program_must_be_the_real_ones(spl: World) -> None:
    job = spl.running()
    built = spl.program.finish_job(
        spl.operator.pubkey(), spl.job(job), result_cid=RESULT, result_hash=DIGEST, exit_status=0
    )
    fake = spl.svm.tokens(job, spl.mint, 10**9, address=Keypair().pubkey())

    def swapped(old: Pubkey, new: Pubkey) -> Instruction:
        metas = [AccountMeta(new if m.pubkey == old else m.pubkey, m.is_signer, m.is_writable) for m in built.accounts]
        return Instruction(built.program_id, bytes(built.data), metas)

    with refused("WrongAddress"):
        spl.send(swapped(spl.job(job).escrow, fake), spl.operator)
    with refused("MissingAccount"):
        spl.send(swapped(spl.job(job).escrow, spl.program.id), spl.operator)
    with refused("WrongProgram"):
        spl.send(swapped(TOKEN_PROGRAM, spl.program.id), spl.operator)


# --- what is owed is kept, and for how long ---


def test_settling_pays_those_who_are_given(world: World) -> None:
    if world.is_spl:
        for wallet in (world.payout, world.fees):
            frozen(world, token_address(wallet.pubkey(), world.mint))
    else:
        empty(world, world.payout.pubkey())
        empty(world, world.fees.pubkey())
    job = finished(world)
    assert (job.owed_node, job.owed_fee) == (NODE, FEE)
    if world.is_spl:
        world.svm.freeze(token_address(world.fees.pubkey(), world.mint), frozen=False)
    else:
        world.svm.put(world.fees.pubkey(), b"", SYSTEM_PROGRAM, 10**9)
    everyone = world.program.payees(job)
    with refused("NothingDelivered"):
        world.settle(job.address, payees=Payees(payout_to=everyone.payout_to))
    world.settle(job.address, payees=Payees(fee_to=everyone.fee_to))
    assert (world.job(job.address).owed_node, world.job(job.address).owed_fee) == (NODE, 0)


def test_a_client_does_not_close_over_what_is_owed_to_others(native: World) -> None:
    empty(native, native.payout.pubkey())
    job = finished(native)
    with refused("StillOwed"):
        native.close(job.address)
    native.svm.advance(DAYS_90 - 1)
    with refused("StillOwed"):
        native.close(job.address)
    native.svm.advance(1)
    before = native.money(native.client)
    native.close(job.address, caller=native.svm.wallet())
    assert native.money(native.client) == before + native.svm.rent(768) + NODE


def test_closing_delivers_what_can_be_delivered(native: World) -> None:
    empty(native, native.payout.pubkey())
    job = finished(native)
    native.svm.put(native.payout.pubkey(), b"", SYSTEM_PROGRAM, 10**9)
    native.close(job.address)
    assert native.money(native.payout) == 10**9 + NODE


def test_strangers_close_after_90_days_and_gain_nothing(world: World) -> None:
    job, stranger = finished(world), world.svm.wallet()
    with refused("WrongAuthority"):
        world.close(job.address, caller=stranger)
    world.svm.advance(DAYS_90)
    before, rent = world.svm.lamports(world.client.pubkey()), world.svm.lamports(job.address)
    rent += world.svm.lamports(job.escrow) if world.is_spl else 0
    world.close(job.address, caller=stranger)
    assert world.svm.lamports(world.client.pubkey()) == before + rent
    assert world.svm.lamports(stranger.pubkey()) == 100 * 10**9


def test_gifts_to_an_escrow_go_to_the_client(world: World) -> None:
    job = world.post()
    before = world.svm.lamports(job)
    world.svm.put(job, world.svm.get(job).data, world.program.id, before + 777)
    if world.is_spl:
        escrow = world.job(job).escrow
        account = world.svm.get(escrow)
        data = bytearray(account.data)
        data[64:72] = (600_555).to_bytes(8, "little")
        world.svm.put(escrow, bytes(data), TOKEN_PROGRAM, account.lamports)
    world.claim(job, begin=True)
    world.svm.advance(10)
    world.finish(job)
    assert world.job(job).refunded == REST
    purse = world.money(world.client)
    world.close(job)
    gained = world.money(world.client) - purse
    assert gained == (555 if world.is_spl else 777 + world.svm.rent(768))


def test_closing_goes_to_the_client_only(world: World) -> None:
    job = finished(world)
    thief = world.svm.wallet()
    stolen = dataclasses.replace(job, client=thief.pubkey())
    with refused("WrongAddress"):
        world.send(world.program.close_job(thief.pubkey(), stolen), thief)
