"""`market create|update|close`: terms that can't be meant are refused before anything is sent, each with its reason."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import FLAG_NETWORK, FLAG_PINNED, NATIVE_MINT
from hypernode_worker.solana.addresses import token_address
from tests.support.clocked_town import ClockedTown

SOMEONE = "4nqaDKBDPRot9vgFN1PymNt6vMvzuPLYn8Vmi7SCHQcR"
EVERY_TERM = {
    "fee_bps": 250, "slash_bps": 5_000, "bond_bps": 500, "claim_spread_slots": 24, "max_capacity": 3,
    "start_credit": 60, "max_attempts": 2, "min_price": 7, "min_stake": 11, "lock_per_job": 5, "credit_pay": 99,
    "max_timeout": 100, "setup_timeout": 101, "queue_timeout": 102, "review_period": 103, "resolve_timeout": 104,
    "heartbeat_timeout": 105, "finish_grace": 106, "unstake_cooldown": 107,
}  # fmt: skip
WRONG = [
    (["--fee-bps", "10001"], "fee_bps is 10001, and a share is 0 to 10,000"),
    (["--slash-bps", "10001"], "slash_bps is 10001"),
    (["--bond-bps", "70000"], "bond_bps is 70000"),
    (["--review-period", "60"], "needs an arbiter"),
    (["--review-period", "60", "--arbiter", SOMEONE, "--resolve-timeout", "0"], "needs a resolve_timeout"),
    (["--min-stake", "5"], "min_stake asks for stake, and the market has no stake mint"),
    (["--lock-per-job", "5"], "lock_per_job asks for stake"),
    (["--claim-spread-slots", "201", "--queue-timeout", "100"], "claim_spread_slots is 201"),
    (["--max-timeout", "2592001"], "max_timeout is 2592001 s, and a period is at most 30 days"),
    (["--start-credit", "201"], "start_credit is 201"),
]


def typed(terms: dict[str, int]) -> list[str]:
    return [word for name, value in terms.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_every_term_reaches_the_chain(town: ClockedTown) -> None:
    mint = town.new_mint()
    market = town.new_market(*typed(EVERY_TERM), "--arbiter", SOMEONE, "--stake-mint", mint, "--network", "--pinned")
    assert {name: getattr(market.terms, name) for name in EVERY_TERM} == EVERY_TERM
    assert (str(market.terms.arbiter), str(market.stake_mint), market.terms.flags) == (
        SOMEONE,
        mint,
        FLAG_NETWORK | FLAG_PINNED,
    )
    assert market.terms.fee_receiver == town.key("owner").pubkey()
    assert "each job locks 5, of which losing it costs 50 %" in town.run("owner", "market", "show")


@pytest.mark.parametrize(("options", "sentence"), WRONG)
def test_contradictory_terms_are_refused(town: ClockedTown, options: list[str], sentence: str) -> None:
    before = len(town.endpoint.requests)
    assert sentence in town.refused("owner", "market", "create", *options, code=2)
    assert len(town.endpoint.requests) == before, "nothing was asked or sent"
    town.new_market()
    assert sentence in town.refused("owner", "market", "update", "--yes", *options, code=2)


def test_an_update_shows_the_difference_and_changes_nothing_else(town: ClockedTown) -> None:
    market = town.new_market("--min-price", "100", "--max-attempts", "5")
    shown = town.run("owner", "market", "update", "--min-price", "200", "--pause", code=1, given="n\n")
    assert "min_price  100 -> 200" in shown
    assert "paused     False -> True" in shown
    assert "Nothing was changed." in shown
    done = town.json("owner", "market", "update", "--min-price", "200", "--pause", "--network", "--yes")
    assert done["changes"]["min_price"] == {"was": 100, "now": 200}
    seen = town.json("stranger", "market", "show")
    assert (seen["paused"], seen["min_price"], seen["max_attempts"], seen["flags"]) == (True, 200, 5, FLAG_NETWORK)
    assert seen["credit_pay"] == 60 * 100
    town.run("owner", "market", "update", str(market.address), "--unpause", "--no-network", "--yes")
    seen = town.json("stranger", "market", "show")
    assert (seen["paused"], seen["flags"], seen["revision"]) == (False, 0, market.revision + 2)
    assert town.json("owner", "market", "update", "--unpause")["changes"] == {}, "that is how it is already"


def test_strangers_change_nothing(town: ClockedTown) -> None:
    town.new_market()
    said = town.refused("stranger", "market", "update", "--min-price", "9", "--yes", code=2)
    assert "Only the wallet" in said
    assert "the market's owner" in said
    assert "the market's owner" in town.refused("stranger", "market", "close", "--yes", code=2)
    assert town.json("owner", "market", "show")["min_price"] == 1


def test_a_closed_market_is_gone(town: ClockedTown) -> None:
    town.new_market()
    town.advance(1)
    town.run("owner", "market", "close", "--yes")
    assert "There is no market" in town.refused("owner", "market", "show")


def test_the_fee_receivers_token_account_is_made(town: ClockedTown) -> None:
    mint = town.new_mint()
    receiver = town.new_wallet("cashier", 0)
    account = token_address(Pubkey.from_string(receiver), Pubkey.from_string(mint))
    for options in (["--fee-bps", "0"], ["--fee-bps", "100"]):
        market = town.new_market("--payment-mint", mint, "--fee-receiver", receiver, *options)
        assert (town.endpoint.bank.account(account) is None) is (options[1] == "0"), "without a fee nobody needs it"
    another = town.new_wallet("heir", 0)
    town.run("owner", "market", "update", str(market.address), "--fee-receiver", another, "--yes")
    account = token_address(Pubkey.from_string(another), Pubkey.from_string(mint))
    assert town.endpoint.bank.account(account) is not None


def test_what_is_no_mint_is_refused(town: ClockedTown) -> None:
    for flag in ("--payment-mint", "--stake-mint"):
        said = town.refused("owner", "market", "create", flag, str(town.key("owner").pubkey()))
        assert "(WrongMint): name mints of SPL Token" in said
    market = town.new_market("--id", "7")
    assert "already: leave it out" in town.refused("owner", "market", "create", "--id", "7")
    assert market.payment_mint == NATIVE_MINT
