"""Generated from the IDL: every call spoiled in every way is refused with its documented error, and changes nothing.

What each is answered with stands in tests/support/documented_errors.py, with the few that are accepted and why.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

import pytest
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM
from tests.support import spoiled_calls
from tests.support.documented_errors import ACCOUNTS, ARGUMENTS, Rule, documented
from tests.support.market_world import World
from tests.support.spoiled_calls import CURRENCIES, IDL, RECIPES, Prepared, Spoiled, prepared
from tests.support.svm import Refused, Svm, refused


@pytest.fixture(params=[f"{recipe}/{currency}" for recipe in RECIPES for currency in CURRENCIES])
def case(request: pytest.FixtureRequest) -> Prepared:
    return prepared(*request.param.split("/"))


def test_every_instruction_has_a_valid_call() -> None:
    assert {recipe.split()[0] for recipe in RECIPES} == set(IDL.instructions)


def test_the_call_itself_is_accepted_as_the_idl_says(case: Prepared) -> None:
    assert len(case.call.instruction.accounts) == len(IDL.instructions[case.instruction].accounts)
    with put_back(case):
        case.world.svm.send(case.call.instruction, signers=case.call.signers)


def test_signers_must_sign(case: Prepared) -> None:
    check(case, spoiled_calls.unsigned(case), ACCOUNTS)


def test_written_accounts_must_be_writable(case: Prepared) -> None:
    check(case, spoiled_calls.read_only(case), ACCOUNTS)


def test_no_account_can_stand_for_another(case: Prepared) -> None:
    check(case, spoiled_calls.replaced(case), ACCOUNTS)


def test_arguments_at_their_extremes(case: Prepared) -> None:
    check(case, spoiled_calls.extremes(case), ARGUMENTS)


LENGTHS = [
    Rule(".*", "no discriminator", "UnknownInstruction"),
    Rule(".*", "cut|trailing", "WrongDataLength"),
    Rule(".*", "fewer", "NotEnoughAccounts"),
]


def test_data_is_exactly_as_long_as_the_arguments(case: Prepared) -> None:
    check(case, spoiled_calls.lengths(case), LENGTHS)


def test_a_missing_account_is_named_so(case: Prepared) -> None:
    check(case, spoiled_calls.fewer_accounts(case), LENGTHS)


def test_further_accounts_are_ignored(case: Prepared) -> None:
    metas = [*case.call.instruction.accounts, *(AccountMeta(Keypair().pubkey(), False, True) for _ in range(20))]
    with put_back(case):
        case.world.svm.send(case.with_metas(metas), signers=case.call.signers)


@pytest.mark.parametrize("data", [b"", b"1234567", b"12345678", bytes(8), b"\xff" * 300])
def test_unknown_instructions_are_refused(native: World, data: bytes) -> None:
    with refused("UnknownInstruction"):
        native.svm.send(Instruction(native.program.id, data, []))


@pytest.mark.parametrize("rules", [ACCOUNTS, ARGUMENTS])
def test_no_rule_is_left_over(rules: list[Rule]) -> None:
    """A rule that never applies documents something that doesn't happen."""
    kinds = (spoiled_calls.unsigned, spoiled_calls.read_only, spoiled_calls.replaced)
    used: set[int] = set()
    for recipe in RECIPES:
        for currency in CURRENCIES:
            made = prepared(recipe, currency)
            for kind in kinds if rules is ACCOUNTS else (spoiled_calls.extremes,):
                used |= {id(documented(rules, s.place, s.spoil, f"{recipe}/{currency}")) for s in kind(made)}
    assert [rule for rule in rules if id(rule) not in used] == []


# --- how they are checked ---


def check(case: Prepared, spoiled: Iterable[Spoiled], rules: Sequence[Rule]) -> None:
    """Sends each of them; all wrong answers are shown together."""
    wrong: list[str] = []
    for each in spoiled:
        rule = documented(rules, each.place, each.spoil, f"{case.recipe}/{case.currency}")
        with put_back(case, each):
            before = ledger(case.world.svm, each)
            answer = attempt(case.world.svm, each)
            if answer != rule.error:
                wrong.append(f"{each.place}, {each.spoil}: {answer or 'accepted'}, not {rule.error or 'accepted'}")
            if rule.error:
                assert ledger(case.world.svm, each) == before, f"{each.place}, {each.spoil}: something has changed"
    assert wrong == []


def attempt(svm: Svm, spoiled: Spoiled) -> str:
    """The error's name, "" when it is accepted; the invariants hold then (see Svm.send)."""
    try:
        svm.send(spoiled.instruction, signers=spoiled.signers)
    except Refused as error:
        return error.name
    return ""


def ledger(svm: Svm, spoiled: Spoiled) -> dict[Pubkey, Account | None]:
    """All accounts of this program and SPL Token, and whatever the call names: all but the payer of the fee."""
    found: dict[Pubkey, Account | None] = {}
    for program in (svm.program.id, TOKEN_PROGRAM):
        found.update(svm.vm.get_program_accounts(program))
    named = {meta.pubkey for meta in spoiled.instruction.accounts} | {signer.pubkey() for signer in spoiled.signers}
    return found | {key: svm.vm.get_account(key) for key in named}


@contextmanager
def put_back(case: Prepared, spoiled: Spoiled | None = None) -> Generator[None]:
    """Plants what a spoiled call needs, and afterwards leaves the world as it was."""
    svm, keys = case.world.svm, {meta.pubkey for meta in case.call.instruction.accounts}
    planted = spoiled.planted if spoiled else ()
    keys |= {key for key, _ in planted} | {meta.pubkey for meta in (spoiled.instruction.accounts if spoiled else ())}
    before = {key: svm.vm.get_account(key) for key in keys}
    for key, account in planted:
        svm.vm.set_account(key, account)
    try:
        yield
    finally:
        for key, account in before.items():
            svm.vm.set_account(key, account or Account(0, b"", SYSTEM_PROGRAM))


def test_a_wrong_answer_and_what_no_rule_knows_are_seen() -> None:
    case = prepared("stop_job", "native")
    with pytest.raises(AssertionError, match="MissingSignature, not WrongOwner"):
        check(case, spoiled_calls.unsigned(case), [Rule(".*", ".*", "WrongOwner")])
    with pytest.raises(LookupError, match="no rule says"):
        check(case, spoiled_calls.unsigned(case), [])
