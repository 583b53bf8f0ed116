"""The worker's journal in SQLite: each run's state, by compare-and-set, and the events of it, in one transaction.

Tables: `runs` (one row an attempt), `events` (append-only), `transactions` (what was sent, until its end is known).
`user_version` is the schema's version: newer ones are refused, older ones are brought forward by `_MIGRATIONS`.

What a worker must not forget is a transaction that may land: it is on the disk before it is sent (synchronous FULL),
and everything written before it with it. The rest survives the end of the process; of what a power cut takes, the
chain knows what is held.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from enum import Enum
from pathlib import Path
from typing import cast

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.events import Event, RunEvent
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.runs import FOLLOWERS, RunRecord, RunState
from hypernode_worker.core.transactions import SentTransaction
from hypernode_worker.core.types import Cid, Slot
from hypernode_worker.errors import ConfigError, PermanentError, TransientError

log = logging.getLogger(__name__)

_MIGRATIONS = (
    """
    CREATE TABLE runs (
        job TEXT NOT NULL, run INTEGER NOT NULL, state TEXT NOT NULL, definition_cid TEXT NOT NULL,
        timeout INTEGER NOT NULL, outcome TEXT, message TEXT NOT NULL, result_cid TEXT, result_hash BLOB NOT NULL,
        exit_status INTEGER NOT NULL, detail TEXT NOT NULL, opened_at REAL NOT NULL, updated_at REAL NOT NULL,
        PRIMARY KEY (job, run)
    ) WITHOUT ROWID;
    CREATE INDEX runs_open ON runs (state) WHERE state <> 'closed';
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, job TEXT, run INTEGER, name TEXT NOT NULL, detail TEXT NOT NULL
    );
    CREATE INDEX events_job ON events (job, id);
    """,
    """
    CREATE TABLE transactions (
        id INTEGER PRIMARY KEY, signature TEXT NOT NULL UNIQUE, key BLOB NOT NULL, what TEXT NOT NULL, job TEXT,
        wire BLOB NOT NULL, last_valid_block_height INTEGER NOT NULL, fee_lamports INTEGER NOT NULL,
        sent_at REAL NOT NULL, ended_at REAL, slot INTEGER
    );
    CREATE INDEX transactions_open ON transactions (id) WHERE ended_at IS NULL;
    CREATE INDEX transactions_ended ON transactions (ended_at) WHERE slot IS NOT NULL;
    """,
)
_COLUMNS = "job, run, state, definition_cid, timeout, outcome, message, result_cid, result_hash, exit_status, detail"


class SqliteJournal:
    """A `Journal` and `TransactionLog` in one file (mode 0600) of the worker's data folder. One process, one thread.

    A damaged file is set aside and a new one begun: what is held is found again on chain and among the containers.

    Attributes:
        set_aside: where a damaged journal lies now; None: there was none.

    Raises:
        ConfigError: the file can't be opened, or is of a newer version.
    """

    def __init__(self, path: Path, *, unix_time: Callable[[], float] = time.time) -> None:
        self._path = path
        self._unix_time = unix_time
        self.set_aside: Path | None = None
        try:
            self._db = self._open()
        except sqlite3.OperationalError as error:  # locked, not readable, no room: nothing is wrong with the file
            raise ConfigError(
                f"The journal {path} can't be opened ({error}); see to the disk and its rights."
            ) from error
        except sqlite3.DatabaseError as error:
            self.set_aside = _set_aside(path)
            log.warning("The journal %s was damaged (%s): it is kept as %s", path, error, self.set_aside)
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, timeout=5.0)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise ConfigError(f"{self._path} was written by a newer version; update hypernode-worker.")
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    def open_run(self, run: RunRecord, events: Sequence[Event] = (), *, at: float) -> None:
        with self._transaction():
            self._db.execute(
                f"INSERT INTO runs ({_COLUMNS}, opened_at, updated_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
                " ON CONFLICT (job, run) DO UPDATE SET state = excluded.state, outcome = NULL, message = '',"
                " updated_at = excluded.updated_at, detail = excluded.detail",
                (*_row(run), at, at),
            )
            self._write_events(run, events, at)

    def advance(self, run: RunRecord, to: RunRecord, events: Sequence[Event] = (), *, at: float) -> RunRecord:
        if (run.job, run.run) != (to.job, to.run) or to.state not in FOLLOWERS[run.state]:
            raise PermanentError(f"A run can't go from {run.state} to {to.state}: {run.job}.")
        with self._transaction():
            row = _row(to)
            changed = self._db.execute(
                "UPDATE runs SET state=?, definition_cid=?, timeout=?, outcome=?, message=?, result_cid=?,"
                " result_hash=?, exit_status=?, detail=?, updated_at=? WHERE job=? AND run=? AND state=?",
                (*row[2:], at, row[0], row[1], run.state.value),
            ).rowcount
            if not changed:
                raise PermanentError(
                    f"The journal's run of {run.job} is no longer {run.state}; another worker moved it."
                )
            self._write_events(to, events, at)
        return to

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.Error as error:
            raise TransientError(
                f"The journal {self._path} can't be written ({error}); see that the disk has room."
            ) from error

    def run(self, job: Pubkey, run: Slot) -> RunRecord | None:
        found = self._db.execute(
            f"SELECT {_COLUMNS} FROM runs WHERE job=? AND run=?",  # noqa: S608 -- a constant
            (str(job), run),
        ).fetchone()
        return _record(found) if found else None

    def open_runs(self) -> Sequence[RunRecord]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM runs WHERE state <> 'closed' ORDER BY opened_at")  # noqa: S608
        return [_record(row) for row in rows.fetchall()]

    def sent(self, transaction: SentTransaction) -> None:
        # In WAL mode one synchronous commit brings all earlier ones to the disk too.
        self._db.execute("PRAGMA synchronous = FULL")
        try:
            with self._transaction():
                self._db.execute(
                    "INSERT INTO transactions (signature, key, what, job, wire, last_valid_block_height, fee_lamports,"
                    " sent_at) VALUES (?,?,?,?,?,?,?,?)",
                    (
                        str(transaction.signature),
                        transaction.key,
                        transaction.what,
                        None if transaction.job is None else str(transaction.job),
                        transaction.wire,
                        transaction.last_valid_block_height,
                        transaction.fee_lamports,
                        self._unix_time(),
                    ),
                )
        finally:
            self._db.execute("PRAGMA synchronous = NORMAL")

    def ended(self, signature: Signature, slot: Slot | None) -> None:
        with self._transaction():
            self._db.execute(
                "UPDATE transactions SET ended_at = ?, slot = ?, wire = x'' WHERE signature = ? AND ended_at IS NULL",
                (self._unix_time(), slot, str(signature)),
            )

    def open_transactions(self) -> Sequence[SentTransaction]:
        rows = self._db.execute(
            "SELECT key, what, job, signature, wire, last_valid_block_height, fee_lamports FROM transactions"
            " WHERE ended_at IS NULL ORDER BY id"
        ).fetchall()
        return [
            SentTransaction(
                key, what, Pubkey.from_string(job) if job else None, Signature.from_string(signature), wire, height, fee
            )
            for key, what, job, signature, wire, height, fee in rows
        ]

    def last_slot(self) -> Slot:
        (found,) = self._db.execute("SELECT coalesce(max(slot), 0) FROM transactions").fetchone()
        return Slot(found)

    def fees_since(self, unix_time: float) -> int:
        """Lamports of fees of transactions that landed since then, and of those that may."""
        (found,) = self._db.execute(
            "SELECT coalesce(sum(fee_lamports), 0) FROM transactions"
            " WHERE (slot IS NOT NULL AND ended_at >= ?1) OR (ended_at IS NULL AND sent_at >= ?1)",
            (unix_time,),
        ).fetchone()
        return found

    def event_log(
        self, job: Pubkey | None = None, *, limit: int = 1000
    ) -> Sequence[tuple[float, str, dict[str, object]]]:
        """The last events (of one job), oldest first: time, name, detail."""
        rows = self._db.execute(
            "SELECT at, name, detail FROM events WHERE ?1 IS NULL OR job = ?1 ORDER BY id DESC LIMIT ?2",
            (None if job is None else str(job), limit),
        ).fetchall()
        return [(at, name, json.loads(detail)) for at, name, detail in reversed(rows)]

    def close(self) -> None:
        self._db.close()

    def _write_events(self, run: RunRecord, events: Sequence[Event], at: float) -> None:
        for event in events:
            fields = dataclasses.fields(event)
            detail = {item.name: _plain(getattr(event, item.name)) for item in fields if item.name != "job"}
            self._db.execute(
                "INSERT INTO events (at, job, run, name, detail) VALUES (?,?,?,?,?)",
                (
                    at,
                    str(event.job if isinstance(event, RunEvent) else run.job),
                    run.run,
                    type(event).__name__,
                    json.dumps(detail),
                ),
            )


def _set_aside(path: Path) -> Path:
    """Renames a journal and what belongs to it; a name that is free."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    return kept


def _row(run: RunRecord) -> tuple[object, ...]:
    return (
        str(run.job),
        run.run,
        run.state.value,
        str(run.definition_cid),
        run.timeout,
        run.outcome.value if run.outcome else None,
        run.message,
        str(run.result_cid) if run.result_cid else None,
        run.result_hash,
        run.exit_status,
        json.dumps(run.detail),
    )


def _record(row: Sequence[object]) -> RunRecord:
    job, run, state, definition, timeout, outcome, message, result_cid, result_hash, exit_status, detail = row
    return RunRecord(
        job=Pubkey.from_string(str(job)),
        run=Slot(cast("int", run)),
        state=RunState(state),
        definition_cid=Cid.parse(str(definition)),
        timeout=cast("int", timeout),
        outcome=RunOutcome(outcome) if outcome else None,
        message=str(message),
        result_cid=Cid.parse(str(result_cid)) if result_cid else None,
        result_hash=cast("bytes", result_hash),
        exit_status=cast("int", exit_status),
        detail=json.loads(str(detail)),
    )


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return cast("object", value.value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Pubkey | Signature | Cid):
        return str(value)
    return value
