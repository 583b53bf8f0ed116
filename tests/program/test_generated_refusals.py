"""Generated from the IDL: every call spoiled in every way is refused with its documented error, and changes nothing.

What each is answered with stands in tests/support/documented_errors.py, with the few that are accepted and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair

from tests.support import spoiled_calls
from tests.support.attempts import attempt, ledger, put_back
from tests.support.documented_errors import ACCOUNTS, ARGUMENTS, Rule, documented, errors_in_idl, is_documented
from tests.support.market_world import World
from tests.support.spoiled_calls import CURRENCIES, IDL, RECIPES, Prepared, Spoiled, prepared
from tests.support.svm import refused


@pytest.fixture(params=[f"{recipe}/{currency}" for recipe in RECIPES for currency in CURRENCIES])
def case(request: pytest.FixtureRequest) -> Prepared:
    return prepared(*request.param.split("/"))


def test_every_instruction_has_a_valid_call() -> None:
    assert {recipe.split()[0] for recipe in RECIPES} == set(IDL.instructions)


def test_the_idl_lists_errors_that_there_are() -> None:
    known = {error.name for error in IDL.errors.values()}
    listed = {name: errors_in_idl(name) for name in IDL.instructions}
    assert {name: errors - known for name, errors in listed.items() if errors - known} == {}
    assert known == set().union(*listed.values())


def test_the_call_itself_is_accepted_as_the_idl_says(case: Prepared) -> None:
    assert len(case.call.instruction.accounts) == len(IDL.instructions[case.instruction].accounts)
    assert_accepted(case, case.call.instruction)


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
    assert_accepted(case, case.with_metas(metas))


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


def assert_accepted(case: Prepared, instruction: Instruction) -> None:
    call = Spoiled("call", "none", instruction, case.call.signers)
    with put_back(case.world.svm, call):
        assert attempt(case.world.svm, call) == ""


def check(case: Prepared, spoiled: Iterable[Spoiled], rules: Sequence[Rule]) -> None:
    """Sends each of them; all wrong answers are shown together."""
    wrong: list[str] = []
    for each in spoiled:
        rule = documented(rules, each.place, each.spoil, f"{case.recipe}/{case.currency}")
        with put_back(case.world.svm, each):
            before, bystanders = ledger(case.world.svm, each), case.bystanders()
            answer = attempt(case.world.svm, each)
            if answer != rule.error:
                wrong.append(f"{each.place}, {each.spoil}: {answer or 'accepted'}, not {rule.error or 'accepted'}")
            if rule.error:
                assert is_documented(rule.error, case.instruction), f"the IDL says nothing of {rule.error} here"
                assert ledger(case.world.svm, each) == before, f"{each.place}, {each.spoil}: something has changed"
            assert case.bystanders() == bystanders, f"{each.place}, {each.spoil}: somebody else gains or loses"
    assert wrong == []


def test_a_wrong_answer_and_what_no_rule_knows_are_seen() -> None:
    case = prepared("stop_job", "native")
    with pytest.raises(AssertionError, match="MissingSignature, not WrongOwner"):
        check(case, spoiled_calls.unsigned(case), [Rule(".*", ".*", "WrongOwner")])
    with pytest.raises(LookupError, match="no rule says"):
        check(case, spoiled_calls.unsigned(case), [])
