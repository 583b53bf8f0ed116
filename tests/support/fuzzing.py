"""Random calls: valid ones of which data, accounts, flags or the program's own accounts are spoiled at random."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from hypernode_worker.solana.codec import DISCRIMINATOR_BYTES, codec
from tests.support.attempts import put_back
from tests.support.documented_errors import GENERAL, is_documented
from tests.support.spoiled_calls import IDL, Prepared, Spoiled
from tests.support.svm import Refused

ERRORS = {error.name for error in IDL.errors.values()}
# Bumps, keys and amounts that the program wrote itself are used unchecked: the runtime refuses them.
OF_CORRUPTED_ACCOUNTS = (
    "Could not create program address with signer seeds",
    "PrivilegeEscalation",
    "InsufficientFundsForRent",
)
HEADER_BYTES = 10  # discriminator, version, bump
INTERESTING = (b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff")


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """One random call; `corrupted`: accounts that only the program can write hold random bytes."""

    call: Spoiled
    corrupted: bool

    def __str__(self) -> str:
        data, metas = bytes(self.call.instruction.data).hex(), self.call.instruction.accounts
        flags = " ".join(f"{m.pubkey}{'s' * m.is_signer}{'w' * m.is_writable}" for m in metas)
        planted = " ".join(f"{key}={account.data.hex()}" for key, account in self.call.planted)
        return f"{self.call.place}\ndata {data}\naccounts {flags}\nplanted {planted}"


def fuzzed(dice: Random, case: Prepared) -> Fuzzed:
    """One call, spoiled in one to three ways."""
    metas, data = list(case.call.instruction.accounts), bytes(case.call.instruction.data)
    corrupt = dice.random() < 0.4
    if dice.random() < 0.4:
        data = _data(dice, data)
    if dice.random() < 0.5:
        metas = _metas(dice, case, metas)
    planted = tuple(_planted(dice, case)) if corrupt else ()
    signers = {signer.pubkey() for signer in case.call.signers}
    metas = [AccountMeta(m.pubkey, m.is_signer and m.pubkey in signers, m.is_writable) for m in metas]
    signing = tuple(s for s in case.call.signers if any(m.is_signer and m.pubkey == s.pubkey() for m in metas))
    call = Spoiled(case.recipe, "fuzzed", Instruction(case.world.program.id, data, metas), signing, planted)
    return Fuzzed(call, corrupt)


def _data(dice: Random, data: bytes) -> bytes:
    match dice.randrange(12):
        case 0:
            return dice.randbytes(dice.randrange(400))
        case 1:
            name = dice.choice(list(IDL.instructions))
            return IDL.instructions[name].discriminator + dice.randbytes(codec().instructions[name].size)
        case 2:
            name = dice.choice(list(IDL.instructions))
            return IDL.instructions[name].discriminator + data[DISCRIMINATOR_BYTES:]
        case 3:
            return data[: dice.randrange(len(data))] + dice.randbytes(dice.randrange(3))
        case _:
            return _scratched(dice, data, DISCRIMINATOR_BYTES)


def _metas(dice: Random, case: Prepared, metas: list[AccountMeta]) -> list[AccountMeta]:
    keys = [*case.others.values(), *(meta.pubkey for meta in metas)]
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(metas))
        old = metas[place]
        match dice.randrange(4):
            case 0:
                metas[place] = AccountMeta(dice.choice(keys), old.is_signer, old.is_writable)
            case 1:
                metas[place] = AccountMeta(old.pubkey, old.is_signer, not old.is_writable)
            case 2:
                other = dice.randrange(len(metas))
                metas[place], metas[other] = metas[other], old
            case _:
                metas.insert(place, dice.choice(metas))
    return metas


def _planted(dice: Random, case: Prepared) -> list[tuple[Pubkey, Account]]:
    """Some of the call's own market, node and job with random bytes in them, mostly not in their head."""
    found: list[tuple[Pubkey, Account]] = []
    for key in sorted({meta.pubkey for meta in case.call.instruction.accounts}, key=str):
        account = case.world.svm.vm.get_account(key)
        if account is None or account.owner != case.world.program.id or dice.random() < 0.3:
            continue
        start = 0 if dice.random() < 0.1 else HEADER_BYTES
        data = _scratched(dice, bytes(account.data), start)
        found.append((key, Account(account.lamports, data, account.owner)))
    return found


def _scratched(dice: Random, data: bytes, start: int) -> bytes:
    """Some runs of bytes replaced, from `start` on; numbers lie at such places, of 1 to 8 bytes."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4) if len(data) > start else 0):
        at, size = dice.randrange(start, len(data)), dice.choice((1, 2, 4, 8))
        run = dice.choice(INTERESTING) * size if dice.random() < 0.6 else dice.randbytes(size)
        changed[at : at + size] = run[: len(data) - at]
    return bytes(changed)


def complaint(case: Prepared, fuzz: Fuzzed) -> str | None:
    """Sends it and leaves the world as it was; what is wrong with the answer, if anything."""
    svm = case.world.svm
    with put_back(svm, fuzz.call):
        before = case.bystanders()
        try:
            svm.send(fuzz.call.instruction, signers=fuzz.call.signers, corrupted=fuzz.corrupted)
        except Refused as error:
            return None if _is_clean(error, fuzz) else str(error)
        except AssertionError as broken:
            return f"accepted, but {broken}"
        if not fuzz.corrupted and case.bystanders() != before:
            return "accepted, and somebody who has no part in it has gained or lost"
        return None


def _is_clean(error: Refused, fuzz: Fuzzed) -> bool:
    """What the IDL lists for the instruction; where accounts lie, any error, and the runtime's own."""
    if fuzz.corrupted:
        runtimes = any(words in str(error) for words in OF_CORRUPTED_ACCOUNTS)
        return runtimes or error.name in ERRORS or error.name.startswith("Callee: ")
    head = bytes(fuzz.call.instruction.data[:DISCRIMINATOR_BYTES])
    named = [name for name, spec in IDL.instructions.items() if spec.discriminator == head]
    return is_documented(error.name, named[0]) if named else error.name in GENERAL
