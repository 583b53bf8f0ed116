"""The generated refusals on Solana's own validator: the worlds of the SVM stand in its genesis.

Simulated with signatures checked: what isn't signed needs none. Left out are calls that wait for a deadline's slots,
and accounts that are spoiled where they stand.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from solders.account import Account
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID
from tests.support import spoiled_calls
from tests.support.books import CONFIRMED, ask
from tests.support.chains import SharedValidator, validator
from tests.support.documented_errors import ACCOUNTS, ARGUMENTS, Rule, documented
from tests.support.spoiled_calls import CURRENCIES, RECIPES, Prepared, Spoiled, prepared
from tests.support.svm import named
from tests.support.transactions import as_base64, signed

pytestmark = [pytest.mark.validator, pytest.mark.timeout(180)]

# The worlds begin two days ago, so that cooldowns are over, and in the first slot, so that claim windows soon are.
START = (int(time.time()) - 2 * 86_400, 0)
WINDOW_SLOTS = 25
WAITS_FOR_SLOTS = {"timeout_job"}
# By now the whole deposit is billed: nothing is due to the client.
NOT_DUE = ("finish_job", "client_to")
# The endpoint takes 50 kB a request.
AT_ONCE = 25


def cases() -> Iterator[Prepared]:
    for recipe in RECIPES:
        if recipe not in WAITS_FOR_SLOTS:
            yield from (prepared(recipe, currency, START) for currency in CURRENCIES)


def spoiled(case: Prepared) -> Iterator[tuple[Spoiled, str]]:
    """Each with the answer that is documented; first the call itself, which is accepted."""
    own = {meta.pubkey for meta in case.call.instruction.accounts}
    yield Spoiled("call", "none", case.call.instruction, case.call.signers), ""
    kinds: list[tuple[Iterator[Spoiled], list[Rule]]] = [
        (spoiled_calls.unsigned(case), ACCOUNTS),
        (spoiled_calls.read_only(case), ACCOUNTS),
        (spoiled_calls.replaced(case), ACCOUNTS),
        (spoiled_calls.extremes(case), ARGUMENTS),
    ]
    for kind, rules in kinds:
        for each in kind:
            stands_apart = own.isdisjoint(key for key, _ in each.planted)
            if stands_apart and (case.recipe, each.place) != NOT_DUE:
                yield each, documented(rules, each.place, each.spoil, f"{case.recipe}/{case.currency}").error


def genesis(case: Prepared, attempts: list[tuple[Spoiled, str]]) -> dict[Pubkey, Account]:
    """The accounts of a world, and those that its spoiled calls name."""
    vm, found = case.world.svm.vm, dict[Pubkey, Account]()
    for program in (LOCALNET_PROGRAM_ID, TOKEN_PROGRAM):
        found.update(vm.get_program_accounts(program))
    keys = {meta.pubkey for each, _ in attempts for meta in each.instruction.accounts}
    for key in keys:
        account = vm.get_account(key)
        if account is not None and account.owner == SYSTEM_PROGRAM:
            found[key] = account
    for each, _ in attempts:
        found.update(each.planted)
    return {key: account for key, account in found.items() if account.lamports and not account.executable}


def write(folder: Path, accounts: dict[Pubkey, Account]) -> None:
    for key, account in accounts.items():
        shown = {
            "lamports": account.lamports,
            "data": [base64.b64encode(account.data).decode(), "base64"],
            "owner": str(account.owner),
            "executable": False,
            "rentEpoch": 2**64 - 1,
            "space": len(account.data),
        }
        (folder / f"{key}.json").write_text(json.dumps({"pubkey": str(key), "account": shown}))


def wait_for_slot(rpc_url: str, slot: int) -> None:
    deadline = time.monotonic() + 60
    while ask(rpc_url, "getSlot", CONFIRMED) <= slot:
        assert time.monotonic() < deadline, f"the validator doesn't reach slot {slot}"
        time.sleep(0.2)


def simulate(rpc_url: str, payer: Keypair, batch: list[Spoiled]) -> list[str]:
    """What each is answered with, "" for success; all in one request."""
    blockhash = Hash.from_string(ask(rpc_url, "getLatestBlockhash", CONFIRMED)["value"]["blockhash"])
    options = {"encoding": "base64", "sigVerify": True, **CONFIRMED}
    requests: list[dict[str, Any]] = []
    for number, each in enumerate(batch):
        signers = [payer, *dict.fromkeys(each.signers)]
        transaction = as_base64(signed([each.instruction], signers, blockhash))
        params = [transaction, options]
        requests.append({"jsonrpc": "2.0", "id": number, "method": "simulateTransaction", "params": params})
    request = urllib.request.Request(rpc_url, json.dumps(requests).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as said:
        answers = sorted(json.load(said), key=lambda answer: answer["id"])
    return [answer_of(answer) for answer in answers]


def answer_of(answer: dict[str, Any]) -> str:
    error = answer["result"]["value"]["err"] if "result" in answer else answer
    match error:
        case None:
            return ""
        case {"InstructionError": [0, {"Custom": int(code)}]}:
            return named(code, error)
        case _:
            return str(error)


def test_the_validator_refuses_what_the_svm_refuses(tmp_path: Path, shared_validator: SharedValidator) -> None:
    shared_validator.stop()  # this one has a genesis of its own, and each wants a core
    payer, folder = Keypair(), tmp_path / "accounts"
    folder.mkdir()
    write(folder, {payer.pubkey(): Account(10**12, b"", SYSTEM_PROGRAM)})
    attempts: list[tuple[str, Spoiled, str]] = []
    for case in cases():
        made = list(spoiled(case))
        write(folder, genesis(case, made))
        attempts += [(f"{case.recipe}/{case.currency}", *each) for each in made]
    wrong: list[str] = []
    with validator(tmp_path, folder) as chain:
        wait_for_slot(chain.rpc_url, WINDOW_SLOTS)
        for first in range(0, len(attempts), AT_ONCE):
            batch = attempts[first : first + AT_ONCE]
            answers = simulate(chain.rpc_url, payer, [each for _, each, _ in batch])
            for (where, each, expected), answer in zip(batch, answers, strict=True):
                if answer != expected:
                    wrong.append(f"{where}: {each.place}, {each.spoil}: {answer or 'accepted'}, not {expected}")
    assert not wrong, "\n".join(wrong)
    assert len(attempts) > 2_000
