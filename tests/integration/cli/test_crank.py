"""`crank` on jobs that nobody else ends: each exit once it is due, not before, and one that fails stops no other."""

from __future__ import annotations

import json
import signal
from typing import Any

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market
from hypernode_worker.core.deadlines import KEEP_OWED_S
from hypernode_worker.solana.addresses import token_address
from tests.support.clocked_town import ClockedTown
from tests.support.solana_flow import RESULT, post

QUEUE_S, SETUP_S, REVIEW_S, GRACE_S, RUN_S = 500, 200, 1_000, 60, 60


def open_market(town: ClockedTown, *options: str) -> Market:
    arbiter = str(town.key("owner").pubkey())
    times = {"queue": QUEUE_S, "setup": SETUP_S, "heartbeat": 0, "resolve": REVIEW_S}
    given = [word for name, seconds in times.items() for word in (f"--{name}-timeout", str(seconds))]
    market = town.new_market(
        *given, "--finish-grace", str(GRACE_S), "--review-period", str(REVIEW_S), "--arbiter", arbiter, *options
    )
    town.register("node", market)
    return market


def posted(town: ClockedTown, market: Market) -> Job:
    return town.chain("client", lambda chain: post(chain, market, timeout=RUN_S))


def claimed(town: ClockedTown, market: Market, *, begin: bool) -> Job:
    job = posted(town, market)
    town.chain("node", lambda chain: chain.work_job(job, begin=begin))
    return town.job(str(job.address))


def finished(town: ClockedTown, market: Market) -> Job:
    running = claimed(town, market, begin=True)
    finish: dict[str, Any] = {"result_cid": RESULT, "result_hash": bytes(32), "exit_status": 0}
    town.chain("node", lambda chain: chain.finish_job(running, **finish))
    return town.job(str(running.address))


def exits(found: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """What was done, by account."""
    return {each["account"]: (each["exit"], each["outcome"]) for each in found}


def test_an_abandoned_market_is_cleaned(town: ClockedTown) -> None:
    mint = town.new_mint()
    market = open_market(town, "--stake-mint", mint, "--unstake-cooldown", "100")
    town.give("node", mint, 50)
    town.run("node", "stake", "add", "50")
    town.run("node", "stake", "withdraw", "20")
    queued, cancelled = posted(town, market), posted(town, market)
    town.run("client", "job", "cancel", str(cancelled.address))
    set_up, running = claimed(town, market, begin=False), claimed(town, market, begin=True)
    submitted, disputed = finished(town, market), finished(town, market)
    town.run("client", "job", "dispute", str(disputed.address), "--reason", "no", "--yes")
    assert town.json("stranger", "crank") == [], "nothing is due yet"
    assert town.run("stranger", "crank") == "Nothing is due.\n"

    town.advance(SETUP_S)
    node = town.json("node", "node", "show")["node"]
    due = {
        str(set_up.address): ("timeout_job", "due"),
        str(running.address): ("timeout_job", "due"),
        node: ("withdraw_stake", "due"),
    }
    before = town.json("stranger", "key", "balance")["lamports"]
    assert exits(town.json("stranger", "crank", "--dry-run")) == due
    assert town.json("stranger", "key", "balance")["lamports"] == before, "a dry run sends nothing"
    found = town.json("stranger", "crank")
    assert exits(found) == {account: (name, "done") for account, (name, _) in due.items()}
    cost = sum(each["fee_lamports"] for each in found)
    assert before - town.json("stranger", "key", "balance")["lamports"] == cost
    assert town.tokens("node", mint) == 20
    assert town.json("stranger", "crank") == []
    assert {town.job(str(job.address)).state for job in (set_up, running)} == {JobState.QUEUED}

    town.advance(REVIEW_S)
    found = exits(town.json("stranger", "crank"))
    assert found == {
        str(queued.address): ("timeout_job", "done"),
        str(set_up.address): ("timeout_job", "done"),
        str(running.address): ("timeout_job", "done"),
        str(submitted.address): ("settle_job", "done"),
        str(disputed.address): ("settle_job", "done"),
    }
    town.advance(KEEP_OWED_S)
    found = exits(town.json("stranger", "crank"))
    ended = (queued, cancelled, set_up, running, submitted, disputed)
    assert found == {str(job.address): ("close_job", "done") for job in ended}
    assert town.json("client", "job", "list") == []


def test_time_without_slots_is_not_enough(town: ClockedTown) -> None:
    """After a halt of the chain its clock jumps: a deadline counts slots too."""
    market = open_market(town)
    job = posted(town, market)
    bank = town.endpoint.bank
    town.on_chain(lambda: bank.advance(1, QUEUE_S + 10))
    assert town.json("stranger", "crank") == []
    town.on_chain(lambda: bank.advance(2 * QUEUE_S, 0))
    assert exits(town.json("stranger", "crank")) == {str(job.address): ("timeout_job", "done")}
    assert town.job(str(job.address)).state is JobState.EXPIRED


def test_what_cannot_be_delivered_waits_and_stops_nothing(town: ClockedTown) -> None:
    """The node's token account is gone: its pay waits; the rest is done, and the pay follows when it can."""
    money = town.new_mint()
    market = open_market(town, "--payment-mint", money)
    town.give("client", money, 1_000_000)
    stuck, fine = finished(town, market), finished(town, market)
    account = token_address(town.key("node").pubkey(), Pubkey.from_string(money))
    town.on_chain(lambda: town.endpoint.bank.set_account(account, None))
    town.advance(REVIEW_S)
    assert {each["outcome"] for each in town.json("stranger", "crank")} == {"done"}
    owed = town.job(str(stuck.address)).owed_node
    assert owed > 0
    found = town.json("stranger", "crank")
    assert exits(found) == {str(job.address): ("deliver", "undeliverable") for job in (stuck, fine)}
    assert "token account that isn't frozen" in found[0]["message"]
    town.give("node", money, 1)
    assert {each["outcome"] for each in town.json("stranger", "crank")} == {"done"}
    assert town.job(str(stuck.address)).owed == 0
    assert town.tokens("node", money) == 1 + 2 * owed


def test_the_node_itself_makes_its_missing_account(town: ClockedTown) -> None:
    money = town.new_mint()
    market = open_market(town, "--payment-mint", money)
    town.give("client", money, 1_000_000)
    job = finished(town, market)
    account = token_address(town.key("node").pubkey(), Pubkey.from_string(money))
    town.on_chain(lambda: town.endpoint.bank.set_account(account, None))
    town.advance(REVIEW_S)
    town.run("node", "job", "settle", str(job.address))
    paid = town.job(str(job.address)).paid
    assert paid == town.tokens("node", money) > 0


def test_a_wallet_without_money_fails_each_and_says_so(town: ClockedTown) -> None:
    market = open_market(town)
    jobs = [posted(town, market) for _ in range(2)]
    town.advance(QUEUE_S)
    town.run("poor", "key", "new")
    found = town.json("poor", "crank", code=1)
    assert exits(found) == {str(job.address): ("timeout_job", "failed") for job in jobs}
    assert all("too little SOL" in each["message"] for each in found)


def test_all_markets_at_once(town: ClockedTown) -> None:
    town.advance(KEEP_OWED_S)
    town.run("stranger", "crank", "--all")
    first = posted(town, open_market(town))
    second = posted(town, open_market(town))
    town.advance(QUEUE_S)
    here = town.json("stranger", "crank", "--dry-run")
    assert list(exits(here)) == [str(second.address)]
    assert set(exits(town.json("stranger", "crank", "--all"))) == {str(first.address), str(second.address)}


def test_a_watch_goes_on_until_it_is_stopped(town: ClockedTown) -> None:
    job = posted(town, open_market(town))
    town.advance(QUEUE_S)
    with town.running("stranger", "crank", "--watch", "--json", until="timeout_job") as watching:
        (line,) = [line for line in town.lines[watching.pid] if line.startswith("{")]
        assert exits([json.loads(line)]) == {str(job.address): ("timeout_job", "done")}
        assert watching.poll() is None
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 130
