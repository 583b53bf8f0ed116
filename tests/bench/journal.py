"""What the journal costs one run: its records, events and transactions, on this machine's disk."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import replace

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.events import OperationEnded, ResultPinned, RunClaimed, RunEnded, RunSettled, RunStarted
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.ports import ExitReason
from hypernode_worker.core.runs import RunRecord, RunState
from hypernode_worker.core.transactions import SentTransaction
from hypernode_worker.core.types import Cid, Slot
from hypernode_worker.journal import SqliteJournal
from tests.bench.figure import Figure
from tests.bench.world import scratch

RUNS = 300
OPERATION = {"exit_code": 0, "started_at": 1.0, "ended_at": 2.0, "cpu_seconds": 0.1, "max_memory_bytes": 1 << 20}
_signatures = itertools.count(1)


def measure() -> list[Figure]:
    """Median of 300 runs."""
    with scratch() as home:
        journal = SqliteJournal(home / "journal.sqlite")
        try:
            seen = [_seconds(journal) for _ in range(RUNS)]
        finally:
            journal.close()
    return [Figure("journal of one run, median of 300", statistics.median(seen) * 1e3, "ms", target=5.0)]


def _seconds(journal: SqliteJournal) -> float:
    job, cid, digest = Pubkey.new_unique(), Cid.of(b"a result"), bytes(32)
    run = RunRecord(job, Slot(1), RunState.CLAIMING, Cid.of(b"a definition"), 60)
    signature = Signature.default()
    start = time.perf_counter()
    journal.open_run(run, at=1.0)
    _transaction(journal, job)
    begun = [RunClaimed(job, signature, True), RunStarted(job, None)]
    run = journal.advance(run, replace(run, state=RunState.RUNNING), begun, at=2.0)
    details: tuple[dict[str, object], ...] = (
        {"started_at": 2.0, "image": None, "gpus": []},
        {"operations": [OPERATION]},
    )
    for detail in details:
        run = journal.advance(run, replace(run, detail={**run.detail, **detail}), at=3.0)
    over = [OperationEnded(job, 0, 0, ExitReason.EXITED), RunEnded(job, RunOutcome.COMPLETED, "fine")]
    run = journal.advance(run, replace(run, state=RunState.ENDED, outcome=RunOutcome.COMPLETED), over, at=4.0)
    pinned = [ResultPinned(job, cid, digest)]
    run = journal.advance(run, replace(run, state=RunState.STORED, result_cid=cid, result_hash=digest), pinned, at=5.0)
    _transaction(journal, job)
    settled = [RunSettled(job, signature, cid, 0, RunOutcome.COMPLETED, False)]
    run = journal.advance(run, replace(run, state=RunState.DUE), settled, at=6.0)
    journal.advance(run, replace(run, state=RunState.CLOSED), at=7.0)
    return time.perf_counter() - start


def _transaction(journal: SqliteJournal, job: Pubkey) -> None:
    signature = Signature.from_bytes(next(_signatures).to_bytes(64, "little"))
    journal.sent(SentTransaction(bytes(32), "finish job X", job, signature, bytes(400), 150, 5_000))
    journal.ended(signature, Slot(9))
