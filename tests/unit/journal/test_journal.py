"""The journal: compare-and-set states, events in the same transaction, and what survives."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.events import ResultPinned, RunClaimed, RunEnded
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.runs import FOLLOWERS, RunRecord, RunState
from hypernode_worker.core.types import Cid, Slot
from hypernode_worker.errors import ConfigError, PermanentError, TransientError
from hypernode_worker.journal import SqliteJournal

JOB = Pubkey.new_unique()
RUN = RunRecord(JOB, Slot(7), RunState.CLAIMING, Cid.of(b"definition"), 600)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path / "journal.db")
    yield opened
    opened.close()


def test_a_run_is_kept_with_its_events(journal: SqliteJournal, tmp_path: Path) -> None:
    journal.open_run(RUN, at=1.0)
    running = replace(RUN, state=RunState.RUNNING, detail={"operations": [{"index": 0}]})
    journal.advance(RUN, running, [RunClaimed(JOB, Signature.default(), True)], at=2.0)
    ended = replace(running, state=RunState.ENDED, outcome=RunOutcome.FAILED, message="no", exit_status=-7)
    journal.advance(running, ended, [RunEnded(JOB, RunOutcome.FAILED, "no")], at=3.0)
    cid = Cid.of(b"result")
    stored = replace(ended, state=RunState.STORED, result_cid=cid, result_hash=b"\x01" * 32)
    journal.advance(ended, stored, [ResultPinned(JOB, cid, b"\x01" * 32)], at=4.0)

    with_another = SqliteJournal(tmp_path / "journal.db")
    try:
        assert with_another.run(JOB, Slot(7)) == stored
        assert list(with_another.open_runs()) == [stored]
        names = [(at, name) for at, name, _ in with_another.event_log(JOB)]
        assert names == [(2.0, "RunClaimed"), (3.0, "RunEnded"), (4.0, "ResultPinned")]
        assert with_another.event_log(JOB)[1][2] == {"outcome": "failed", "message": "no"}
    finally:
        with_another.close()
    closed = replace(stored, state=RunState.CLOSED)
    journal.advance(stored, closed, at=5.0)
    assert not journal.open_runs()
    assert journal.run(JOB, Slot(7)) == closed


def test_two_that_move_the_same_run_are_told_apart(journal: SqliteJournal) -> None:
    journal.open_run(RUN, at=1.0)
    journal.advance(RUN, replace(RUN, state=RunState.CLOSED), at=2.0)
    with pytest.raises(PermanentError, match="no longer"):
        journal.advance(RUN, replace(RUN, state=RunState.RUNNING), [RunEnded(JOB, RunOutcome.LOST, "")], at=3.0)
    assert not journal.event_log()
    assert journal.run(JOB, Slot(8)) is None


@pytest.mark.parametrize(("state", "to"), [(a, b) for a in RunState for b in RunState if b not in FOLLOWERS[a]])
def test_states_follow_each_other_only_forwards(journal: SqliteJournal, state: RunState, to: RunState) -> None:
    before = replace(RUN, state=state)
    journal.open_run(before, at=1.0)
    with pytest.raises(PermanentError, match="can't go"):
        journal.advance(before, replace(RUN, state=to), at=2.0)


def test_a_claim_can_be_tried_again(journal: SqliteJournal) -> None:
    journal.open_run(RUN, at=1.0)
    closed = replace(RUN, state=RunState.CLOSED, outcome=RunOutcome.NOT_CLAIMED)
    journal.advance(RUN, closed, at=2.0)
    journal.open_run(RUN, at=3.0)
    assert journal.run(JOB, Slot(7)) == RUN


def test_the_file_is_the_users_own(tmp_path: Path, journal: SqliteJournal) -> None:
    assert stat.S_IMODE((tmp_path / "journal.db").stat().st_mode) == 0o600


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to be seen as such" * 20)
    with pytest.raises(ConfigError, match="no journal"):
        SqliteJournal(tmp_path / "text.db")
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(ConfigError, match="newer"):
        SqliteJournal(tmp_path / "newer.db")


def test_a_disk_that_fails_is_a_passing_trouble(journal: SqliteJournal, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("DROP TABLE events")
    other.close()
    with pytest.raises(TransientError, match="can't be written"):
        journal.open_run(RUN, [RunEnded(JOB, RunOutcome.LOST, "")], at=1.0)
    assert journal.run(JOB, Slot(7)) is None
