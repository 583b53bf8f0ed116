"""What an operator decides about a worker, as plain values; `app` makes it from Settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from solders.pubkey import Pubkey

from hypernode_worker.core.ports import Limits

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Everything NodeManager needs to be told.

    Attributes:
        market: the market to work in.
        data_dir: holds the lock, the control socket and the runs' folders; made with mode 0700.
        limits: bounds of each container; capacity times their sum is what the machine must bear.
        auto_accept: take every fitting job; False: list it and wait for `take`.
        min_price: base units a second; jobs below are skipped.
        payout: wallet that is paid; None: the worker's own.
        capacity: jobs at once, published to the market.
        allow_network: the operator's consent to outbound network for jobs.
        allow_unisolated: strangers' jobs may run where the runtime draws no kernel boundary around them.
        country: two letters, or "".
        images: image by framework name ("pytorch"), instead of the framework's own.
        health_interval_s: how often GPUs, memory and disk are looked at.
        drain_timeout_s: how long running jobs may go on after the first stop; None: as long as they take.
        settle_timeout_s: how long settling may take after the worker was told to stop at once.
        stop_grace_s: between SIGTERM and SIGKILL for a job's processes.
        balance_floor_lamports: below it no job is claimed: begin, finish and release must still be paid for, and
            890,880 lamports of rent exemption can't be.
        fee_budget_lamports: transaction fees within 24 hours after which no job is claimed; 0: no limit.
        definition_timeout_s: how long one look for a definition may take; then it rests for a while.
        files_max_bytes, files_max_count: bounds of a definition's `files`.
        small_files_bytes: `files` up to this size are fetched before the claim when the image is here.
        result_max_bytes, result_max_files: bounds of a result.
        disk_reserve_bytes: free space below which no job is claimed; below a quarter of it the youngest run is ended.
        disk_quota_bytes: what images, content and run folders may take together; None: all but the reserve.
        deregister_on_stop: give the registration up once all jobs are settled.
    """

    market: Pubkey
    data_dir: Path
    limits: Limits
    auto_accept: bool = True
    min_price: int = 0
    payout: Pubkey | None = None
    capacity: int = 1
    allow_network: bool = False
    allow_unisolated: bool = False
    country: str = ""
    images: Mapping[str, str] = field(default_factory=dict[str, str])
    health_interval_s: float = 60.0
    drain_timeout_s: float | None = 3600.0
    settle_timeout_s: float = 60.0
    stop_grace_s: float = 5.0
    balance_floor_lamports: int = 5_000_000
    fee_budget_lamports: int = 0
    definition_timeout_s: float = 30.0
    files_max_bytes: int = 10 * GIB
    files_max_count: int = 20_000
    small_files_bytes: int = 8 << 20
    result_max_bytes: int = 4 * GIB
    result_max_files: int = 19_000
    disk_reserve_bytes: int = 1 * GIB
    disk_quota_bytes: int | None = None
    deregister_on_stop: bool = False
