"""The worker's journal in SQLite: each run's state, by compare-and-set, and the events of it, in one transaction.

Tables: `runs` (one row an attempt) and `events` (append-only). `user_version` is the schema's version: newer ones are
refused, older ones are brought forward by `_MIGRATIONS`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
from collections.abc import Generator, Sequence
from enum import Enum
from pathlib import Path
from typing import cast

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.events import Event, RunEvent
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.runs import FOLLOWERS, RunRecord, RunState
from hypernode_worker.core.types import Cid, Slot
from hypernode_worker.errors import ConfigError, PermanentError, TransientError

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
)
_COLUMNS = "job, run, state, definition_cid, timeout, outcome, message, result_cid, result_hash, exit_status, detail"


class SqliteJournal:
    """A `Journal` in one file (mode 0600) of the worker's data folder. One process, one thread.

    Raises:
        ConfigError: the file is no journal, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ConfigError(f"{path} is no journal of a worker ({error}); move it away and start again.") from error
        except ConfigError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        # NORMAL survives the end of the process, and costs no fsync in the event loop. After a power cut the last rows
        # may be missing: then the chain still says what is held, and the worker gives it back.
        self._db.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise ConfigError(f"{self._path} was written by a newer version; update hypernode-worker.")
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            self._db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

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
