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
from hypernode_worker.core.transactions import SentTransaction
from hypernode_worker.core.types import Cid, Slot
from hypernode_worker.errors import ConfigError, PermanentError, TransientError
from hypernode_worker.journal import SqliteJournal

JOB = Pubkey.new_unique()
TRANSACTION = SentTransaction(
    b"\7" * 32,
    "claim job X",
    JOB,
    Signature.from_bytes(b"\1" * 64),
    b"its bytes",
    last_valid_block_height=150,
    fee_lamports=5_000,
)
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


@pytest.mark.parametrize("damage", ["another file", "zeros in it", "cut off"])
def test_a_damaged_journal_is_set_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    for number in range(200):
        journal.open_run(replace(RUN, run=Slot(number)), at=1.0)
    journal.close()
    data = path.read_bytes()
    bad = {
        "another file": b"no database" * 500,
        "zeros in it": data[:4096] + bytes(8192) + data[12288:],
        "cut off": data[:9000],
    }
    path.write_bytes(bad[damage])

    again = SqliteJournal(path)
    aside = tmp_path / "journal.db.damaged-1"
    assert again.set_aside == aside
    assert aside.read_bytes() == bad[damage]
    assert not again.open_runs()
    again.close()
    path.write_bytes(bad[damage])
    third = SqliteJournal(path)
    assert third.set_aside == tmp_path / "journal.db.damaged-2"
    third.close()


def test_a_file_that_cant_be_opened_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises((ConfigError, OSError)):
        SqliteJournal(tmp_path / "folder")
    assert (tmp_path / "folder").is_dir()


def test_a_journal_of_the_first_version_is_brought_forward(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes((Path(__file__).parent / "version-1.sqlite").read_bytes())
    journal = SqliteJournal(path)
    (run,) = journal.open_runs()
    assert (run.job, run.run, run.state) == (Pubkey.from_bytes(bytes([7]) * 32), 7, RunState.STORED)
    assert (run.outcome, run.exit_status, run.result_cid) == (RunOutcome.FAILED, 7, Cid.of(b"result"))
    assert [name for _, name, _ in journal.event_log()] == ["RunClaimed", "RunEnded"]
    journal.sent(TRANSACTION)
    assert list(journal.open_transactions()) == [TRANSACTION]
    journal.close()


def test_transactions_stand_open_until_their_end_is_known(tmp_path: Path) -> None:
    now = [100.0]
    journal = SqliteJournal(tmp_path / "journal.db", unix_time=lambda: now[0])
    other = replace(
        TRANSACTION, key=b"\1" * 32, signature=Signature.from_bytes(b"\2" * 64), job=None, fee_lamports=7_000
    )
    journal.sent(TRANSACTION)
    journal.sent(other)
    with pytest.raises(TransientError):
        journal.sent(TRANSACTION)  # the same bytes are never sent as another transaction
    journal.close()

    journal = SqliteJournal(tmp_path / "journal.db", unix_time=lambda: now[0])
    assert list(journal.open_transactions()) == [TRANSACTION, other]
    assert (journal.fees_since(0), journal.last_slot()) == (12_000, 0), "what may land counts"
    now[0] = 200.0
    journal.ended(TRANSACTION.signature, Slot(9))
    journal.ended(other.signature, None)
    journal.ended(other.signature, Slot(10))  # the first word stands
    assert not journal.open_transactions()
    assert (journal.fees_since(0), journal.fees_since(200), journal.fees_since(201)) == (5_000, 5_000, 0)
    assert journal.last_slot() == 9
    journal.close()


def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
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
