"""The whole life of jobs by the client libraries of others, which know our program by its IDL alone.

Two stories, told by each of `@coral-xyz/anchor`, `@solana/kit` and anchorpy3. What they send, and what they decode of
accounts, events and errors, is held against our own client with each step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Node, NodeState, Reason
from hypernode_worker.core.claim_window import LAST_NODE_WAITS_SLOTS
from hypernode_worker.core.types import Cid
from tests.support.foreign_stage import PROGRAM, TOKENS, Stage, stage

CLIENTS = [
    pytest.param("anchor_life.mjs", marks=pytest.mark.node, id="anchor"),
    pytest.param("kit_life.mjs", marks=pytest.mark.node, id="kit"),
    pytest.param("anchorpy", marks=pytest.mark.anchorpy, id="anchorpy"),
]


@pytest.fixture(params=CLIENTS)
async def on(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """The localnet, acted on by one library."""
    if request.param == "anchorpy":
        command: list[str] = request.getfixturevalue("anchorpy_command")
    else:
        command = ["node", str(request.getfixturevalue("js_folder") / request.param)]
    async with stage(command, tmp_path) as opened:
        yield opened


async def test_a_staked_node_does_a_job_paid_in_sol(on: Stage) -> None:
    market = await on.open_market(fee_bps=250, min_stake=500, lock_per_job=100)
    node = await on.register(market)
    client, operator = on.wallets["client"], on.wallets["operator"]
    await on.refuse("client", on.offer(market, price=999)[1], "PriceTooLow")
    job, offer = on.offer(market, price=2_000)
    made = await on.call("client", offer, "JobCreated", job=job, market=market.address, client=client, deposit=120_000)
    assert made.lamports[job] == on.bank.rent_exempt_minimum(768) + 120_000

    claim = PROGRAM.work_job(operator, await on.seen(Job, job), begin=False)
    await on.refuse("operator", claim, "StakeTooLow")
    await on.stake(node, 700)
    await on.call("operator", PROGRAM.heartbeat_node(operator, market.address, NodeState.ACTIVE))
    longer = PROGRAM.extend_job(on.read(Job, job), 30)
    await on.call("client", longer, "JobExtended", job=job, timeout=90, deposit=180_000)
    await on.call("operator", claim, "JobClaimed", job=job, node=node, attempts=1, state=JobState.CLAIMED)
    secrets = PROGRAM.share_secrets(on.read(Job, job), Cid.of(b"sealed"))
    await on.call("client", secrets, "JobSecretsShared", job=job)
    await on.call("operator", PROGRAM.begin_job(operator, on.read(Job, job)), "JobStarted", job=job, node=node)
    half = PROGRAM.checkpoint_job(operator, on.read(Job, job), progress_bps=5_000, cid=Cid.of(b"half"))
    await on.call("operator", half, "JobCheckpointed", job=job, checkpoint_seq=1, progress_bps=5_000)
    on.bank.advance(20, 7.0)

    finished, ended = await on.finish(job)
    gross = 2_000 * ended.used
    paid, fee = gross - gross * 250 // 10_000, gross * 250 // 10_000
    assert (7 <= ended.used < 60, ended.state, ended.exit_status) == (True, JobState.SETTLED, -1)
    assert finished.events == [
        job_ended(job, node, ended.reason, slashed=0, paid=paid, fee=fee, refunded=180_000 - gross)
    ]
    assert (on.gained("payout"), on.gained("fees")) == (paid, fee)
    await on.call("client", PROGRAM.close_job(client, ended), "JobClosed", job=job)
    assert (on.gained("client"), on.lamports(job)) == (-gross, 0)
    assert on.read(Node, node).earned == paid


async def test_a_disputed_result_paid_in_tokens_and_the_node_leaves(on: Stage) -> None:
    market = await on.open_market(
        paid_in_tokens=True, fee_bps=250, lock_per_job=100, slash_bps=5_000, bond_bps=1_000, review_period=600,
        unstake_cooldown=60,
    )  # fmt: skip
    node = await on.register(market)
    await on.stake(node, 700)
    client, operator = on.wallets["client"], on.wallets["operator"]
    job, offer = on.offer(market, price=2_000)
    await on.call("client", offer, "JobCreated", job=job, market=market.address, client=client, deposit=120_000)
    claim = PROGRAM.work_job(operator, on.read(Job, job), begin=True)
    await on.call("operator", claim, "JobClaimed", job=job, node=node, attempts=1, state=JobState.RUNNING)
    why = Reason.NODE_SHUTDOWN
    release = PROGRAM.release_job(operator, on.read(Job, job), why)
    await on.call("operator", release, "JobRequeued", job=job, node=node, reason=why, slashed=0)
    on.bank.advance(LAST_NODE_WAITS_SLOTS, 0.0)
    claim = PROGRAM.work_job(operator, await on.seen(Job, job), begin=True)
    await on.call("operator", claim, "JobClaimed", job=job, node=node, attempts=2, state=JobState.RUNNING)
    on.bank.advance(20, 7.0)
    stopped = await on.act("client", PROGRAM.stop_job(on.read(Job, job)))
    assert stopped.events == [("JobStopped", {"job": str(job), "stopped_at": on.read(Job, job).stopped_at})]
    finished, submitted = await on.finish(job)
    assert finished.events == [("JobSubmitted", {"job": str(job), "node": str(node), "exit_status": -1})]
    assert submitted.state == JobState.SUBMITTED
    assert on.tokens("client") == TOKENS - 120_000

    await on.call("client", PROGRAM.dispute_result(submitted, Cid.of(b"wrong")), "JobDisputed", job=job, bond=12_000)
    assert on.tokens("client") == TOKENS - 132_000
    disputed = await on.seen(Job, job)
    await on.refuse("arbiter", PROGRAM.resolve_dispute(disputed, pay_bps=10_001, slash_bps=0), "InvalidShare")
    ruled = await on.act("arbiter", PROGRAM.resolve_dispute(disputed, pay_bps=4_000, slash_bps=5_000))
    ended = await on.seen(Job, job)
    gross = 2_000 * ended.used * 4_000 // 10_000
    paid, fee = gross - gross * 250 // 10_000, gross * 250 // 10_000
    assert ruled.events == [
        job_ended(job, node, ended.reason, slashed=50, paid=paid, fee=fee, refunded=132_000 - gross)
    ]
    assert (on.tokens("payout"), on.tokens("fees"), on.tokens("client")) == (paid, fee, TOKENS - gross)
    await on.call("client", PROGRAM.close_job(client, ended), "JobClosed", job=job)
    assert on.gained("client") == 0

    asked = await on.act("operator", PROGRAM.request_unstake(on.read(Node, node), 650))
    unstaking = {"node": str(node), "amount": 650, "unstake_at": on.read(Node, node).unstake_at}
    assert asked.events == [("NodeUnstaking", unstaking)]
    on.bank.advance(150, 60.0)
    back = PROGRAM.withdraw_stake(await on.seen(Node, node), on.mint)
    await on.call("arbiter", back, "NodeUnstaked", node=node, amount=650, staked=0)
    leave = PROGRAM.deregister_node(on.read(Node, node), stake_mint=on.mint)
    await on.call("operator", leave, "NodeDeregistered", node=node, market=market.address, burnt=50)
    owner = on.wallets["owner"]
    pause = PROGRAM.update_market(market, market.terms, paused=True)
    await on.call("owner", pause, "MarketUpdated", market=market.address, revision=market.revision + 1, paused=1)
    await on.call("owner", PROGRAM.close_market(owner, market.address), "MarketClosed", market=market.address)
    assert (on.tokens("operator"), on.tokens("payout")) == (TOKENS - 700, paid + 650)
    assert (on.gained("owner"), on.lamports(node)) == (0, 0)
    # The rent of the node and of its vault goes to the payout wallet.
    assert on.gained("operator") + on.gained("payout") == 0


def job_ended(job: Pubkey, node: Pubkey, reason: int, **money: int) -> tuple[str, dict[str, object]]:
    """The event of a job that was settled, nothing of which is still owed."""
    owed = {"owed_node": 0, "owed_fee": 0, "owed_client": 0}
    return "JobEnded", {
        "job": str(job), "node": str(node), "state": JobState.SETTLED, "reason": reason, **money, **owed,
    }  # fmt: skip
