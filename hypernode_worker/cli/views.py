"""Accounts as JSON and as text: one place, so that `job get` and `job list` call the same thing by the same name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hypernode_worker.cli import screen
from hypernode_worker.core.amounts import show_amount, sol

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from hypernode_worker.core.accounts import Job, Market, Node
    from hypernode_worker.core.ports import Receipt


def state_name(job: Job) -> str:
    return job.state.name.lower()


def job_json(job: Job) -> dict[str, object]:
    """A job's account; money in base units, times in unix seconds (0: not yet)."""
    return {
        "job": str(job.address),
        "state": state_name(job),
        "market": str(job.market),
        "client": str(job.client),
        "node": _key(job.node),
        "payout": _key(job.payout),
        "payment_mint": _key(job.payment_mint),
        "price": job.price,
        "timeout": job.timeout,
        "used": job.used,
        "deposit": job.deposit,
        "paid": job.paid,
        "fee": job.fee,
        "refunded": job.refunded,
        "owed_node": job.owed_node,
        "owed_fee": job.owed_fee,
        "owed_client": job.owed_client,
        "definition_cid": str(job.definition_cid),
        "result_cid": str(job.result_cid) if job.result_cid else None,
        "result_hash": job.result_hash.hex() if job.result_cid else None,
        "exit_status": job.exit_status if job.result_cid else None,
        "reason": job.reason.name.lower(),
        "arbiter": _key(job.arbiter),
        "bond": job.bond,
        "reason_cid": str(job.reason_cid) if job.reason_cid else None,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "deadline": job.deadline,
        "created_at": job.created_at,
        "claimed_at": job.claimed_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "settled_at": job.settled_at,
    }


def job_text(job: Job) -> str:
    """A job for people."""
    native = job.is_native
    values: dict[str, object] = {
        "job": job.address,
        "state": _state_text(job),
        "market": job.market,
        "client": job.client,
        "node": _key(job.node) or "-",
        "price": f"{show_amount(job.price, native=native)} a second, at most {job.timeout} s",
        "deposit": show_amount(job.deposit, native=native),
    }
    if job.state.terminal:
        values["paid"] = f"{show_amount(job.paid, native=native)} for {job.used} s"
        values["fee"] = show_amount(job.fee, native=native)
        values["refunded"] = show_amount(job.refunded, native=native)
    else:
        values["deadline"] = time_text(job.deadline)
    if job.reason_cid:
        values["disputed"] = f"for {job.reason_cid}, with a bond of {show_amount(job.bond, native=native)}"
    if job.owed:
        values["owed"] = f"{show_amount(job.owed, native=native)}: 'job settle' delivers it once its owner can be paid"
    values["definition"] = job.definition_cid
    if job.result_cid:
        values["result"] = job.result_cid
        values["exit status"] = job.exit_status
    values["created"] = time_text(job.created_at)
    return screen.fields(values)


def outcome_sentence(job: Job) -> str:
    """How a job ended, in one sentence."""
    match state_name(job):
        case "settled" if job.exit_status == 0:
            return f"The job completed: {job.used} s were billed."
        case "settled":
            return f"The job ended with exit status {job.exit_status}: {job.used} s were billed; its log says why."
        case "cancelled":
            return "The job was cancelled; the whole deposit is back."
        case "expired":
            return f"No node completed the job (last reason: {job.reason.name.lower()}); see what was refunded."
        case other:
            return f"The job is {other}."


def market_json(market: Market) -> dict[str, object]:
    terms = market.terms
    plain = {name: getattr(terms, name) for name in terms.__slots__}
    plain.update(
        arbiter=_key(terms.arbiter),
        fee_receiver=_key(terms.fee_receiver),
        spec_cid=str(terms.spec_cid) if terms.spec_cid else None,
    )
    return {
        "market": str(market.address),
        "authority": str(market.authority),
        "market_id": market.market_id,
        "payment_mint": _key(market.payment_mint),
        "stake_mint": _key(market.stake_mint),
        "paused": bool(market.paused),
        "revision": market.revision,
        **plain,
    }


def market_text(market: Market) -> str:
    terms = market.terms
    review = (
        f"{terms.review_period} s; then {terms.arbiter} has {terms.resolve_timeout} s for a dispute (bond "
        f"{terms.bond_bps / 100:g} %)"
        if terms.review_period
        else "none: a posted result is paid at once, whatever it is"
    )
    return screen.fields(
        {
            "market": market.address,
            "authority": market.authority,
            "state": "paused" if market.paused else "open",
            "paid in": "SOL" if market.is_native else f"token {market.payment_mint}",
            "least price": f"{show_amount(terms.min_price, native=market.is_native)} a second",
            "fee": f"{terms.fee_bps / 100:g} %",
            "longest job": f"{terms.max_timeout} s",
            "review": review,
            "timeouts": f"queue {terms.queue_timeout} s, setup {terms.setup_timeout} s, grace {terms.finish_grace} s, "
            f"heartbeat {terms.heartbeat_timeout or 'not asked for'}{' s' if terms.heartbeat_timeout else ''}",
            "attempts": terms.max_attempts,
            "network": "jobs may use it" if terms.flags & 1 else "no",
            "results": "must be pinned" if terms.flags & 2 else "need no pin",
            "stake": _stake_text(market),
        }
    )


def _stake_text(market: Market) -> str:
    terms = market.terms
    if not (terms.min_stake or terms.lock_per_job):
        return "not required"
    return (
        f"{terms.min_stake:,} base units of {market.stake_mint} to claim; each job locks {terms.lock_per_job:,}, of "
        f"which losing it costs {terms.slash_bps / 100:g} %; {terms.unstake_cooldown} s to get it back"
    )


def node_json(node: Node) -> dict[str, object]:
    specs = node.specs
    return {
        "node": str(node.address),
        "market": str(node.market),
        "authority": str(node.authority),
        "payout": str(node.payout),
        "state": node.state.name.lower(),
        "trust": node.trust.name.lower(),
        "credit": node.credit,
        "isolation": specs.isolation,
        "gpu_vendor": specs.gpu_vendor,
        "gpu_count": specs.gpu_count,
        "vram_mb": specs.vram_mb,
        "ram_mb": specs.ram_mb,
        "disk_gb": specs.disk_gb,
        "cpu_cores": specs.cpu_cores,
        "specs_cid": str(specs.specs_cid) if specs.specs_cid else None,
        "capacity": node.capacity,
        "active_jobs": node.active_jobs,
        "open_jobs": node.open_jobs,
        "completed": node.completed,
        "failed": node.failed,
        "released": node.released,
        "abandoned": node.abandoned,
        "disputes_lost": node.disputes_lost,
        "staked": node.staked,
        "slashed": node.slashed,
        "compute_seconds": node.compute_seconds,
        "earned": node.earned,
        "registered_at": node.registered_at,
        "last_seen": node.last_seen,
    }


def node_text(node: Node) -> str:
    specs = node.specs
    gpus = f"{specs.gpu_count} with {specs.vram_mb:,} MB each" if specs.gpu_count else "none"
    return screen.fields(
        {
            "node": node.address,
            "wallet": node.authority,
            "paid to": node.payout,
            "market": node.market,
            "state": node.state.name.lower(),
            "trust": f"{node.trust.name.lower()} (credit {node.credit}{'' if specs.isolation else ', no containers'})",
            "GPUs": gpus,
            "machine": f"{specs.cpu_cores} CPUs, {specs.ram_mb:,} MB memory, {specs.disk_gb:,} GB disk",
            "jobs": f"{node.active_jobs} of {node.capacity} running; {node.completed} completed, {node.failed} failed, "
            f"{node.released} given back, {node.abandoned} abandoned",
            "earned": f"{node.earned:,} base units in {node.compute_seconds:,} s",
            "last seen": time_text(node.last_seen),
        }
    )


def receipt_json(receipt: Receipt) -> dict[str, object]:
    return {"signature": str(receipt.signature), "slot": receipt.slot, "fee_lamports": receipt.fee_lamports}


def quote_lines(price: int, timeout_s: int, deposit: int, rent: int, fee: int, *, native: bool) -> str:
    """The whole of what a job takes from the wallet."""
    values: dict[str, object] = {
        "deposit": f"{show_amount(deposit, native=native)} = {price:,} a second x {timeout_s:,} s; "
        "what isn't used comes back when the job settles",
        "rent": f"{show_amount(rent, native=True)}; comes back with 'job close'",
        "network fee": f"{show_amount(fee, native=True)} and at most MAX_PRIORITY_FEE",
        "together": f"{sol(rent + fee + (deposit if native else 0))} SOL"
        + ("" if native else f" and {deposit:,} base units"),
    }
    return screen.fields(values, indent="  ")


def _state_text(job: Job) -> str:
    name = state_name(job)
    if job.attempts > 1 or (job.attempts and name == "queued"):
        name += f" (attempt {job.attempts} of {job.max_attempts}; last reason: {job.reason.name.lower()})"
    return name


def _key(key: Pubkey) -> str | None:
    text = str(key)
    return None if text == "1" * 32 else text


def time_text(seconds: int) -> str:
    """A moment in the local time zone; '-' for none."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds)) if seconds > 0 else "-"
