"""Registering, updating and removing nodes."""

from __future__ import annotations

import dataclasses

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NodeSpecs, NodeState
from tests.support.market_world import SPECS, World
from tests.support.svm import START_SLOT, START_TIME, refused


def update(world: World, payout: Pubkey, old: Pubkey | None, specs: NodeSpecs = SPECS) -> Instruction:
    key = world.operator.pubkey()
    return world.program.register_node(key, world.market_key, specs, capacity=9, payout=payout, old_payout=old)


def test_a_node_starts_with_the_markets_credit(native: World) -> None:
    node = native.node
    assert node.specs == SPECS
    assert (node.market, node.authority, node.payout) == (
        native.market_key, native.operator.pubkey(), native.payout.pubkey(),
    )  # fmt: skip
    assert (node.capacity, node.credit, node.state, node.market_slot) == (4, 75, NodeState.ACTIVE, START_SLOT)
    assert (node.registered_at, node.last_seen, node.unstake_cooldown) == (START_TIME, START_TIME, 86_400)
    assert (node.active_jobs, node.open_jobs, node.staked, node.completed) == (0, 0, 0, 0)


def test_registering_again_updates_and_keeps_reputation_and_state(native: World) -> None:
    native.finish(native.running())
    native.heartbeat(NodeState.DRAINING)
    specs = dataclasses.replace(SPECS, gpu_count=8, country=b"\0\0", specs_cid=None)
    native.svm.advance(50)
    native.send(update(native, native.payout.pubkey(), None, specs), native.operator)
    node = native.node
    assert (node.specs, node.capacity, node.completed, node.state) == (specs, 9, 1, NodeState.DRAINING)
    assert (node.registered_at, node.last_seen) == (START_TIME, START_TIME + 50)


def test_a_new_payout_needs_the_old_ones_signature(native: World) -> None:
    new = native.svm.wallet(0).pubkey()
    with refused("PayoutNotSigned"):
        native.send(update(native, new, None), native.operator)
    other = native.svm.wallet()
    with refused("PayoutNotSigned"):
        native.send(update(native, new, other.pubkey()), native.operator, other)
    unsigned = update(native, new, native.payout.pubkey())
    metas = [AccountMeta(m.pubkey, m.is_signer and i != 3, m.is_writable) for i, m in enumerate(unsigned.accounts)]
    with refused("PayoutNotSigned"):
        native.send(Instruction(unsigned.program_id, unsigned.data, metas), native.operator)
    native.send(unsigned, native.operator, native.payout)
    assert native.node.payout == new


def test_a_payout_that_is_the_authority_has_signed_already(native: World) -> None:
    operator = native.another_node()
    new = Keypair().pubkey()
    build = native.program.register_node
    native.send(build(operator.pubkey(), native.market_key, SPECS, capacity=1, payout=new), operator)
    assert native.svm.node(native.program.node_address(native.market_key, operator.pubkey())).payout == new


def test_running_jobs_are_paid_to_the_payout_of_their_claim(native: World) -> None:
    job, new = native.running(), native.svm.wallet(1)
    native.send(update(native, new.pubkey(), native.payout.pubkey()), native.operator, native.payout)
    before = native.money(native.payout)
    native.svm.advance(10)
    native.finish(job)
    assert native.money(native.payout) == before + 9_900
    assert native.money(new) == 10**9


@pytest.mark.parametrize(
    "changes", [{"isolation": 2}, {"gpu_vendor": 4}, {"country": b"de"}, {"country": b"D\0"}, {"country": b"12"}]
)
def test_specs_out_of_range_are_refused(native: World, changes: dict[str, int]) -> None:
    with refused("InvalidSpecs"):
        native.another_node(specs=dataclasses.replace(SPECS, **changes))


def test_payouts_that_could_never_be_paid_are_refused(native: World) -> None:
    for payout in (Pubkey.default(), native.program.id):
        with refused("InvalidPayout"):
            native.another_node(payout=payout)
    with refused("InvalidCapacity"):
        native.another_node(capacity=0)


def test_a_malformed_cid_is_refused(native: World) -> None:
    built = update(native, native.payout.pubkey(), None)
    data = bytearray(built.data)
    start = 8 + 27
    assert data[start : start + 4] == bytes((1, 0x55, 0x12, 0x20))
    for at, value in ((0, 2), (1, 0x71), (2, 0x13), (3, 0x40), (0, 0)):
        bad = bytearray(data)
        bad[start + at] = value
        with refused("InvalidCid"):
            native.send(Instruction(built.program_id, bytes(bad), built.accounts), native.operator)


def test_heartbeats_set_state_and_last_seen(native: World) -> None:
    native.svm.advance(30)
    native.heartbeat(NodeState.DRAINING)
    assert (native.node.state, native.node.last_seen) == (NodeState.DRAINING, START_TIME + 30)
    with refused("NodeNotActive"):
        native.claim(native.post())
    native.heartbeat()
    native.claim(native.post())
    beat = native.program.heartbeat_node(native.operator.pubkey(), native.market_key, NodeState.ACTIVE)
    with refused("InvalidNodeState"):
        native.send(Instruction(beat.program_id, bytes(beat.data)[:8] + b"\x02", beat.accounts), native.operator)
    thief = native.svm.wallet()
    metas = [AccountMeta(thief.pubkey(), True, False), *beat.accounts[1:]]
    with refused("WrongAuthority"):
        native.send(Instruction(beat.program_id, bytes(beat.data), metas), thief)


@pytest.mark.parametrize("who", ["operator", "payout"])
def test_authority_or_payout_remove_a_node_and_the_payout_gets_its_rent(native: World, who: str) -> None:
    owner: Keypair = getattr(native, who)
    before = native.svm.lamports(native.payout.pubkey())
    native.send(native.program.deregister_node(native.node, owner=owner.pubkey()), owner)
    assert native.svm.lamports(native.payout.pubkey()) == before + native.svm.rent(320)
    assert not native.svm.exists(native.node_key)


def test_nobody_else_removes_a_node_nor_takes_its_rent(native: World) -> None:
    thief = native.svm.wallet()
    with refused("WrongAuthority"):
        native.send(native.program.deregister_node(native.node, owner=thief.pubkey()), thief)
    robbed = dataclasses.replace(native.node, payout=thief.pubkey())
    with refused("WrongAddress"):
        native.send(native.program.deregister_node(robbed), native.operator)


def test_a_node_with_open_jobs_stays(native: World) -> None:
    job = native.running()
    with refused("NodeHasJobs"):
        native.send(native.program.deregister_node(native.node), native.operator)
    native.finish(job)
    native.send(native.program.deregister_node(native.node), native.operator)
    with refused("WrongOwner"):
        native.heartbeat()


def test_nobody_registers_at_anothers_address(native: World) -> None:
    thief = native.svm.wallet()
    build = native.program.register_node
    theirs = build(thief.pubkey(), native.market_key, SPECS, capacity=1, payout=thief.pubkey())
    metas = [theirs.accounts[0], AccountMeta(native.node_key, False, True), *theirs.accounts[2:]]
    with refused("WrongAuthority"):
        native.send(Instruction(theirs.program_id, bytes(theirs.data), metas), thief)
    vacant = native.program.node_address(native.market_key, Keypair().pubkey())
    metas = [theirs.accounts[0], AccountMeta(vacant, False, True), *theirs.accounts[2:]]
    with refused("WrongAddress"):
        native.send(Instruction(theirs.program_id, bytes(theirs.data), metas), thief)
