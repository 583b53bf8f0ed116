"""Generated from the IDL: each account of each instruction is spoiled in every way, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair

from hypernode_worker.solana.addresses import SYSTEM_PROGRAM
from hypernode_worker.solana.codec import codec
from hypernode_worker.solana.idl_file import AccountSpec
from tests.support.market_world import World
from tests.support.program_calls import CALLS, Call
from tests.support.svm import Refused, refused

IDL = codec().idl


STAKING = {"stake", "withdraw_stake", "deregister_node"}
ONLY_SPL = {"payment_mint", "from", "escrow", "token_program"}


def given(spl: bool, instruction: str, account: str) -> bool:
    """Whether the call gives this account: optional ones are absent where they aren't needed."""
    # The settled job of this call is over: no node has it. Payout wallets change in test_nodes.
    if account == "old_payout" or (account == "node" and instruction == "settle_job"):
        return False
    return spl or instruction in STAKING or account not in ONLY_SPL


def cases(wanted: Callable[[str, AccountSpec], bool]) -> list[object]:
    return [
        pytest.param(spl, name, place, id=f"{'spl' if spl else 'native'}-{name}-{account.name}")
        for spl in (False, True)
        for name, spec in IDL.instructions.items()
        for place, account in enumerate(spec.accounts)
        if given(spl, name, account.name) and wanted(name, account)
    ]


def make(spl: bool, name: str) -> tuple[World, Call]:
    world = World(spl=spl, staking=True)
    return world, CALLS[name](world)


def replaced(call: Call, place: int, meta: AccountMeta) -> Instruction:
    metas = list(call.instruction.accounts)
    metas[place] = meta
    return Instruction(call.instruction.program_id, bytes(call.instruction.data), metas)


def test_every_instruction_has_a_call() -> None:
    assert list(CALLS) == list(IDL.instructions)


@pytest.mark.parametrize("spl", [False, True])
@pytest.mark.parametrize("name", list(CALLS))
def test_the_call_itself_is_accepted_as_the_idl_says(name: str, spl: bool) -> None:
    world, call = make(spl, name)
    spec = IDL.instructions[name]
    assert len(call.instruction.accounts) == len(spec.accounts)
    world.svm.send(call.instruction, signers=call.signers)


@pytest.mark.parametrize(("spl", "name", "place"), cases(lambda _, account: account.signer))
def test_signers_must_sign(spl: bool, name: str, place: int) -> None:
    world, call = make(spl, name)
    meta = call.instruction.accounts[place]
    with refused("MissingSignature"):
        others = tuple(s for s in call.signers if s.pubkey() != meta.pubkey)
        world.svm.send(replaced(call, place, AccountMeta(meta.pubkey, False, meta.is_writable)), signers=others)


@pytest.mark.parametrize(
    ("spl", "name", "place"),
    cases(lambda _, account: account.signer and account.name != "caller"),
)
def test_nobody_signs_for_another(spl: bool, name: str, place: int) -> None:
    world, call = make(spl, name)
    thief, meta = world.svm.wallet(), call.instruction.accounts[place]
    spoiled = replaced(call, place, AccountMeta(thief.pubkey(), True, meta.is_writable))
    with pytest.raises(Refused) as caught:
        world.svm.send(spoiled, signers=(thief,))
    named = {"WrongAuthority", "WrongAddress", "WrongNode"}
    # Another client's job has another address, and another's tokens another owner: the callee refuses those.
    assert caught.value.name in named or name in ("create_job", "stake")


# Payers of a transfer or a creation: the runtime refuses them itself.
PAYERS = {("create_market", "authority"), ("register_node", "authority"), ("create_job", "client"), ("stake", "funder")}
# Payees have a rule of their own: see test_delivery.
PAYEES = {"payout_to", "client_to", "fee_to"}
# Payees to whom nothing is due in these calls, and a client whose lamports an SPL job doesn't need.
UNTOUCHED = {
    # Nothing is left to be burnt.
    ("deregister_node", "stake_mint"),
    *(("close_job", payee) for payee in PAYEES),
    *((name, payee) for name in ("timeout_job", "cancel_job") for payee in ("payout_to", "fee_to")),
    ("settle_job", "client_to"),
    ("settle_job", "fee_to"),
}


def is_written(name: str, account: AccountSpec) -> bool:
    return account.writable and (name, account.name) not in UNTOUCHED


@pytest.mark.parametrize(("spl", "name", "place"), cases(is_written))
def test_written_accounts_must_be_writable(spl: bool, name: str, place: int) -> None:
    world, call = make(spl, name)
    account, meta = IDL.instructions[name].accounts[place], call.instruction.accounts[place]
    # An account at several places is writable at all of them or at none.
    same = [
        AccountMeta(m.pubkey, m.is_signer, m.is_writable and m.pubkey != meta.pubkey) for m in call.instruction.accounts
    ]
    spoiled = Instruction(world.program.id, bytes(call.instruction.data), same)
    # Tokens are moved, or the vault is there already: this wallet's lamports aren't needed.
    unneeded = (name, account.name) == ("stake", "funder")
    if unneeded or (spl and (name, account.name) in (("extend_job", "client"), ("dispute_result", "client"))):
        world.svm.send(spoiled, signers=call.signers)
        return
    with pytest.raises(Refused) as caught:
        world.svm.send(spoiled, signers=call.signers)
    expected = "PayeeReadOnly" if account.name in PAYEES else "NotWritable"
    assert caught.value.name == expected or (name, account.name) in PAYERS


# Any job may be claimed by any able node, and settled by anyone: another one is as good.
ANYONES = {("work_job", "job"), ("settle_job", "job")}


def is_state(name: str, account: AccountSpec) -> bool:
    made = f"create_{account.name}" == name or f"register_{account.name}" == name
    return account.name in ("market", "node", "job") and not made


@pytest.mark.parametrize(("spl", "name", "place"), cases(is_state))
@pytest.mark.parametrize("spoil", ["owner", "discriminator", "version", "size", "other", "wallet"])
def test_only_the_real_accounts_are_taken(spl: bool, name: str, place: int, spoil: str) -> None:
    """A copy owned by another program, another kind, version or size, another account of ours, or none at all."""
    if spoil == "other" and (name, IDL.instructions[name].accounts[place].name) in ANYONES:
        return
    world, call = make(spl, name)
    meta = call.instruction.accounts[place]
    address = meta.pubkey
    genuine = world.svm.get(address)
    data, owner = bytearray(genuine.data), genuine.owner
    match spoil:
        case "owner":
            owner, address = Keypair().pubkey(), Keypair().pubkey()
        case "discriminator":
            data[0] ^= 1
        case "version":
            data[8] = 2
        case "size":
            data += b"\0"
        case "other":
            # The same bytes with other relations: a market, node or job of somebody else.
            for offset in (16, 32, 48) if len(data) == 320 else (48, 80):
                data[offset : offset + 32] = bytes(Keypair().pubkey())
            address = Keypair().pubkey()
        case _:
            data, owner, address = bytearray(), SYSTEM_PROGRAM, Keypair().pubkey()
    world.svm.put(address, bytes(data), owner, genuine.lamports)
    spoiled = replaced(call, place, AccountMeta(address, meta.is_signer, meta.is_writable))
    with pytest.raises(Refused) as caught:
        world.svm.send(spoiled, signers=call.signers)
    relations = {"WrongAuthority", "WrongMarket", "WrongNode", "WrongAddress", "WrongPayee"}
    expected = {"owner": {"WrongOwner"}, "wallet": {"WrongOwner"}, "other": relations}.get(spoil, {"WrongAccount"})
    # A node is made where there is none, but only at its own address; a job's node is known by its address.
    assert caught.value.name in expected | {"WrongNode"} or name in ("register_node", "create_job")


@pytest.mark.parametrize("name", list(CALLS))
def test_data_is_exactly_as_long_as_the_arguments(name: str) -> None:
    world, call = make(False, name)
    data = bytes(call.instruction.data)
    for spoiled in (data + b"\0", *([data[:-1]] if len(data) > 8 else [])):
        with refused("WrongDataLength"):
            world.svm.send(Instruction(world.program.id, spoiled, call.instruction.accounts), signers=call.signers)


@pytest.mark.parametrize("name", list(CALLS))
def test_a_missing_account_is_named_so(name: str) -> None:
    world, call = make(False, name)
    for count in range(len(call.instruction.accounts)):
        metas = call.instruction.accounts[:count]
        signing = tuple(s for s in call.signers if any(m.pubkey == s.pubkey() and m.is_signer for m in metas))
        with refused("NotEnoughAccounts"):
            world.svm.send(Instruction(world.program.id, bytes(call.instruction.data), metas), signers=signing)


@pytest.mark.parametrize("name", list(CALLS))
def test_further_accounts_are_ignored(name: str) -> None:
    world, call = make(False, name)
    metas = [*call.instruction.accounts, *(AccountMeta(Keypair().pubkey(), False, True) for _ in range(20))]
    world.svm.send(Instruction(world.program.id, bytes(call.instruction.data), metas), signers=call.signers)


@pytest.mark.parametrize("data", [b"", b"1234567", b"12345678", bytes(8), b"\xff" * 300])
def test_unknown_instructions_are_refused(native: World, data: bytes) -> None:
    with refused("UnknownInstruction"):
        native.svm.send(Instruction(native.program.id, data, []))


def needed(spl: bool, instruction: str, name: str) -> bool:
    """SPL deposits don't need the System program, nor does a vault that is there."""
    if name == "system_program":
        return instruction != "stake" and not (spl and instruction in ("extend_job", "dispute_result"))
    return given(spl, instruction, name)


@pytest.mark.parametrize("name", ["system_program", "token_program"])
def test_programs_are_the_real_ones(name: str) -> None:
    fake = Keypair().pubkey()
    for spl in (False, True):
        for instruction, spec in IDL.instructions.items():
            for place, account in enumerate(spec.accounts):
                if account.name != name or not needed(spl, instruction, name):
                    continue
                world, call = make(spl, instruction)
                spoiled = replaced(call, place, AccountMeta(fake, False, False))
                with refused("WrongProgram"):
                    world.svm.send(spoiled, signers=call.signers)
