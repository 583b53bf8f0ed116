"""`stake add|withdraw|show` on a chain whose clock the test moves."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NodeState
from hypernode_worker.solana.addresses import token_address
from hypernode_worker.solana.program import MarketsProgram
from tests.support.clocked_town import ClockedTown
from tests.support.solana_flow import post

COOLDOWN_S = 3_600
TERMS = ["--min-stake", "5000", "--lock-per-job", "2000", "--unstake-cooldown", str(COOLDOWN_S)]


def open_market(town: ClockedTown, *options: str, tokens: int = 20_000) -> tuple[str, str]:
    """A market with stake, in which the node is registered; its address and its stake mint."""
    mint = town.new_mint(decimals=3)
    market = town.new_market("--stake-mint", mint, *TERMS, *options)
    town.register("node", market)
    if tokens:
        town.give("node", mint, tokens)
    return str(market.address), mint


def test_stake_from_nothing_to_nothing(town: ClockedTown) -> None:
    market, mint = open_market(town)
    before = town.json("node", "stake", "show")
    assert (before["staked"], before["wallet_balance"], before["decimals"]) == (0, 20_000, 3)
    assert (before["min_stake"], before["lock_per_job"], before["stake_mint"]) == (5_000, 2_000, mint)
    assert "'hypernode-worker stake add 5000'" in town.run("node", "stake", "show")

    added = town.json("node", "stake", "add", "9_000")
    assert (added["staked"], added["wallet_balance"]) == (9_000, 11_000)
    shown = town.run("node", "stake", "show")
    assert "9,000 (9.0)" in shown
    assert "4 jobs at once" in shown

    asked = town.json("node", "stake", "withdraw", "4000")
    assert (asked["staked"], asked["unstaking"], asked["withdraw_in_s"]) == (9_000, 4_000, COOLDOWN_S)
    assert "in 3,600 s" in town.run("node", "stake", "show")
    early = town.refused("node", "stake", "withdraw")
    assert "The cooldown of 4,000 base units" in early
    assert "ends in 3,600 s" in early

    town.advance(COOLDOWN_S)
    ripe = town.refused("node", "stake", "withdraw", "100")
    assert "can be taken now" in ripe, "a new request would throw the cooldown away"
    taken = town.json("node", "stake", "withdraw")
    assert (taken["staked"], taken["unstaking"], taken["withdraw_in_s"]) == (5_000, 0, None)
    assert town.tokens("node", mint) == 15_000

    town.run("node", "stake", "withdraw", "5000")
    assert town.node("node", market).state is NodeState.DRAINING, "nobody else can add to its stake now"
    town.advance(COOLDOWN_S)
    town.run("node", "stake", "withdraw")
    assert town.tokens("node", mint) == 20_000
    town.run("node", "node", "deregister")
    assert "none yet" in town.run("node", "stake", "show")


def test_a_request_can_be_replaced_and_taken_back(town: ClockedTown) -> None:
    market, _ = open_market(town)
    town.run("node", "stake", "add", "6000")
    town.run("node", "stake", "withdraw", "1000")
    town.advance(COOLDOWN_S // 2)
    again = town.json("node", "stake", "withdraw", "2000")
    assert (again["unstaking"], again["withdraw_in_s"]) == (2_000, COOLDOWN_S), "the cooldown starts anew"
    back = town.json("node", "stake", "withdraw", "--cancel")
    assert (back["unstaking"], back["withdraw_in_s"]) == (0, None)
    assert town.node("node", market).staked == 6_000
    assert "No stake has been asked back" in town.refused("node", "stake", "withdraw", "--cancel")
    assert "leave the amount out" in town.refused("node", "stake", "withdraw", "5", "--cancel", code=2)


def test_what_open_jobs_lock_cannot_be_asked_back(town: ClockedTown) -> None:
    open_market(town)
    town.run("node", "stake", "add", "6000")
    seen = town.market()
    job = town.chain("client", lambda chain: post(chain, seen))
    town.chain("node", lambda chain: chain.work_job(job, begin=True))
    refused = town.refused("node", "stake", "withdraw", "4001")
    assert "open jobs lock 2,000" in refused
    assert "at most 4,000" in refused
    assert "2,000 (2.0) by 1 open jobs" in town.run("node", "stake", "show")
    town.run("node", "stake", "withdraw", "4000")


def test_each_mistake_has_its_own_sentence(town: ClockedTown) -> None:
    open_market(town, tokens=1_000)
    assert "A stake of zero changes nothing" in town.refused("node", "stake", "add", "0", code=2)
    assert "A withdrawal of zero changes nothing" in town.refused("node", "stake", "withdraw", "0", code=2)
    assert "holds 1,000 base units" in town.refused("node", "stake", "add", "1001")
    assert "at most 0 can be asked back" in town.refused("node", "stake", "withdraw", "1")
    assert "No stake has been asked back: 'hypernode-worker stake withdraw AMOUNT'" in town.refused(
        "node", "stake", "withdraw"
    )
    assert "is not an amount" in town.refused("node", "stake", "add", "much", code=2)
    assert "stake is a token" in town.refused("node", "stake", "add", "1SOL", code=2)
    assert "has no node in market" in town.refused("stranger", "stake", "add", "5")
    town.new_market()
    assert "takes no stake" in town.refused("node", "stake", "add", "5", code=2)
    assert "none: this market takes no stake" in town.run("node", "stake", "show")
    assert town.json("node", "stake", "show")["stake_mint"] is None


def test_the_payout_wallets_missing_account_is_made(town: ClockedTown) -> None:
    """Somebody else may stake for a node whose payout wallet never had the token."""
    market, mint = open_market(town, tokens=0)
    town.give("stranger", mint, 700)
    node, payer = town.node("node", market), town.key("stranger")
    town.send([MarketsProgram().stake(payer.pubkey(), node, Pubkey.from_string(mint), 700)], payer)
    town.run("node", "stake", "withdraw", "700")
    town.advance(COOLDOWN_S)
    account = token_address(town.key("node").pubkey(), Pubkey.from_string(mint))
    assert town.endpoint.bank.account(account) is None
    assert town.json("node", "stake", "withdraw")["wallet_balance"] == 700


def test_stake_comes_back_from_a_market_that_was_closed(town: ClockedTown) -> None:
    market, mint = open_market(town)
    town.run("node", "stake", "add", "5000")
    town.advance(1)
    assert "Nothing was changed" in town.run("owner", "market", "close", code=1, given="n\n")
    town.run("owner", "market", "close", "--yes")
    assert "There is no market" in town.refused("node", "stake", "add", "1")
    shown = town.json("node", "stake", "show")
    assert (shown["market"], shown["staked"], shown["stake_mint"]) == (None, 5_000, mint)
    town.run("node", "stake", "withdraw", "5000", "--market", market)
    town.advance(COOLDOWN_S)
    town.run("node", "stake", "withdraw")
    assert town.tokens("node", mint) == 20_000


@pytest.mark.parametrize(("staked", "code"), [(0, 3), (4_999, 3), (5_000, 0)])
def test_the_check_of_stake_says_what_to_type(town: ClockedTown, staked: int, code: int) -> None:
    market, mint = open_market(town)
    if staked:
        town.run("node", "stake", "add", str(staked))
    (_, *_, found) = town.json("node", "test", "--only", "stake", code=code)
    assert found["name"] == "stake"
    assert (found["state"] == "ok") is (code == 0)
    wanted = f"of {5_000:,} needed" if not code else f"'hypernode-worker stake add {5_000 - staked}'"
    assert wanted in found["message"]
    assert market in found["message"] or mint in found["message"]
