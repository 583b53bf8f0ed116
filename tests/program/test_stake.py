"""Stake: put in by anyone, locked by claims, slashed, asked back, paid out, burnt."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import JobState, NodeState
from hypernode_worker.solana.addresses import token_address
from tests.support.market_world import SPECS, World
from tests.support.svm import START_TIME, refused

DAY = 86_400


@pytest.fixture
def world() -> World:
    """Each claim locks 100 and a lost job costs a fifth of it; nodes need 150."""
    made = World(staking=True, terms={"slash_bps": 2_000, "heartbeat_timeout": 0})
    made.update_market(min_stake=150, lock_per_job=100)
    made.svm.tokens(made.payout.pubkey(), made.stake_mint)
    return made


def vault(world: World) -> int:
    return world.svm.token_balance(world.program.stake_address(world.node_key))


def test_anyone_stakes_for_a_node(world: World) -> None:
    stranger = world.svm.wallet()
    landed = world.stake(40, funder=stranger)
    world.stake(2)
    assert (world.node.staked, vault(world)) == (42, 42)
    assert landed.events[0].fields["staked"] == 40
    with refused("InvalidAmount"):
        world.stake(0)


def test_a_market_without_a_stake_mint_takes_none() -> None:
    world = World()
    world.stake_mint = world.svm.mint()
    with refused("StakeNotSupported"):
        world.stake(1)


def test_stake_is_in_the_markets_mint(world: World) -> None:
    other = world.svm.mint()
    worthless = world.svm.tokens(world.operator.pubkey(), other, 100)
    key = world.operator.pubkey()
    with refused("WrongAddress"):
        world.send(world.program.stake(key, world.node, other, 100), world.operator)
    with refused("WrongTokenAccount"):
        world.send(world.program.stake(key, world.node, world.stake_mint, 100, source=worthless), world.operator)


def test_the_vault_is_the_nodes_own(world: World) -> None:
    world.stake(200)
    fake = world.svm.tokens(world.node_key, world.stake_mint, 10**6, address=Keypair().pubkey())
    world.unstake(200)
    world.svm.advance(DAY)
    real = world.program.stake_address(world.node_key)
    made = world.program.withdraw_stake(world.node, world.stake_mint)
    metas = [AccountMeta(fake if m.pubkey == real else m.pubkey, m.is_signer, m.is_writable) for m in made.accounts]
    with refused("WrongAddress"):
        world.send(Instruction(made.program_id, bytes(made.data), metas))


def test_claims_need_and_lock_stake(world: World) -> None:
    jobs = [world.post() for _ in range(3)]
    with refused("StakeTooLow"):
        world.claim(jobs[0])
    world.stake(149)
    with refused("StakeTooLow"):
        world.claim(jobs[0])
    world.stake(1)
    world.claim(jobs[0], begin=True)
    assert world.node.locked == 100
    with refused("StakeTooLow"):
        world.claim(jobs[1])
    world.stake(50)
    world.claim(jobs[1])
    with refused("StakeTooLow"):
        world.claim(jobs[2])
    world.finish(jobs[0])
    world.cancel(jobs[1])
    assert (world.node.locked, world.node.staked) == (0, 200)


def test_locked_stake_cannot_be_asked_back(world: World) -> None:
    world.stake(300)
    world.running()
    with refused("NotEnoughStake"):
        world.unstake(201)
    world.unstake(200)
    with refused("StakeTooLow"):
        world.claim(world.post())
    world.unstake(0)
    world.claim(world.post())


@pytest.mark.parametrize("who", ["operator", "payout"])
def test_unstaking_waits_for_the_cooldown_and_pays_the_payout_wallet(world: World, who: str) -> None:
    world.stake(300)
    with refused("NothingUnstaking"):
        world.withdraw()
    world.unstake(120, owner=getattr(world, who))
    assert (world.node.unstaking, world.node.unstake_at) == (120, START_TIME + DAY)
    world.svm.advance(DAY - 1)
    with refused("CooldownNotOver"):
        world.withdraw()
    world.svm.advance(1)
    world.withdraw()
    assert (world.node.staked, world.node.unstaking, vault(world)) == (180, 0, 180)
    assert world.svm.token_balance(token_address(world.payout.pubkey(), world.stake_mint)) == 120
    with refused("NothingUnstaking"):
        world.withdraw()


def test_a_new_request_replaces_the_last_and_starts_again(world: World) -> None:
    world.stake(300)
    world.unstake(120)
    world.svm.advance(DAY - 1)
    world.unstake(10)
    world.svm.advance(1)
    with refused("CooldownNotOver"):
        world.withdraw()


def test_strangers_ask_nothing_back_and_stake_is_paid_to_nobody_else(world: World) -> None:
    world.stake(300)
    thief = world.svm.wallet()
    with refused("WrongAuthority"):
        world.unstake(1, owner=thief)
    world.unstake(300)
    world.svm.advance(DAY)
    stolen = world.svm.tokens(thief.pubkey(), world.stake_mint)
    real = world.program.stake_address(world.node_key)
    for to in (stolen, real, thief.pubkey()):
        with refused("WrongPayee"):
            world.send(world.program.withdraw_stake(world.node, world.stake_mint, to=to))


def test_a_timed_out_job_costs_stake_that_nobody_gains(world: World) -> None:
    world.stake(300)
    job = world.running()
    world.unstake(200)
    world.svm.advance(1_000)
    landed = world.time_out(job)
    assert (world.node.staked, world.node.slashed, world.node.locked) == (280, 20, 0)
    assert (vault(world), landed.events[0].fields["slashed"]) == (300, 20)
    assert world.job(job).state == JobState.QUEUED
    world.svm.advance(DAY)
    world.withdraw()
    assert (world.node.staked, vault(world)) == (80, 100)


def test_jobs_keep_the_lock_of_their_creation(world: World) -> None:
    world.stake(1_000)
    job = world.post()
    world.update_market(lock_per_job=900, slash_bps=10_000)
    world.claim(job)
    assert world.node.locked == 100
    world.svm.advance(600)
    world.time_out(job)
    assert world.node.slashed == 20


def test_leaving_burns_what_was_slashed(world: World) -> None:
    world.stake(300)
    job = world.running()
    world.svm.advance(1_000)
    world.time_out(job)
    bare = world.program.deregister_node(world.node)
    with refused("NodeHasStake"):
        world.send(bare, world.operator)
    world.unstake(280)
    world.svm.advance(DAY)
    world.withdraw()
    with refused("MissingAccount"):
        world.send(bare, world.operator)
    leave = world.program.deregister_node(world.node, stake_mint=world.stake_mint)
    with refused("WrongMint"):
        other = world.program.deregister_node(world.node, stake_mint=world.svm.mint())
        world.send(other, world.operator)
    before = world.svm.lamports(world.payout.pubkey())
    supply = int.from_bytes(world.svm.get(world.stake_mint).data[36:44], "little")
    landed = world.svm.send(leave, signers=[world.operator], burnt=20)
    assert int.from_bytes(world.svm.get(world.stake_mint).data[36:44], "little") == supply - 20
    assert landed.events[0].fields["burnt"] == 20
    assert world.svm.lamports(world.payout.pubkey()) == before + world.svm.rent(320) + world.svm.rent(165)
    world.register(world.operator)
    world.stake(5)
    assert world.node.staked == 5


def test_stake_of_an_earlier_market_counts_for_nothing_and_comes_back(world: World) -> None:
    """An authority that makes its market again, with another stake mint, turns no old stake into new."""
    world.stake(300)
    old_mint, number = world.stake_mint, world.market.market_id
    world.svm.advance(1)
    world.send(world.program.close_market(world.owner.pubkey(), world.market_key), world.owner)
    world.stake_mint = world.svm.mint()
    again = world.program.create_market(world.owner.pubkey(), number, world.terms, stake_mint=world.stake_mint)
    world.send(again, world.owner)
    with refused("WrongMarket"):
        world.stake(10)
    with refused("WrongMarket"):
        world.claim(world.post())
    world.stake_mint = old_mint
    world.unstake(300)
    world.svm.advance(DAY)
    world.withdraw()
    world.send(world.program.deregister_node(world.node, stake_mint=old_mint), world.operator)
    assert world.svm.token_balance(token_address(world.payout.pubkey(), old_mint)) == 300


def test_a_strangers_dust_cannot_keep_a_node_from_leaving(world: World) -> None:
    """While a node drains only its own wallets add stake, or a base unit each cooldown would hold it for ever."""
    stranger = world.svm.wallet()
    world.stake(300)
    world.heartbeat(NodeState.DRAINING)
    world.unstake(300)
    world.svm.advance(DAY)
    with refused("WrongAuthority"):
        world.stake(1, funder=stranger)
    world.withdraw()
    with refused("WrongAuthority"):
        world.stake(1, funder=stranger)
    world.send(world.program.deregister_node(world.node, stake_mint=world.stake_mint), world.operator)
    assert not world.svm.exists(world.node_key)


@pytest.mark.parametrize("who", ["operator", "payout"])
def test_a_draining_nodes_own_wallets_add_stake(world: World, who: str) -> None:
    world.heartbeat(NodeState.DRAINING)
    world.stake(300, funder=getattr(world, who))
    assert world.node.staked == 300


def test_terms_that_stake_need_a_mint() -> None:
    cases: list[dict[str, Any]] = [{"min_stake": 1}, {"lock_per_job": 1}]
    for changes in cases:
        with refused("StakeWithoutMint"):
            World(terms=changes)


def test_a_prefunded_vault_is_used(world: World) -> None:
    world.svm.put(world.program.stake_address(world.node_key), b"", Pubkey.default(), 10**9)
    world.stake(7)
    assert (world.node.staked, vault(world)) == (7, 7)


def test_updating_keeps_the_stake(world: World) -> None:
    world.stake(300)
    world.register(world.operator, payout=world.payout.pubkey(), specs=dataclasses.replace(SPECS, gpu_count=1))
    assert (world.node.staked, world.node.specs.gpu_count) == (300, 1)
    world.stake(1)
