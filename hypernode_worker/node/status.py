"""What `status` and `jobs` show, as JSON-ready objects: views of the worker's state, made when someone asks."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import cast

from hypernode_worker import __version__
from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.lifecycle import StopRequest
from hypernode_worker.core.ports import ChainHealth
from hypernode_worker.node.dispatcher import Dispatcher
from hypernode_worker.node.health_handler import HealthHandler
from hypernode_worker.node.job_board import JobBoard
from hypernode_worker.node.job_handler import JobHandler
from hypernode_worker.node.offer import Offer
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.settling import Settling

_STATES = {StopRequest.NONE: "running", StopRequest.DRAIN: "draining", StopRequest.NOW: "stopping"}


def worker_status(
    context: RunContext,
    dispatcher: Dispatcher,
    health: HealthHandler,
    board: JobBoard,
    settling: Settling,
    *,
    uptime_s: float,
) -> dict[str, object]:
    """The whole of `status`; amounts in base units, lamports or bytes as the names say."""
    node, settings = context.node, context.settings
    return {
        "version": __version__,
        "pid": os.getpid(),
        "state": _STATES[context.stop.request],
        "uptime_s": round(uptime_s, 1),
        "wallet": str(context.chain.wallet),
        "balance_lamports": health.balance_lamports,
        "payout": str(node.payout),
        "market": str(settings.market),
        "node": str(node.address),
        "trust": node.trust.name.lower(),
        "rpc": _rpc(context.chain.health()),
        "runtime": context.provider.name,
        "store": context.store.description,
        "auto_accept": settings.auto_accept,
        "min_price": settings.min_price,
        "capacity": dispatcher.capacity,
        "active_jobs": len(dispatcher.running),
        "candidates": len(board.ready),
        "unpaid_jobs": len(settling),
        "waiting_uploads": len(context.uploads),
        "counts": asdict(dispatcher.counts),
        "runs": [_run(handler, context) for handler in dispatcher.running.values()],
        "health": asdict(health.usage) if health.usage else None,
        "clock_skew_s": round(context.chain_clock.skew_s, 1),
        "disk_used_bytes": health.disk_used_bytes,
        "disk_quota_bytes": settings.disk_quota_bytes,
        "refuses": dispatcher.refuses(),
        "warnings": list(context.announce.warnings),
    }


def worker_jobs(context: RunContext, dispatcher: Dispatcher, board: JobBoard) -> dict[str, object]:
    """Jobs that could be taken, best paid first, and those that run."""
    offers = sorted(board.ready.values(), key=lambda offer: -offer.job.price)
    return {
        "auto_accept": context.settings.auto_accept,
        "candidates": [_candidate(offer) for offer in offers],
        "runs": [_run(handler, context) for handler in dispatcher.running.values()],
    }


def _rpc(health: ChainHealth) -> dict[str, object]:
    return {**asdict(health), "calls": dict(sorted(health.calls.items()))}


def _candidate(offer: Offer) -> dict[str, object]:
    job, definition = offer.job, offer.definition
    return {
        "job": str(job.address),
        "client": str(job.client),
        "price": job.price,
        "timeout_s": job.timeout,
        "deposit": job.deposit,
        "framework": definition.framework.value,
        "model": definition.model,
        "deadline": job.deadline,
    }


def _run(handler: JobHandler, context: RunContext) -> dict[str, object]:
    job = handler.job
    started = job.started_at if job is not None and job.state is not JobState.CLAIMED else None
    return {
        "job": str(handler.book.record.job),
        "state": job.state.name.lower() if job else "closed",
        "progress": handler.work.progress.value,
        "operation": handler.work.operation,
        "outcome": cast("str | None", handler.work.ended.outcome.value if handler.work.ended else None),
        "price": job.price if job else None,
        "timeout_s": job.timeout if job else None,
        "elapsed_s": round(max(0.0, context.chain_clock.now() - started), 1) if started else None,
    }
