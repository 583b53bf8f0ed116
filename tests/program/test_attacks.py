"""Known classes of attack that no other file here is about; programs/README.md lists them all, with their tests."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from hypernode_worker.core.accounts import JobState, Requirements
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM
from hypernode_worker.solana.codec import DISCRIMINATOR_BYTES, codec
from hypernode_worker.solana.program import Payees
from tests.support.fuzzing import Fuzzed, complaint
from tests.support.market_world import CID, SPECS, World
from tests.support.spoiled_calls import CURRENCIES, RECIPES, TOKEN_2022, Prepared, Spoiled, prepared
from tests.support.svm import refused

HERE = Path(__file__).parent


def swapped(instruction: Instruction, changes: dict[Pubkey, Pubkey]) -> Instruction:
    """The instruction with other accounts at the places of these."""
    metas = [AccountMeta(changes.get(m.pubkey, m.pubkey), m.is_signer, m.is_writable) for m in instruction.accounts]
    return Instruction(instruction.program_id, bytes(instruction.data), metas)


# --- duplicate mutable accounts ---


@pytest.mark.parametrize("currency", CURRENCIES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_account_at_two_places_gains_nobody_anything(recipe: str, currency: str) -> None:
    case = prepared(recipe, currency)
    metas = case.call.instruction.accounts
    for first in range(len(metas)):
        for second in range(len(metas)):
            if metas[first].pubkey != metas[second].pubkey and not metas[first].is_signer:
                twice = AccountMeta(metas[second].pubkey, False, metas[first].is_writable)
                assert_harmless(case, case.with_meta(first, twice))


def assert_harmless(case: Prepared, instruction: Instruction) -> None:
    """Refused by name; or accepted, and all sums and invariants hold."""
    call = Spoiled(case.recipe, "twice", instruction, case.call.signers)
    assert complaint(case, Fuzzed(call, corrupted=False)) is None


# --- bumps ---


def below_canonical(world: World, *seeds: bytes) -> Iterator[tuple[int, Pubkey]]:
    """Lower bumps than the canonical one, with what they hash to: an address, or a point of the curve."""
    canonical = Pubkey.find_program_address(seeds, world.program.id)[1]
    for bump in range(canonical):
        pieces = b"".join([*seeds, bytes([bump]), bytes(world.program.id), b"ProgramDerivedAddress"])
        yield bump, Pubkey(hashlib.sha256(pieces).digest())


def post_with_bump(world: World, nonce: int, *, on_curve: bool) -> Pubkey:
    """Posts a job with another bump than the canonical one."""
    client, market = world.client.pubkey(), world.market
    seeds = (b"job", bytes(world.market_key), bytes(client), nonce.to_bytes(8, "little"))
    bump, address = next(pair for pair in below_canonical(world, *seeds) if pair[1].is_on_curve() == on_curve)
    wishes: dict[str, Any] = {"definition_cid": CID, "price": 1000, "timeout": 60, "requirements": Requirements()}
    made = world.program.create_job(client, market, nonce=nonce, **wishes)
    data = bytearray(made.data)
    data[codec().instructions["create_job"].offsets(DISCRIMINATOR_BYTES)["bump"]] = bump
    canonical = world.program.job_address(market.address, client, nonce)
    again = swapped(Instruction(made.program_id, bytes(data), made.accounts), {canonical: address})
    world.send(again, world.client)
    return address


def test_another_bump_makes_another_job_with_money_of_its_own(native: World) -> None:
    """Nothing is looked up by the canonical address: a job is known by the one that it has."""
    canonical = native.post(nonce=7)
    other = post_with_bump(native, 7, on_curve=False)
    native.cancel(other)
    assert native.svm.lamports(canonical) == native.svm.rent(768) + 600_000
    assert (native.job(other).refunded, native.job(canonical).state) == (60_000, JobState.QUEUED)


def test_a_bump_without_an_address_is_refused_by_name(native: World) -> None:
    """The runtime would end the program there."""
    with refused("WrongAddress"):
        post_with_bump(native, 7, on_curve=True)


def test_markets_and_nodes_have_one_address(native: World) -> None:
    owner, client = native.owner.pubkey(), native.client.pubkey()
    program = native.program
    market = program.create_market(owner, 900, native.terms)
    node = program.register_node(client, native.market_key, SPECS, capacity=1, payout=client)
    made = [
        (
            market,
            native.owner,
            program.market_address(owner, 900),
            (b"market", bytes(owner), (900).to_bytes(8, "little")),
        ),
        (
            node,
            native.client,
            program.node_address(native.market_key, client),
            (b"node", bytes(native.market_key), bytes(client)),
        ),
    ]
    for instruction, signer, canonical, seeds in made:
        for _, other in below_canonical(native, *seeds):
            with refused("WrongAddress"):
                native.send(swapped(instruction, {canonical: other}), signer)


# --- PDA sharing ---


def test_a_job_signs_for_its_own_escrow_only(spl: World) -> None:
    mine, other = spl.running(), spl.running()
    escrow = spl.job(other).escrow
    full = spl.svm.token_balance(escrow)
    built = spl.program.cancel_job(spl.job(spl.post()))
    with refused("WrongAddress"):
        spl.send(swapped(built, {spl.job(built.accounts[1].pubkey).escrow: escrow}), spl.client)
    done = spl.program.settle_job(spl.client.pubkey(), spl.job(mine))
    with refused("WrongJobState"):
        spl.send(swapped(done, {spl.job(mine).escrow: escrow}), spl.client)
    assert spl.svm.token_balance(escrow) == full


def test_a_node_signs_for_its_own_vault_only() -> None:
    world = World(staking=True)
    world.stake(100)
    rich, thief = world.program.stake_address(world.node_key), world.svm.wallet()
    poor = world.svm.node(world.register(thief))
    world.svm.tokens(thief.pubkey(), world.stake_mint, 50)
    world.send(world.program.stake(thief.pubkey(), poor, world.stake_mint, 50), thief)
    world.send(world.program.request_unstake(poor, 50), thief)
    world.svm.advance(86_400)
    withdraw = world.program.withdraw_stake(poor, world.stake_mint)
    with refused("WrongAddress"):
        world.send(swapped(withdraw, {world.program.stake_address(poor.address): rich}))
    assert world.svm.token_balance(rich) == 100


# --- closing, and reviving what was closed ---


def gift(world: World, to: Pubkey) -> Instruction:
    """Lamports that keep an address alive."""
    move = TransferParams(from_pubkey=world.client.pubkey(), to_pubkey=to, lamports=10**8)
    return transfer(move)


def test_a_job_that_is_revived_as_it_is_closed_is_empty(world: World) -> None:
    job = world.running()
    world.finish(job)
    close = world.program.close_job(world.client.pubkey(), world.job(job))
    again = world.program.settle_job(world.client.pubkey(), world.job(job))
    with refused("WrongOwner"):
        world.svm.send(close, gift(world, job), again, signers=[world.client])
    world.svm.send(close, gift(world, job), signers=[world.client])
    left = world.svm.get(job)
    assert (left.owner, left.data) == (SYSTEM_PROGRAM, b"")
    for late in (close, again):
        with refused("WrongOwner"):
            world.send(late, world.client)


def test_a_node_and_a_market_that_are_revived_are_empty(native: World) -> None:
    leave = native.program.deregister_node(native.node)
    native.svm.send(leave, gift(native, native.node_key), signers=[native.operator, native.client])
    with refused("WrongOwner"):
        native.heartbeat()
    native.svm.advance(1)
    end = native.program.close_market(native.owner.pubkey(), native.market_key)
    update = native.program.update_market(native.market, native.terms, paused=False)
    native.svm.send(end, gift(native, native.market_key), signers=[native.owner, native.client])
    with refused("WrongOwner"):
        native.send(update, native.owner)


# --- sysvars ---


def test_no_instruction_takes_a_sysvar_account() -> None:
    """Clock and rent are asked of the runtime: there is no account that could be another."""
    named = {account.name for spec in codec().idl.instructions.values() for account in spec.accounts}
    assert not [name for name in named if re.search("sysvar|clock|rent|instructions|slot", name)]


# --- Token-2022 ---

TRANSFER_FEE, TRANSFER_HOOK = (1, 108), (14, 64)


def extended(plain: bytes, extension: tuple[int, int] | None) -> bytes:
    """A Token-2022 mint: the plain one, padded to an account's size, its kind, and one extension."""
    if extension is None:
        return plain
    kind, size = extension
    return plain.ljust(165, b"\0") + b"\1" + kind.to_bytes(2, "little") + size.to_bytes(2, "little") + bytes(size)


@pytest.mark.parametrize("extension", [None, TRANSFER_FEE, TRANSFER_HOOK])
@pytest.mark.parametrize("owner", [TOKEN_2022, TOKEN_PROGRAM])
def test_no_market_has_a_mint_of_token_2022(native: World, extension: tuple[int, int] | None, owner: Pubkey) -> None:
    """Fees on transfers and hooks would make escrows hold less than is owed, or stop every exit."""
    mint, key = Keypair().pubkey(), native.owner.pubkey()
    plain = bytes(native.svm.get(native.svm.mint()).data)
    native.svm.put(mint, extended(plain, extension), owner)
    if (extension, owner) == (None, TOKEN_PROGRAM):
        native.send(native.program.create_market(key, 99, native.terms, payment_mint=mint), native.owner)
        return
    for mints in ({"payment_mint": mint}, {"stake_mint": mint}):
        with refused("WrongMint"):
            native.send(native.program.create_market(key, 99, native.terms, **mints), native.owner)


def test_token_accounts_of_token_2022_neither_pay_nor_are_paid(spl: World) -> None:
    genuine = spl.svm.get(spl.svm.tokens(spl.client.pubkey(), spl.mint, 10**9, address=Keypair().pubkey()))
    fake = Keypair().pubkey()
    spl.svm.put(fake, bytes(genuine.data), TOKEN_2022)
    with refused("WrongTokenAccount"):
        spl.post(source=fake)
    job = spl.post()
    with refused("WrongPayee"):
        spl.cancel(job, Payees(client_to=fake))


# --- initialization ---


def test_registering_again_gives_no_credit_back(native: World) -> None:
    job = native.running()
    native.release(job)
    assert native.node.credit == 70
    native.register(native.operator, payout=native.payout.pubkey(), specs=SPECS)
    assert native.node.credit == 70


# --- front-running ---


def test_a_copied_claim_claims_nothing(native: World) -> None:
    """Whoever sees a claim in flight can only send his own, from his own slot on."""
    thief = native.another_node()
    seen = native.program.work_job(native.operator.pubkey(), native.job(native.post()), begin=True)
    theirs = native.program.node_address(native.market_key, thief.pubkey())
    with refused("WrongAuthority"):
        native.send(swapped(seen, {native.operator.pubkey(): thief.pubkey()}), thief)
    native.send(swapped(seen, {native.operator.pubkey(): thief.pubkey(), native.node_key: theirs}), thief)
    with refused("WrongJobState"):
        native.send(seen, native.operator)


# --- the table ---

CLASSES = (
    "signer authorization", "account data matching", "owner checks", "type cosplay", "initialization", "arbitrary CPI",
    "duplicate mutable accounts", "bump seed canonicalization", "PDA sharing", "closing accounts",
    "sysvar address checking", "close and revive", "Token-2022", "wrapped SOL", "front-run claims", "sybil claims",
    "self-dealing", "prefunded addresses", "dust", "a market made again",
)  # fmt: skip


def rows() -> dict[str, list[str]]:
    """The attacks of the table, each with the tests that it names."""
    text = (HERE.parents[1] / "programs" / "README.md").read_text()
    section = text.split("## Attacks\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return {row[0].strip(): re.findall(r"`(test_\w+\.py::test_\w+)`", row[2]) for row in cells[1:]}


def test_the_table_has_every_class_and_each_has_a_test() -> None:
    table = rows()
    assert [name for name in CLASSES if not any(row.startswith(name) for row in table)] == []
    assert [name for name, tests in table.items() if not tests] == []


def test_each_test_that_the_table_names_exists() -> None:
    for named in {name for tests in rows().values() for name in tests}:
        file, test = named.split("::")
        tree = ast.parse((HERE / file).read_text())
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, named
