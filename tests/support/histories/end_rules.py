"""How jobs end: results, reviews, disputes, deadlines, and what is paid then; one function an instruction."""

from __future__ import annotations

from dataclasses import replace

from hypernode_worker.core.accounts import NATIVE_MINT, Job, JobState, Node, Reason
from hypernode_worker.core.types import Cid, UnixTime
from tests.support.histories import money_rules as money
from tests.support.histories.books import U64, Draft, Forbidden, need
from tests.support.histories.job_rules import WORKED_ON, acting, holder, more, passed, requeue, until

KEEP_OWED = 90 * 86_400


def finish_job(draft: Draft) -> None:
    node, job = acting(draft, write=True)
    need(job.state == JobState.RUNNING, "not running")
    told, now = draft.told, UnixTime(draft.time)
    result, digest = told.args["result_cid"], told.args["result_hash"]
    if not isinstance(result, Cid) or not isinstance(digest, bytes):
        raise Forbidden("no result")
    end = min(job.stopped_at, draft.time) if job.stopped_at else draft.time
    used = min(max(1, end - job.started_at), job.timeout)
    job = replace(
        job, result_cid=result, result_hash=digest, exit_status=told.number("exit_status"), reason=Reason.NONE,
        ended_at=now, used=used,
    )  # fmt: skip
    node = replace(node, last_seen=now)
    if job.review_period:
        draft.put(replace(node, active_jobs=node.active_jobs - 1))
        draft.put(until(draft, replace(job, state=JobState.SUBMITTED), job.review_period))
    else:
        _settle(draft, money.let_go(node, job, worked=True), job)


def _settle(draft: Draft, node: Node, job: Job, pay_bps: int = 10_000, bond: int = 0) -> None:
    """Pays a share of what the posted result costs; a node that isn't paid half has lost. `bond` goes to the node."""
    gross = money.share(job.price * job.used, pay_bps)
    fee = money.share(gross, job.fee_bps)
    if pay_bps < 5_000:
        node = replace(node, earned=more(node.earned, gross - fee, U64))
    else:
        node = _credited(draft, node, job, gross, gross - fee)
    rest = job.deposit + job.bond - gross - bond
    job = money.conclude(draft, job, JobState.SETTLED, node=gross - fee + bond, fee=fee, client=rest)
    draft.put(node)
    draft.put(money.deliver(draft, job, everyone=True))


def _credited(draft: Draft, node: Node, job: Job, gross: int, net: int) -> Node:
    ended = "failed" if job.exit_status else "completed"
    own = job.client in (node.authority, node.payout, job.payout)
    if gross >= job.credit_pay and draft.time - node.credited_at >= 3_600 and not own:
        node = replace(node, credit=more(node.credit, limit=200), credited_at=UnixTime(draft.time))
    return replace(
        node, compute_seconds=more(node.compute_seconds, job.used, U64), earned=more(node.earned, net, U64),
        **{ended: more(getattr(node, ended))},
    )  # fmt: skip


def resolve_dispute(draft: Draft) -> None:
    job = draft.load("job", Job)
    need(draft.signer("arbiter") == job.arbiter and job.state == JobState.DISPUTED, "nothing to decide")
    node = holder(draft, job)
    pay, cut = draft.told.number("pay_bps"), draft.told.number("slash_bps")
    lost = pay < 5_000
    need(pay <= 10_000 and cut <= (job.slash_bps if lost else 0), "no such share")
    node = money.let_go(node, job, worked=False)
    if lost:
        node = money.slash(node, job, cut)
        node = replace(node, credit=max(0, node.credit - 25), disputes_lost=more(node.disputes_lost))
    _settle(draft, node, job, pay, job.bond if pay == 10_000 else 0)


def settle_job(draft: Draft) -> None:
    caller, job = draft.signer("caller"), draft.load("job", Job)
    if job.state.terminal:
        after = money.deliver(draft, job, everyone=False)
        need(after.owed < job.owed, "nothing delivered")
        draft.put(after)
        return
    due = job.state in (JobState.SUBMITTED, JobState.DISPUTED) and passed(draft, job)
    need(due or (job.state == JobState.SUBMITTED and caller == job.client), "not yet")
    _settle(draft, money.let_go(holder(draft, job), job, worked=False), job)


def timeout_job(draft: Draft) -> None:
    job = draft.load("job", Job)
    need(job.state <= JobState.RUNNING and passed(draft, job), "not yet")
    spent, worked = job.attempts >= job.max_attempts, job.state in WORKED_ON
    if worked:
        node = money.slash(money.let_go(holder(draft, job), job, worked=True), job, job.slash_bps)
        draft.put(replace(node, credit=max(0, node.credit - 10), abandoned=more(node.abandoned)))
    if worked and not spent and not job.stopped_at:
        draft.put(requeue(draft, job, Reason.TIMED_OUT))
        return
    reason = Reason.STOPPED if job.stopped_at else Reason.ATTEMPTS_SPENT if spent else Reason.TIMED_OUT
    job = money.conclude(draft, replace(job, reason=reason), JobState.EXPIRED, client=job.deposit)
    draft.put(money.deliver(draft, job, everyone=True))


def close_job(draft: Draft) -> None:
    caller, job = draft.signer("caller"), draft.load("job", Job)
    need(job.state.terminal, "not ended")
    draft.is_at("client", job.client)
    if job.owed_node or job.owed_fee:
        job = money.deliver(draft, job, everyone=False)
    old = draft.time - job.settled_at >= KEEP_OWED
    need(old or (caller == job.client and not job.owed_node and not job.owed_fee), "others are owed")
    if job.payment_mint != NATIVE_MINT:
        money.close_escrow(draft, job)
    draft.close(job.address, job.client)
