"""Review, dispute and its end, by the commands of client, node and arbiter, and of strangers who have no say."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import JobState, Market
from tests.support.clocked_town import ClockedTown
from tests.support.solana_flow import RESULT, post

REVIEW_S, RESOLVE_S = 600, 1_200
PRICE, TIMEOUT_S = 1_000, 100
DEPOSIT, BOND = PRICE * TIMEOUT_S, PRICE * TIMEOUT_S // 5
RUN_S = 10
GROSS = PRICE * RUN_S


def open_market(town: ClockedTown, **stake: str) -> Market:
    arbiter = str(town.key("owner").pubkey())
    options = ["--review-period", str(REVIEW_S), "--resolve-timeout", str(RESOLVE_S), "--arbiter", arbiter]
    more = itertools.chain.from_iterable((f"--{name.replace('_', '-')}", value) for name, value in stake.items())
    market = town.new_market("--min-price", str(PRICE), "--bond-bps", "2000", "--fee-bps", "1000", *options, *more)
    town.register("node", market)
    return market


def submitted(town: ClockedTown, market: Market) -> str:
    """A job whose result the node has just posted, after RUN_S seconds of work."""
    job = town.chain("client", lambda chain: post(chain, market, price=PRICE, timeout=TIMEOUT_S))
    town.chain("node", lambda chain: chain.work_job(job, begin=True))
    town.advance(RUN_S)
    running = town.job(str(job.address))
    town.chain(
        "node",
        lambda chain: chain.finish_job(running, result_cid=RESULT, result_hash=bytes(32), exit_status=0),
    )
    return str(job.address)


def money(done: dict[str, Any]) -> tuple[int, int, int]:
    return done["paid"], done["fee"], done["refunded"]


def test_a_whole_story_ends_in_a_slash(town: ClockedTown) -> None:
    """A real worker (of containers that do nothing) stakes, runs a job, and loses the dispute about it."""
    stake_mint = town.new_mint(decimals=0)
    market = open_market(
        town, stake_mint=stake_mint, min_stake="1000", lock_per_job="400", slash_bps="5000", heartbeat_timeout="0"
    )
    town.give("node", stake_mint, 1_000)
    town.settings["node"] = {"CONTAINER_RUNTIME": "mock", "ALLOW_MOCK": "true", "POLLING_INTERVAL": "1000"}
    definition = town.definition(
        {"framework": "custom", "image": "busybox", "operations": [{"command": "true"}], "timeout": TIMEOUT_S},
        {"requirements": {"trust": "low"}},
    )
    with town.running("node", "start", until="Checking xHYPER stake") as worker:
        assert "Stake too low (0 of 1,000)" in town.wait_for(worker, "Stake")
        assert "run 'hypernode-worker stake add 1000'" in town.wait_for(worker, "can't claim")
        town.wait_for(worker, "Watching for jobs")
        town.run("node", "stake", "add", "1000")
        job = town.json("client", "job", "post", definition, "--yes")["job"]
        town.wait_for(worker, "posted, paid after the market's review")
        town.run("node", "stop")
    assert town.json("node", "stake", "show")["locked"] == 400

    (town.folder / "reason.txt").write_text("The output is empty.\n\x1b[2JIt should hold a picture.\n")
    asked = town.run("client", "job", "dispute", job, "--reason", "reason.txt", code=1, given="n\n")
    assert "takes a bond of 20,000 lamports" in asked
    assert "Nothing was changed." in asked
    assert town.json("client", "job", "dispute", job, "--reason", "reason.txt", "--yes")["bond"] == BOND
    seen = town.json("owner", "job", "get", job)
    assert (seen["state"], seen["bond"]) == ("disputed", BOND)
    assert seen["reason_cid"] in town.run("owner", "job", "get", job)

    shown = town.run("owner", "market", "resolve", job, "--pay", "0", "--slash", "50%", code=1, given="\n")
    assert "  > It should hold a picture." in shown.replace("\N{REPLACEMENT CHARACTER}[2J", "")
    assert "200 base units of the node's stake" in shown
    decided = town.json("owner", "market", "resolve", job, "--pay", "0", "--slash", "50", "--yes")
    assert (decided["node"], decided["client"], decided["slashed"]) == (0, DEPOSIT + BOND, 200)
    done = town.json("client", "job", "get", job)
    assert (done["state"], *money(done)) == ("settled", 0, 0, DEPOSIT + BOND)
    stake = town.json("node", "stake", "show")
    assert (stake["staked"], stake["locked"], stake["slashed"]) == (800, 0, 200)
    assert "stake add 200'" in town.run("node", "stake", "show")
    assert town.json("node", "node", "show")["disputes_lost"] == 1
    assert market.terms.min_stake == 1_000


def test_accepting_pays_at_once(town: ClockedTown) -> None:
    job = submitted(town, open_market(town))
    assert "name the right one with --keypair" in town.refused("stranger", "job", "accept", job, code=2)
    town.run("client", "job", "accept", job)
    done = town.json("client", "job", "get", job)
    assert (done["state"], *money(done)) == ("settled", GROSS * 9 // 10, GROSS // 10, DEPOSIT - GROSS)
    assert f"The job {job} is settled" in town.refused("client", "job", "accept", job)
    assert "everybody has been paid" in town.refused("client", "job", "settle", job)


@pytest.mark.parametrize(("pay", "share"), [("100", 1.0), ("75.5%", 0.755), ("2500bps", 0.25)])
def test_what_is_shown_before_a_verdict_is_what_happens(town: ClockedTown, pay: str, share: float) -> None:
    job = submitted(town, open_market(town))
    town.run("client", "job", "dispute", job, "--reason", "It is wrong.", "--yes")
    said = town.json("owner", "market", "resolve", job, "--pay", pay, "--yes")
    done = town.json("client", "job", "get", job)
    assert money(done) == (said["node"], said["fee"], said["client"])
    assert sum(money(done)) == DEPOSIT + BOND
    granted = int(GROSS * share)
    assert said["node"] + said["fee"] == granted + (BOND if share == 1.0 else 0)


def test_an_undecided_dispute_pays_the_node(town: ClockedTown) -> None:
    job = submitted(town, open_market(town))
    town.run("client", "job", "dispute", job, "--reason", "x", "--yes")
    assert "deadline has not passed" in town.refused("stranger", "job", "settle", job)
    town.advance(RESOLVE_S)
    town.run("stranger", "job", "settle", job)
    done = town.json("client", "job", "get", job)
    assert money(done) == (GROSS * 9 // 10, GROSS // 10, DEPOSIT - GROSS + BOND)
    assert "not disputed" in town.refused("owner", "market", "resolve", job, "--pay", "0", "--yes")


def test_each_mistake_has_its_own_sentence(town: ClockedTown) -> None:
    market = open_market(town)
    job = submitted(town, market)
    reason = ["--reason", "It is wrong.", "--yes"]
    resolve = ["market", "resolve", job, "--yes"]
    assert "the job's client, may do this" in town.refused("stranger", "job", "dispute", job, *reason, code=2)
    assert "reason is empty" in town.refused("client", "job", "dispute", job, "--reason", " ", "--yes", code=2)
    long = ["--reason", "x" * 70_000, "--yes"]
    assert "more than 65,536 bytes" in town.refused("client", "job", "dispute", job, *long, code=2)
    assert "not disputed" in town.refused("owner", *resolve, "--pay", "0")
    town.run("client", "job", "dispute", job, *reason)
    assert "only a submitted result can be disputed" in town.refused("client", "job", "dispute", job, *reason)
    assert "the arbiter of the job's market" in town.refused("stranger", *resolve, "--pay", "0", code=2)
    assert "is no share" in town.refused("owner", *resolve, "--pay", "101", code=2)
    assert "is no share" in town.refused("owner", *resolve, "--pay", "-1", code=2)
    assert "is no share" in town.refused("owner", *resolve, "--pay", "1.234", code=2)
    assert "can't be slashed" in town.refused("owner", *resolve, "--pay", "50", "--slash", "1", code=2)
    assert "at most 10 %" in town.refused("owner", *resolve, "--pay", "0", "--slash", "11", code=2)
    assert town.job(job).state is JobState.DISPUTED

    late = submitted(town, market)
    town.advance(REVIEW_S)
    said = town.refused("client", "job", "dispute", late, *reason)
    assert "(DeadlinePassed)" in said
    assert "the review is over" in said


def test_stopping_a_queued_job_names_the_command_that_helps(town: ClockedTown) -> None:
    market = open_market(town)
    queued = town.chain("client", lambda chain: post(chain, market))
    said = town.refused("client", "job", "stop", str(queued.address))
    assert "(WrongJobState): only a running job is stopped" in said
    assert "'hypernode-worker job cancel'" in said
    assert "the job's client" in town.refused("stranger", "job", "cancel", str(queued.address), code=2)
    town.run("client", "job", "cancel", str(queued.address))
    assert "hasn't ended" in town.refused("client", "job", "close", submitted(town, market))
    assert "only its client may" in town.refused("stranger", "job", "close", str(queued.address))
    assert Pubkey.from_string(town.environment["MARKET_PUBKEY"]) == market.address
