"""Every call of the program, spoiled in every way that the IDL lets one think of.

From one world for each instruction and currency: failing calls change nothing, so all of them start from it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.solana.addresses import TOKEN_PROGRAM
from hypernode_worker.solana.codec import DISCRIMINATOR_BYTES, codec
from hypernode_worker.solana.idl_file import AccountSpec
from tests.support.market_world import SPECS, World
from tests.support.program_calls import CALLS, Call
from tests.support.svm import START_SLOT, START_TIME

IDL = codec().idl
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
CURRENCIES = ("native", "spl")
# Where an account names the people and accounts that it belongs to.
JOB_BYTES, ESCROW = 768, slice(232, 264)
RELATIONS = {"market": (32,), "node": (48, 80), "job": (48, 80, ESCROW.start)}


@dataclass(frozen=True, slots=True)
class Spoiled:
    """One spoiled call: at which account or argument, and how.

    Attributes:
        planted: accounts that stand in the world for this call only.
    """

    place: str
    spoil: str
    instruction: Instruction
    signers: tuple[Keypair, ...]
    planted: tuple[tuple[Pubkey, Account], ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A world in which the call of one instruction is due, and other people's accounts beside it."""

    recipe: str
    currency: str
    world: World
    call: Call
    stranger: Keypair
    others: dict[str, Pubkey]

    @property
    def instruction(self) -> str:
        return self.recipe.split()[0]

    def places(self) -> Iterator[tuple[int, AccountSpec, AccountMeta]]:
        """The accounts that the call gives."""
        for index, spec in enumerate(IDL.instructions[self.instruction].accounts):
            meta = self.call.instruction.accounts[index]
            if meta.pubkey != self.world.program.id:
                yield index, spec, meta

    def bystanders(self) -> list[Account | None]:
        """Accounts of people who have no part in the call: whatever is accepted, they neither gain nor lose."""
        keys = (self.others["wallet"], self.others["token account"], self.stranger.pubkey())
        return [self.world.svm.vm.get_account(key) for key in keys]

    def with_data(self, data: bytes) -> Instruction:
        return Instruction(self.world.program.id, data, self.call.instruction.accounts)

    def with_metas(self, metas: Sequence[AccountMeta]) -> Instruction:
        return Instruction(self.world.program.id, bytes(self.call.instruction.data), metas)

    def with_meta(self, index: int, meta: AccountMeta) -> Instruction:
        metas = list(self.call.instruction.accounts)
        metas[index] = meta
        return self.with_metas(metas)


def _reviewed(w: World) -> Call:
    """settle_job ends a review."""
    w.update_market(review_period=100, arbiter=w.arbiter.pubkey())
    job = w.running()
    w.svm.advance(10)
    w.finish(job)
    return Call(w.program.settle_job(w.client.pubkey(), w.job(job)), (w.client,))


def _again(w: World) -> Call:
    """register_node changes the payout of a node, which the old one signs."""
    key, new = w.operator.pubkey(), w.svm.wallet().pubkey()
    build = w.program.register_node
    made = build(key, w.market_key, SPECS, capacity=2, payout=new, old_payout=w.payout.pubkey())
    return Call(made, (w.operator, w.payout))


def _first_stake(w: World) -> Call:
    """stake makes the vault."""
    w.svm.tokens(w.client.pubkey(), w.stake_mint, 100)
    return Call(w.program.stake(w.client.pubkey(), w.node, w.stake_mint, 100), (w.client,))


# What an instruction does besides; a recipe's name begins with its instruction's.
RECIPES = CALLS | {"settle_job reviewed": _reviewed, "register_node again": _again, "stake first": _first_stake}


@functools.cache
def prepared(recipe: str, currency: str, start: tuple[int, int] = (START_TIME, START_SLOT)) -> Prepared:
    """Made once for each start (time and slot): whoever lets a call succeed puts everything back."""
    world = World(spl=currency == "spl", staking=True, start=start)
    svm, stranger = world.svm, world.svm.wallet()
    theirs = _other_market(world, stranger)
    mint = world.mint if world.is_spl else world.stake_mint
    others = theirs | {
        "wallet": svm.wallet().pubkey(),
        "token account": svm.tokens(Keypair().pubkey(), mint, 10**6),
        "mint": svm.mint(),
        "program": TOKEN_2022,
        "absent": world.program.id,
    }
    return Prepared(recipe, currency, world, RECIPES[recipe](world), stranger, others)


def _other_market(world: World, stranger: Keypair) -> dict[str, Pubkey]:
    """A stranger's market with his node and his queued job in it, and his node in this world's market."""
    ours, owner, world.owner = world.market_key, world.owner, stranger
    world.market_key = market = world.make_market()
    world.owner = owner
    if world.is_spl:
        world.svm.tokens(stranger.pubkey(), world.mint, 10**9)
    found = {
        "foreign market": market,
        "foreign node": world.register(stranger),
        "foreign job": world.post(client=stranger),
    }
    world.market_key = ours
    return found | {"another node": world.register(stranger)}


# --- accounts ---


def unsigned(case: Prepared) -> Iterator[Spoiled]:
    """Each signer's flag dropped."""
    for index, spec, meta in case.places():
        if spec.signer:
            spoiled = case.with_meta(index, AccountMeta(meta.pubkey, False, meta.is_writable))
            yield Spoiled(spec.name, "unsigned", spoiled, _without(case, meta.pubkey))


def read_only(case: Prepared) -> Iterator[Spoiled]:
    """Each writable flag dropped; an account at several places is writable at all of them or at none."""
    for _, spec, meta in case.places():
        if spec.writable:
            same = [
                AccountMeta(m.pubkey, m.is_signer, m.is_writable and m.pubkey != meta.pubkey)
                for m in case.call.instruction.accounts
            ]
            yield Spoiled(spec.name, "read-only", case.with_metas(same), case.call.signers)


def replaced(case: Prepared) -> Iterator[Spoiled]:
    """Each account by those of other owners, types, markets, nodes and jobs; signers by a stranger who signs."""
    for index, spec, meta in case.places():
        if spec.signer:
            key = case.stranger.pubkey()
            spoiled = case.with_meta(index, AccountMeta(key, True, meta.is_writable))
            yield Spoiled(spec.name, "stranger", spoiled, (*_without(case, meta.pubkey), case.stranger))
            continue
        for spoil, key in case.others.items():
            if key != meta.pubkey:
                writable = meta.is_writable and spoil not in ("absent", "program")
                yield Spoiled(
                    spec.name, spoil, case.with_meta(index, AccountMeta(key, False, writable)), case.call.signers
                )
        if _is_state(case, spec.name):
            yield from _forged(case, index, spec, meta)


def _without(case: Prepared, key: Pubkey) -> tuple[Keypair, ...]:
    return tuple(signer for signer in case.call.signers if signer.pubkey() != key)


def _is_state(case: Prepared, name: str) -> bool:
    """One of the program's own accounts, that is there already."""
    made = case.recipe in (f"create_{name}", f"register_{name}")
    return name in ("market", "node", "job") and not made


def _forged(case: Prepared, index: int, spec: AccountSpec, meta: AccountMeta) -> Iterator[Spoiled]:
    """The same account of another program, kind, version or size; and the same state of other people."""
    svm, program = case.world.svm, case.world.program.id
    genuine = svm.get(meta.pubkey)
    data = bytes(genuine.data)
    changed = {
        "discriminator": bytes([data[0] ^ 1]) + data[1:],
        "version": data[:8] + b"\2" + data[9:],
        "size": data + b"\0",
    }
    for spoil, bad in changed.items():
        planted = (meta.pubkey, Account(genuine.lamports, bad, program))
        yield Spoiled(spec.name, spoil, case.call.instruction, case.call.signers, (planted,))
    anothers = bytearray(data)
    for offset in RELATIONS[spec.name]:
        anothers[offset : offset + 32] = bytes(Keypair().pubkey())
    for spoil, owner, content in (("copy", TOKEN_PROGRAM, data), (f"other {spec.name}", program, bytes(anothers))):
        key = Keypair().pubkey()
        spoiled = case.with_meta(index, AccountMeta(key, False, meta.is_writable))
        planted = (key, Account(genuine.lamports, content, owner))
        yield Spoiled(spec.name, spoil, spoiled, case.call.signers, (planted, *_its_escrow(case, genuine, content)))


def _its_escrow(case: Prepared, genuine: Account, forged: bytes) -> Iterator[tuple[Pubkey, Account]]:
    """A job of other people has its own escrow, with as much in it."""
    if len(forged) == JOB_BYTES and case.world.is_spl and forged[ESCROW] != genuine.data[ESCROW]:
        real = case.world.svm.get(Pubkey.from_bytes(genuine.data[ESCROW]))
        yield Pubkey.from_bytes(forged[ESCROW]), real


# --- arguments and data ---


def extremes(case: Prepared) -> Iterator[Spoiled]:
    """Each argument at its least and greatest bytes, and a few that lie between."""
    data = bytes(case.call.instruction.data)
    offsets = codec().instructions[case.instruction].offsets(DISCRIMINATOR_BYTES)
    ends = [*offsets.values(), len(data)][1:]
    for (name, start), end in zip(offsets.items(), ends, strict=True):
        size = end - start
        values = {"zeros": bytes(size), "ones": b"\xff" * size}
        if size in (1, 2, 4, 8):
            values |= {"1": (1).to_bytes(size, "little"), "2": (2).to_bytes(size, "little")}
            values["middle"] = b"\xff" * (size - 1) + b"\x7f"
        elif size == 32:
            values["program"] = bytes(case.world.program.id)
        for spoil, value in values.items():
            if data[start:end] != value:
                yield Spoiled(name, spoil, case.with_data(data[:start] + value + data[end:]), case.call.signers)


def lengths(case: Prepared) -> Iterator[Spoiled]:
    """Data cut off after each byte, and longer by some."""
    data = bytes(case.call.instruction.data)
    for size in range(len(data)):
        spoil = "no discriminator" if size < DISCRIMINATOR_BYTES else "cut"
        yield Spoiled(str(size), spoil, case.with_data(data[:size]), case.call.signers)
    for more in (1, 2, 8, 300):
        yield Spoiled(f"+{more}", "trailing", case.with_data(data + bytes(more)), case.call.signers)


def fewer_accounts(case: Prepared) -> Iterator[Spoiled]:
    """The list of accounts cut off after each."""
    metas = case.call.instruction.accounts
    for count in range(len(metas)):
        signing = {m.pubkey for m in metas[:count] if m.is_signer}
        signers = tuple(signer for signer in case.call.signers if signer.pubkey() in signing)
        yield Spoiled(str(count), "fewer", case.with_metas(metas[:count]), signers)
