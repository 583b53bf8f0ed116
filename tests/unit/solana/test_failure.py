"""Refused transactions as typed errors with one sentence each."""

from __future__ import annotations

from typing import Any

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.errors import InsufficientFunds, ProgramError, TransactionFailed
from hypernode_worker.solana.codec import codec
from hypernode_worker.solana.failure import Intent, transaction_error

PROGRAM, OTHER, PAYER = Pubkey.new_unique(), Pubkey.new_unique(), Pubkey.new_unique()
PROGRAMS = (OTHER, PROGRAM)


def error(err: Any, **more: Any) -> TransactionFailed:
    intent = Intent("claim job X", "a deposit of 1 SOL")
    return transaction_error(err, intent=intent, payer=PAYER, program=PROGRAM, programs=PROGRAMS, **more)


@pytest.mark.parametrize("code", sorted(codec().idl.errors))
def test_each_error_of_the_program_has_its_name_and_sentence(code: int) -> None:
    found = error({"InstructionError": [1, {"Custom": code}]}, landed=True)
    spec = codec().idl.errors[code]
    assert isinstance(found, ProgramError)
    assert (found.code, found.name, found.landed) == (code, spec.name, True)
    assert spec.message[1:] in str(found)
    assert str(found).startswith("Could not claim job X: ")


def test_an_unknown_code_of_the_program_says_so() -> None:
    found = error({"InstructionError": [1, {"Custom": 6999}]})
    assert isinstance(found, ProgramError)
    assert "upgrade" in str(found)


def test_another_programs_code_is_not_taken_for_ours() -> None:
    found = error({"InstructionError": [0, {"Custom": 6000}]})
    assert not isinstance(found, ProgramError)
    assert str(OTHER) in str(found)


@pytest.mark.parametrize("err", ["InsufficientFundsForFee", "AccountNotFound"])
def test_no_money_for_the_fee(err: str) -> None:
    found = error(err)
    assert isinstance(found, InsufficientFunds)
    assert str(PAYER) in str(found)
    assert "airdrop" in str(found)


@pytest.mark.parametrize(
    "err", [{"InstructionError": [1, {"Custom": 1}]}, {"InsufficientFundsForRent": {"account_index": 0}}]
)
def test_no_money_for_the_escrow(err: Any) -> None:
    found = error(err)
    assert isinstance(found, InsufficientFunds)
    assert "a deposit of 1 SOL" in str(found)


def test_a_program_that_is_not_deployed() -> None:
    assert "PROGRAM_ID" in str(error("ProgramAccountNotFound"))


@pytest.mark.parametrize(
    "err",
    [
        "Strange", {"Strange": 1}, {"InstructionError": []}, {"InstructionError": [99, {"Custom": 6000}]}, 5, [], {},
        {"InstructionError": [1, "ComputationalBudgetExceeded"]}, {"InstructionError": [1, {"Custom": "x"}]},
        {"InstructionError": ["1", {"Custom": 6000}]}, {"InstructionError": [-1, {"Custom": 6000}]},
    ],
)  # fmt: skip
def test_whatever_else_an_endpoint_says_is_a_failure_with_a_sentence(err: Any) -> None:
    found = error(err)
    assert type(found) is TransactionFailed
    assert str(found).startswith("Could not claim job X: ")
    assert str(found).endswith(".")


def test_advice_follows_the_name_of_the_error_that_it_is_for() -> None:
    code = next(code for code, spec in codec().idl.errors.items() if spec.name == "CooldownNotOver")
    intent = Intent("withdraw it", advice={"CooldownNotOver": "wait", "NothingUnstaking": "ask first"})
    err: Any = {"InstructionError": [1, {"Custom": code}]}
    said = transaction_error(err, intent=intent, payer=PAYER, program=PROGRAM, programs=PROGRAMS)
    assert (
        str(said) == "Could not withdraw it: the cooldown of the requested stake is not over (CooldownNotOver): wait."
    )
