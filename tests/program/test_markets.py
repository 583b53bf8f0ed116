"""Making, changing and closing markets."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import MarketTerms, Requirements
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM, WRAPPED_SOL
from tests.support.market_world import CID, World
from tests.support.svm import START_SLOT, Svm, refused

MONTH = 30 * 24 * 3600
SOMEONE = Keypair().pubkey()
EVERYTHING = MarketTerms(
    fee_bps=1,
    slash_bps=2,
    bond_bps=10_000,
    claim_spread_slots=3,
    max_capacity=4,
    start_credit=200,
    max_attempts=5,
    flags=3,
    arbiter=SOMEONE,
    fee_receiver=Keypair().pubkey(),
    min_price=2**64 - 1,
    credit_pay=8,
    max_timeout=MONTH,
    setup_timeout=9,
    queue_timeout=10,
    resolve_timeout=12,
    heartbeat_timeout=13,
    finish_grace=14,
    unstake_cooldown=15,
    spec_cid=Cid.of(b"spec"),
)


def test_a_market_holds_its_terms_and_who_made_it() -> None:
    svm, owner = Svm(), Keypair()
    svm.put(owner.pubkey(), b"", SYSTEM_PROGRAM, 10**9)
    mint = svm.mint()
    landed = svm.send(
        svm.program.create_market(owner.pubkey(), 2**64 - 1, EVERYTHING, payment_mint=mint), signers=[owner]
    )
    market = svm.market(svm.program.market_address(owner.pubkey(), 2**64 - 1))
    assert market.terms == EVERYTHING
    assert (market.authority, market.payment_mint, market.stake_mint) == (owner.pubkey(), mint, Pubkey.default())
    assert (market.market_id, market.paused, market.version) == (2**64 - 1, 0, 1)
    assert (market.created_slot, market.revision) == (START_SLOT, START_SLOT)
    assert [e.name for e in landed.events] == ["MarketCreated"]
    assert svm.lamports(market.address) == svm.rent(320)


def test_a_market_is_made_once(native: World) -> None:
    number = native.market.market_id
    with refused("AccountExists"):
        native.send(native.program.create_market(native.owner.pubkey(), number, native.terms), native.owner)


BAD_TERMS: list[tuple[dict[str, Any], str]] = [
    ({"fee_bps": 10_001}, "InvalidShare"),
    ({"slash_bps": 10_001}, "InvalidShare"),
    ({"bond_bps": 65_535}, "InvalidShare"),
    ({"max_attempts": 0}, "InvalidCapacity"),
    ({"max_capacity": 0}, "InvalidCapacity"),
    ({"start_credit": 201}, "InvalidCredit"),
    ({"flags": 4}, "InvalidFlags"),
    ({"max_timeout": 0}, "InvalidPeriod"),
    ({"setup_timeout": 0}, "InvalidPeriod"),
    ({"queue_timeout": 0}, "InvalidPeriod"),
    ({"finish_grace": 0}, "InvalidPeriod"),
    *[
        ({name: MONTH + 1}, "InvalidPeriod")
        for name in (
            "max_timeout", "setup_timeout", "queue_timeout", "review_period", "resolve_timeout",
            "heartbeat_timeout", "finish_grace", "unstake_cooldown",
        )
    ],
    ({"review_period": 10, "resolve_timeout": 0, "arbiter": SOMEONE}, "InvalidReview"),
    ({"review_period": 10, "resolve_timeout": 10}, "InvalidReview"),
    ({"claim_spread_slots": 201, "queue_timeout": 100}, "WindowTooLong"),
    ({"fee_receiver": Pubkey.default()}, "InvalidFeeReceiver"),
    ({"fee_receiver": Svm().program.id}, "InvalidFeeReceiver"),
    ({"fee_receiver": Svm().program.id, "fee_bps": 0}, "InvalidFeeReceiver"),
    ({"lock_per_job": 1}, "StakeWithoutMint"),
    ({"min_stake": 1}, "StakeWithoutMint"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error"), BAD_TERMS)
def test_bad_terms_are_refused_when_made_and_when_changed(native: World, changes: dict[str, Any], error: str) -> None:
    with refused(error):
        native.make_market(**changes)
    with refused(error):
        native.update_market(**changes)


def test_no_fee_needs_no_receiver(native: World) -> None:
    native.make_market(fee_bps=0, fee_receiver=Pubkey.default())


def test_mints_are_checked(native: World) -> None:
    svm, owner = native.svm, native.owner.pubkey()
    svm.mint(WRAPPED_SOL)
    uninitialized = Keypair().pubkey()
    svm.put(uninitialized, bytes(82), TOKEN_PROGRAM)
    foreign = Keypair().pubkey()
    svm.put(foreign, svm.get(svm.mint()).data, Keypair().pubkey())
    not_a_mint = svm.tokens(owner, svm.mint())
    for mint in (WRAPPED_SOL, uninitialized, foreign, not_a_mint, Keypair().pubkey()):
        with refused("WrongMint"):
            native.send(native.program.create_market(owner, 99, native.terms, payment_mint=mint), native.owner)
        with refused("WrongMint"):
            native.send(native.program.create_market(owner, 99, native.terms, stake_mint=mint), native.owner)


def test_an_update_replaces_terms_and_counts_revisions(native: World) -> None:
    first = native.market.revision
    native.update_market(paused=True, min_price=77, spec_cid=Cid.of(b"rules"))
    market = native.market
    assert market.terms == dataclasses.replace(native.terms, min_price=77, spec_cid=Cid.of(b"rules"))
    assert (market.revision, market.paused) == (first + 1, 1)
    native.update_market(paused=False)
    assert (native.market.revision, native.market.paused) == (first + 2, 0)


def test_only_its_authority_changes_or_closes_a_market(native: World) -> None:
    thief = native.svm.wallet()
    stolen = dataclasses.replace(native.market, authority=thief.pubkey())
    with refused("WrongAuthority"):
        native.send(native.program.update_market(stolen, native.terms, paused=False), thief)
    native.svm.advance(1)
    with refused("WrongAuthority"):
        native.send(native.program.close_market(thief.pubkey(), native.market_key), thief)


def test_jobs_keep_the_terms_they_were_created_with(native: World) -> None:
    job = native.post()
    native.update_market(fee_bps=9_000, finish_grace=1, max_attempts=1, fee_receiver=SOMEONE)
    kept = native.job(job)
    assert (kept.fee_bps, kept.finish_grace, kept.max_attempts) == (100, 120, 3)
    assert kept.fee_receiver == native.fees.pubkey()


def test_pausing_stops_new_jobs_and_claims_but_no_exit(world: World) -> None:
    queued, claimed = world.post(), world.post()
    running = world.running()
    world.claim(claimed)
    world.update_market(paused=True)
    with refused("MarketPaused"):
        world.post()
    with refused("MarketPaused"):
        world.claim(queued)
    world.begin(claimed)
    world.finish(claimed)
    world.finish(running)
    world.cancel(queued)
    world.close(queued)


def test_closing_gives_the_rent_back_and_strands_nothing(world: World) -> None:
    queued, claimed, running = world.post(), world.post(), world.running()
    world.claim(claimed)
    with refused("MarketTooNew"):
        world.send(world.program.close_market(world.owner.pubkey(), world.market_key), world.owner)
    world.svm.advance(1)
    before = world.svm.lamports(world.owner.pubkey())
    world.send(world.program.close_market(world.owner.pubkey(), world.market_key), world.owner)
    assert world.svm.lamports(world.owner.pubkey()) == before + world.svm.rent(320)
    assert not world.svm.exists(world.market_key)
    world.finish(running)
    world.cancel(claimed)
    world.svm.advance(3600)
    world.time_out(queued)
    for job in (queued, claimed, running):
        world.close(job)
    world.send(world.program.deregister_node(world.node), world.operator)


def test_jobs_and_nodes_of_a_market_made_again_dont_match(world: World) -> None:
    old_job = world.post()
    number = world.market.market_id
    world.svm.advance(1)
    world.send(world.program.close_market(world.owner.pubkey(), world.market_key), world.owner)
    remade = world.program.create_market(world.owner.pubkey(), number, world.terms, payment_mint=world.mint)
    world.send(remade, world.owner)
    new_job = world.post()
    for job in (old_job, new_job):
        with refused("WrongMarket"):
            world.claim(job)
    with refused("WrongMarket"):
        world.register(world.operator, payout=world.payout.pubkey())
    world.send(world.program.deregister_node(world.node), world.operator)
    world.register(world.operator, payout=world.payout.pubkey())
    with refused("WrongMarket"):
        world.claim(old_job)
    world.claim(new_job, begin=True)
    world.finish(new_job)
    world.cancel(old_job)


def remake(world: World, **changes: Any) -> None:
    """Closes the market and makes it again at its address, in one transaction."""
    owner, market = world.owner.pubkey(), world.market
    terms = dataclasses.replace(market.terms, **changes)
    close = world.program.close_market(owner, market.address)
    again = world.program.create_market(owner, market.market_id, terms, payment_mint=world.mint)
    world.svm.send(close, again, signers=[world.owner])


def test_a_client_never_meets_the_terms_of_a_market_made_again(world: World) -> None:
    """What it read had a review; without one, a node of the owner's could take the deposit for any result."""
    world.market_key = world.make_market(review_period=600, arbiter=SOMEONE)
    world.svm.advance(1)
    build, key = world.program.create_job, world.client.pubkey()
    seen = build(key, world.market, nonce=70, definition_cid=CID, price=1000, timeout=600, requirements=Requirements())
    remake(world, review_period=0)
    with refused("RevisionChanged"):
        world.send(seen, world.client)


def test_no_number_of_updates_brings_a_market_made_again_to_an_old_revision(native: World) -> None:
    """Revisions begin at the slot and grow by one an update: a market that ran ahead of the slots can't be closed."""
    for _ in range(5):
        native.update_market()
    reached = native.market.revision
    while native.svm.slot <= reached:
        with refused("MarketTooNew"):
            remake(native)
        native.svm.advance(slots=1)
    remake(native)
    assert native.market.revision > reached
