"""What the rules say of jobs: one function an instruction, and what an accepted one changes."""

from __future__ import annotations

from dataclasses import fields, replace

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import (
    Job,
    JobState,
    Market,
    MarketTerms,
    Node,
    NodeState,
    Reason,
    Requirements,
)
from hypernode_worker.core.claim_window import open_slot
from hypernode_worker.core.types import Cid, Slot, UnixTime
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM
from tests.support.histories import money_rules as money
from tests.support.histories.books import RECORD_BYTES, U64, Draft, Forbidden, need

U32 = 2**32 - 1
NONE = Pubkey.default()
WORKED_ON = (JobState.CLAIMED, JobState.RUNNING)
_COPIED = {f.name for f in fields(Job)} & {f.name for f in fields(MarketTerms)}
_WISHES = tuple(Requirements.__dataclass_fields__)
_TIMES = ("claimed_at", "started_at", "checkpoint_at", "stopped_at", "ended_at", "settled_at")
_ZERO = (
    "attempts", "exit_status", "checkpoint_seq", "progress_bps", "used", "bond", "paid", "fee", "refunded",
    "owed_node", "owed_fee", "owed_client",
)  # fmt: skip


def more(counter: int, by: int = 1, limit: int = U32) -> int:
    """Counters stay at their limit."""
    return min(limit, counter + by)


# --- time ---


def passed(draft: Draft, job: Job) -> bool:
    return draft.time >= job.deadline and draft.slot >= job.deadline_slot


def until(draft: Draft, job: Job, seconds: int) -> Job:
    """The state ends after so many seconds, two slots each."""
    return replace(job, deadline=UnixTime(draft.time + seconds), deadline_slot=Slot(draft.slot + 2 * seconds))


def _end(job: Job) -> int:
    """When a running job ends, whatever its node says."""
    billed = job.started_at + job.timeout
    last = (min(job.stopped_at, billed) if job.stopped_at else billed) + job.finish_grace
    if not job.heartbeat_timeout:
        return last
    return min(last, max(job.started_at, job.checkpoint_at) + job.heartbeat_timeout)


def _running(draft: Draft, job: Job, least_slot: int) -> Job:
    end = _end(job)
    slot = draft.slot + 2 * max(0, end - draft.time)
    return replace(job, deadline=UnixTime(end), deadline_slot=Slot(max(least_slot, slot)))


def _start(draft: Draft, job: Job) -> Job:
    return _running(draft, replace(job, state=JobState.RUNNING, started_at=UnixTime(draft.time)), 0)


def requeue(draft: Draft, job: Job, reason: Reason) -> Job:
    never = UnixTime(0)
    queued = replace(
        job, state=JobState.QUEUED, reason=reason, queued_slot=Slot(draft.slot), claimed_at=never, started_at=never,
        secrets_cid=None,
    )  # fmt: skip
    claimable = job.attempts < job.max_attempts and not job.stopped_at
    return until(draft, queued, job.queue_timeout if claimable else 0)


# --- whose ---


def _clients(draft: Draft) -> Job:
    job = draft.load("job", Job)
    need(draft.signer("client") == job.client, "not the client")
    return job


def acting(draft: Draft, *, write: bool) -> tuple[Node, Job]:
    """The job, and its node, whose authority has signed."""
    node, job = draft.load("node", Node, write=write), draft.load("job", Job)
    need(draft.signer("authority") == node.authority, "not the node's authority")
    need(node.address == job.node, "another node's job")
    return node, job


def holder(draft: Draft, job: Job) -> Node:
    need(draft.key("node") == job.node, "another node")
    return draft.load("node", Node)


# --- the client's ---


def create_job(draft: Draft) -> None:
    client, market = draft.signer("client"), draft.load("market", Market, write=False)
    draft.is_at("system_program", SYSTEM_PROGRAM)
    told, terms = draft.told, market.terms
    price, timeout = told.number("price"), told.number("timeout")
    need(not market.paused and told.number("revision") == market.revision, "paused or changed")
    need(price >= terms.min_price and 1 <= timeout <= terms.max_timeout, "price or timeout")
    need(told.args["definition_cid"] is not None, "no definition")
    wishes = Requirements(**{name: told.args[name] for name in _WISHES})  # type: ignore[arg-type]
    need(wishes.min_trust <= 2 and wishes.gpu_vendor <= 3 and wishes.framework <= 63, "no such requirements")
    need(price * timeout <= U64, "too much")
    nonce = told.number("nonce")
    seeds = [b"job", bytes(market.address), bytes(client), nonce.to_bytes(8, "little")]
    address, bump = Pubkey.find_program_address(seeds, told.program.id)
    draft.is_at("job", address)
    need(told.number("bump") == bump, "another bump")
    draft.open(client, address, RECORD_BYTES[Job])
    job = _new_job(draft, market, client, wishes, address, bump)
    if not market.is_native:
        escrow, escrow_bump = Pubkey.find_program_address([b"escrow", bytes(address)], told.program.id)
        need(told.number("escrow_bump") == escrow_bump, "another bump")
        job = replace(job, escrow=escrow)
        money.open_escrow(draft, job)
    money.deposit(draft, job, job.deposit)
    draft.put(job)


def _new_job(draft: Draft, market: Market, client: Pubkey, wishes: Requirements, address: Pubkey, bump: int) -> Job:
    told = draft.told
    values: dict[str, object] = {name: 0 for name in (*_TIMES, *_ZERO)}
    values |= {name: getattr(market.terms, name) for name in _COPIED}
    values |= {name: told.args[name] for name in ("nonce", "definition_cid", "price", "timeout")}
    values |= dict.fromkeys(("result_cid", "checkpoint_cid", "reason_cid", "secrets_cid"))
    values |= dict.fromkeys(("node", "escrow", "payout"), NONE)
    values |= {
        "address": address, "version": 1, "bump": bump, "state": JobState.QUEUED, "requirements": wishes,
        "market": market.address, "client": client, "payment_mint": market.payment_mint, "reason": Reason.NONE,
        "result_hash": bytes(32), "lock": market.terms.lock_per_job, "market_slot": market.created_slot,
        "deposit": told.number("price") * told.number("timeout"), "created_at": UnixTime(draft.time),
        "queued_slot": Slot(draft.slot), "deadline": 0, "deadline_slot": 0,
    }  # fmt: skip
    return until(draft, Job(**values), market.terms.queue_timeout)  # type: ignore[arg-type]


def cancel_job(draft: Draft) -> None:
    job = _clients(draft)
    need(job.state in (JobState.QUEUED, JobState.CLAIMED), "too late")
    if job.state == JobState.CLAIMED:
        draft.put(money.let_go(holder(draft, job), job, worked=True))
    job = money.conclude(draft, job, JobState.CANCELLED, client=job.deposit)
    draft.put(money.deliver(draft, job, everyone=True))


def extend_job(draft: Draft) -> None:
    job, seconds = _clients(draft), draft.told.number("seconds")
    need(job.state <= JobState.RUNNING and not job.stopped_at and not passed(draft, job), "too late")
    timeout = job.timeout + seconds
    need(seconds > 0 and timeout <= job.max_timeout, "no such time")
    need(job.price * timeout <= U64, "too much")
    if job.price:
        money.deposit(draft, job, job.price * seconds)
    job = replace(job, timeout=timeout, deposit=job.price * timeout)
    draft.put(_running(draft, job, job.deadline_slot) if job.state == JobState.RUNNING else job)


def stop_job(draft: Draft) -> None:
    job = _clients(draft)
    need(job.state == JobState.RUNNING and not job.stopped_at, "not running")
    stopped = replace(job, stopped_at=UnixTime(draft.time))
    draft.put(_running(draft, stopped, 0) if _end(stopped) < job.deadline else stopped)


def share_secrets(draft: Draft) -> None:
    job, secrets = _clients(draft), draft.told.args["secrets_cid"]
    if not isinstance(secrets, Cid):
        raise Forbidden("no secrets")
    need(job.state in WORKED_ON, "nobody to share with")
    draft.put(replace(job, secrets_cid=secrets))


def dispute_result(draft: Draft) -> None:
    job, reason = _clients(draft), draft.told.args["reason_cid"]
    if not isinstance(reason, Cid):
        raise Forbidden("no reason")
    need(job.state == JobState.SUBMITTED and not passed(draft, job), "no review")
    bond = money.share(job.deposit, job.bond_bps)
    if bond:
        money.deposit(draft, job, bond)
    job = replace(job, bond=bond, state=JobState.DISPUTED, reason_cid=reason)
    draft.put(until(draft, job, job.resolve_timeout))


# --- the node's ---


def work_job(draft: Draft) -> None:
    market, told = draft.load("market", Market, write=False), draft.told
    node, job = draft.load("node", Node), draft.load("job", Job)
    need(draft.signer("authority") == node.authority, "not the node's authority")
    need(not market.paused and node.market == job.market == market.address, "paused, or of another market")
    need(node.market_slot == job.market_slot == market.created_slot, "of an earlier market")
    need(job.state == JobState.QUEUED and told.number("queued_slot") == job.queued_slot, "not queued")
    need(job.attempts < job.max_attempts and not passed(draft, job), "too late")
    need(node.state == NodeState.ACTIVE and _able(node, job), "not able")
    need(node.active_jobs < min(node.capacity, market.terms.max_capacity), "full")
    free = node.staked - node.unstaking
    need(free >= market.terms.min_stake and free >= node.locked + job.lock, "too little stake")
    opens = open_slot(job, node.address)
    need(draft.slot >= opens, "the window is shut")
    now = UnixTime(draft.time)
    draft.put(replace(money.take_lock(node, job), last_seen=now))
    job = replace(job, attempts=job.attempts + 1, node=node.address, payout=node.payout, claimed_at=now)
    if told.args["begin"]:
        draft.put(_start(draft, job))
    else:
        draft.put(until(draft, replace(job, state=JobState.CLAIMED), job.setup_timeout))


def _able(node: Node, job: Job) -> bool:
    asked, has = job.requirements, node.specs
    vendor = asked.gpu_vendor in (0, has.gpu_vendor)
    gpu = vendor and asked.gpu_count <= has.gpu_count and asked.vram_mb <= has.vram_mb
    return gpu and bool(has.frameworks >> asked.framework & 1) and node.trust >= asked.min_trust


def begin_job(draft: Draft) -> None:
    _, job = acting(draft, write=False)
    need(job.state == JobState.CLAIMED and not passed(draft, job), "too late")
    draft.put(_start(draft, job))


def checkpoint_job(draft: Draft) -> None:
    _, job = acting(draft, write=False)
    progress, cid = draft.told.number("progress_bps"), draft.told.args["checkpoint_cid"]
    need(job.state == JobState.RUNNING and progress <= 10_000, "not running")
    if isinstance(cid, Cid):
        job = replace(job, checkpoint_cid=cid, checkpoint_seq=more(job.checkpoint_seq))
    job = replace(job, progress_bps=progress, checkpoint_at=UnixTime(draft.time))
    draft.put(_running(draft, job, job.deadline_slot))


def release_job(draft: Draft) -> None:
    node, job = acting(draft, write=True)
    reason = draft.told.number("reason")
    need(job.state in WORKED_ON and 1 <= reason <= 6 and not passed(draft, job), "too late")
    lost = 5 if job.state == JobState.RUNNING else 1
    node = money.let_go(node, job, worked=True)
    draft.put(replace(node, credit=max(0, node.credit - lost), released=more(node.released)))
    draft.put(requeue(draft, job, Reason(reason)))
