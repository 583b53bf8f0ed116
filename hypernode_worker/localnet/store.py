"""A chain's state on disk: one SQLite file, written with what changed, each time in one transaction.

A process that is killed loses what it hadn't written yet and nothing else. The file is private: it holds the
faucet's key.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.errors import ConfigError
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.bank import Bank, ChainState, Changes
from hypernode_worker.localnet.genesis import UPGRADEABLE_LOADER
from hypernode_worker.localnet.landed import Landed

FILE_NAME = "chain.sqlite"
_APPLICATION_ID = 0x48594E43
_VERSION = 1
_LEASE_SLOTS = 150
"""The file says a slot that the chain hasn't reached, so that a chain that was killed never goes back."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE accounts (
    address BLOB PRIMARY KEY, lamports TEXT NOT NULL, owner BLOB NOT NULL, executable INTEGER NOT NULL,
    rent_epoch TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE landed (
    number INTEGER PRIMARY KEY, signature TEXT NOT NULL, slot INTEGER NOT NULL, block_time INTEGER NOT NULL,
    place INTEGER NOT NULL, wire BLOB NOT NULL, err TEXT NOT NULL, keys BLOB NOT NULL, meta BLOB NOT NULL);
"""


@dataclass(slots=True)
class _Pending:
    """What the file lacks."""

    accounts: dict[Pubkey, ChainAccount | None] = field(default_factory=dict[Pubkey, "ChainAccount | None"])
    landed: list[Landed] = field(default_factory=list[Landed])
    slot: bool = False

    def __bool__(self) -> bool:
        return bool(self.accounts or self.landed or self.slot)


@dataclass(frozen=True, slots=True)
class Batch:
    """One write: taken from the bank on its thread, written on any."""

    state: ChainState
    slot: int
    accounts: tuple[tuple[Pubkey, ChainAccount | None], ...]
    landed: tuple[Landed, ...]


class StateStore:
    """The state file of one chain in a folder. Only one process may have it open.

    Raises (constructor):
        ConfigError: the folder can't be used, another process has the file open, it isn't such a file, it is
            damaged, or a newer version wrote it.
    """

    def __init__(self, folder: Path, *, history_limit: int = 10_000) -> None:
        self.path = folder / FILE_NAME
        self._history_limit = history_limit
        self._pending = _Pending()
        self._leased_slot = 0
        self._bank: Bank | None = None
        self._db: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.path.exists():
                self._db = _open(self.path)
        except OSError as error:
            raise ConfigError(
                f"The state folder {folder} can't be used: {error.strerror}. Choose another one."
            ) from error

    def load(self) -> ChainState | None:
        """The saved chain; None where the folder has none yet."""
        if self._db is None:
            return None
        try:
            return _read(self._db)
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            raise _damaged(self.path, error) from error

    def attach(self, bank: Bank) -> None:
        """Follows the bank from now on; makes the file if there is none.

        Raises:
            ConfigError: the file can't be written.
        """
        self._bank = bank
        if self._db is None:
            self._pending.accounts.update(bank.accounts())
            self._db = self._create()
        # The programs that this start brought replace the saved ones.
        self._pending.accounts.update((a, b) for a, b in bank.accounts() if b.owner == UPGRADEABLE_LOADER)
        bank.on_change.append(self._changed)
        bank.on_slot.append(self._advanced)
        self.write(self.take())

    @property
    def is_dirty(self) -> bool:
        """Whether something is to be written."""
        return bool(self._pending)

    def take(self, *, closing: bool = False) -> Batch:
        """What is to be written now. Call it on the bank's thread; a batch that isn't written is lost."""
        if self._bank is None:
            raise RuntimeError("attach a bank first")
        pending, self._pending = self._pending, _Pending()
        state = self._bank.state()
        self._leased_slot = state.slot if closing else state.slot + _LEASE_SLOTS
        return Batch(state, self._leased_slot, tuple(pending.accounts.items()), tuple(pending.landed))

    def give_back(self, batch: Batch) -> None:
        """Takes back a batch that couldn't be written."""
        newer = self._pending
        self._pending = _Pending({**dict(batch.accounts), **newer.accounts}, [*batch.landed, *newer.landed], True)

    def write(self, batch: Batch) -> None:
        """Writes a batch, all of it or nothing. One thread at a time.

        Raises:
            ConfigError: the disk is full or the file can't be written.
        """
        if self._db is None:
            raise RuntimeError("the state file is closed")
        try:
            with self._db:
                _write(self._db, batch, self._history_limit)
        except sqlite3.Error as error:
            raise ConfigError(
                f"The chain's state can't be written to {self.path}: {error}. Free some room or choose another folder."
            ) from error

    def close(self) -> None:
        """Writes the rest and closes the file. May be repeated."""
        if self._db is None:
            return
        try:
            if self._bank is not None:
                self._bank.on_change.remove(self._changed)
                self._bank.on_slot.remove(self._advanced)
                self.write(self.take(closing=True))
        finally:
            self._db.close()
            self._db = None
            self._bank = None

    def _create(self) -> sqlite3.Connection:
        """Makes the file under another name first: a file of the right name is always whole."""
        fresh = self.path.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._db = sqlite3.connect(fresh)
            try:
                self._db.executescript(_SCHEMA)
                self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {_VERSION}")
                self.write(self.take())
            finally:
                self._db.close()
                self._db = None
            fresh.rename(self.path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"The chain's state can't be kept in {self.path.parent}: {error}.") from error
        return _open(self.path)

    def _changed(self, changes: Changes, landed: Landed | None) -> None:
        self._pending.accounts.update(changes)
        if landed is not None:
            self._pending.landed.append(landed)

    def _advanced(self, slot: int) -> None:
        if slot >= self._leased_slot - _LEASE_SLOTS // 2:
            self._pending.slot = True


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=0.5, check_same_thread=False)
    try:
        if path.stat().st_size == 0:
            raise ConfigError(f"The state file {path} is empty: it was damaged. Delete it to begin a new chain.")
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION_ID:
            raise ConfigError(f"{path} is no state of a localnet. Choose another folder.")
        if version != _VERSION:
            raise ConfigError(
                f"{path} has version {version}, but this program reads {_VERSION}: use the one that wrote it,"
                " or another folder."
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN IMMEDIATE")
        db.commit()
        (answer,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise _damaged(path, ValueError(answer))
    except sqlite3.OperationalError as error:
        db.close()
        if "locked" in str(error):
            raise ConfigError(f"Another localnet uses {path}. Stop it, or choose another state folder.") from error
        raise _damaged(path, error) from error
    except sqlite3.DatabaseError as error:
        db.close()
        raise _damaged(path, error) from error
    except BaseException:
        db.close()
        raise
    return db


def _damaged(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"The state file {path} is damaged ({error}). Restore it from a copy, or delete it to begin a new chain."
    )


def _write(db: sqlite3.Connection, batch: Batch, history_limit: int) -> None:
    state = batch.state
    meta = {
        "genesis_hash": str(state.genesis_hash),
        "faucet": str(state.faucet),
        "slot": str(batch.slot),
        "unix_time": str(state.unix_time),
        "transaction_count": str(state.transaction_count),
        "blockhashes": json.dumps([[slot, str(blockhash)] for slot, blockhash in state.blockhashes]),
    }
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
    db.executemany(
        "DELETE FROM accounts WHERE address = ?", [(bytes(key),) for key, now in batch.accounts if now is None]
    )
    db.executemany(
        "INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?, ?)",
        (_account_row(key, now) for key, now in batch.accounts if now is not None),
    )
    db.executemany(
        "INSERT INTO landed (signature, slot, block_time, place, wire, err, keys, meta)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (_landed_row(landed) for landed in batch.landed),
    )
    if batch.landed:
        db.execute("DELETE FROM landed WHERE number <= (SELECT max(number) FROM landed) - ?", (history_limit,))


def _account_row(address: Pubkey, account: ChainAccount) -> tuple[object, ...]:
    # SQLite's integers have a sign, so numbers of 64 bits go as text.
    return (
        bytes(address),
        str(account.lamports),
        bytes(account.owner),
        int(account.executable),
        str(account.rent_epoch),
        account.data,
    )


def _landed_row(landed: Landed) -> tuple[object, ...]:
    return (
        landed.signature,
        landed.slot,
        landed.block_time,
        landed.index,
        landed.wire,
        json.dumps(landed.err),
        b"".join(map(bytes, landed.keys)),
        landed.meta,
    )


def _read(db: sqlite3.Connection) -> ChainState:
    meta = dict(cast(Iterable[tuple[str, str]], db.execute("SELECT name, value FROM meta")))
    accounts = [
        (Pubkey(address), ChainAccount(int(lamports), data, Pubkey(owner), bool(executable), int(rent_epoch)))
        for address, lamports, owner, executable, rent_epoch, data in cast(
            Iterable[tuple[bytes, str, bytes, int, str, bytes]],
            db.execute("SELECT address, lamports, owner, executable, rent_epoch, data FROM accounts"),
        )
    ]
    history = [
        Landed(signature, slot, block_time, place, wire, json.loads(err), _keys(keys), meta_bytes)
        for signature, slot, block_time, place, wire, err, keys, meta_bytes in cast(
            Iterable[tuple[str, int, int, int, bytes, str, bytes, bytes]],
            db.execute("SELECT signature, slot, block_time, place, wire, err, keys, meta FROM landed ORDER BY number"),
        )
    ]
    blockhashes = cast(list[tuple[int, str]], json.loads(meta["blockhashes"]))
    return ChainState(
        genesis_hash=Hash.from_string(meta["genesis_hash"]),
        faucet=Keypair.from_base58_string(meta["faucet"]),
        slot=int(meta["slot"]),
        unix_time=float(meta["unix_time"]),
        transaction_count=int(meta["transaction_count"]),
        blockhashes=[(slot, Hash.from_string(text)) for slot, text in blockhashes],
        accounts=accounts,
        history=history,
    )


def _keys(joined: bytes) -> tuple[Pubkey, ...]:
    return tuple(Pubkey(joined[at : at + 32]) for at in range(0, len(joined), 32))
