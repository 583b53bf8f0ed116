"""The chain's state on disk: nothing is lost on a stop, little on a kill, and damage is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.errors import ConfigError
from hypernode_worker.localnet import Bank, Refused
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.genesis import UPGRADEABLE_LOADER
from hypernode_worker.localnet.store import FILE_NAME, StateStore
from tests.support.transactions import SOL, make_mint, pay, signed


@contextmanager
def chain(folder: Path, programs: dict[Pubkey, bytes] | None = None, now: float = 1e9) -> Generator[Bank]:
    store = StateStore(folder, history_limit=100)
    try:
        bank = Bank(unix_time=now, restored=store.load(), history_limit=100, programs=programs)
        store.attach(bank)
        yield bank
    finally:
        store.close()


@contextmanager
def killed_chain(folder: Path) -> Generator[tuple[Bank, StateStore]]:
    """A chain whose process ends without a word."""
    store = StateStore(folder)
    bank = Bank(unix_time=1e9, restored=store.load())
    store.attach(bank)
    try:
        yield bank, store
    finally:
        db = store._db  # pyright: ignore[reportPrivateUsage]
        assert db is not None
        db.close()


def test_a_chain_goes_on_where_it_stopped(tmp_path: Path) -> None:
    payer, to = Keypair(), Pubkey.new_unique()
    with chain(tmp_path) as bank:
        bank.airdrop(payer.pubkey(), 10 * SOL)
        bank.advance(20)
        transaction = pay(payer, to, SOL, bank.latest_blockhash)
        landed = bank.send(transaction)
        failed = bank.send(pay(payer, to, 100 * SOL, bank.latest_blockhash))
        unused = pay(payer, to, 2 * SOL, bank.latest_blockhash)
        before = bank.state()
    with chain(tmp_path, now=1e9 + 50) as bank:
        assert bank.genesis_hash == before.genesis_hash
        assert bank.faucet == before.faucet
        assert bank.slot == before.slot
        assert bank.unix_time == 1_000_000_050
        assert bank.transaction_count == 3
        assert bank.account(to) == ChainAccount(SOL, b"", Pubkey.default(), False, 0)
        assert bank.landed(landed.signature) == landed
        again = bank.landed(failed.signature)
        assert again is not None
        assert again.err == {"InstructionError": [0, {"Custom": 1}]}
        assert [one.signature for one in bank.landed_at(to)] == [failed.signature, landed.signature]
        with pytest.raises(Refused, match="AlreadyProcessed"):
            bank.send(transaction)
        # Signed before the stop, sent after it.
        assert bank.send(unused).err is None
        bank.set_account(to, None)
    with chain(tmp_path) as bank:
        assert bank.account(to) is None
        assert bank.unix_time >= 1_000_000_050


def test_two_folders_are_two_chains(tmp_path: Path) -> None:
    with chain(tmp_path / "a") as one, chain(tmp_path / "b") as other:
        assert one.genesis_hash != other.genesis_hash


def test_programs_survive_and_the_given_ones_replace_the_saved(tmp_path: Path) -> None:
    address, kept = Pubkey.new_unique(), Pubkey.new_unique()
    with chain(tmp_path / "source") as bank:
        # Two real programs that every chain carries.
        memo = bank.account(Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"))
        ata = bank.account(Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"))
    assert memo is not None
    assert ata is not None
    with chain(tmp_path / "c", {address: memo.data, kept: memo.data}):
        pass
    with chain(tmp_path / "c", {address: ata.data}) as bank:
        for program, elf in ((address, ata.data), (kept, memo.data)):
            programdata, _ = Pubkey.find_program_address([bytes(program)], UPGRADEABLE_LOADER)
            account, data = bank.account(program), bank.account(programdata)
            assert account is not None
            assert data is not None
            assert account.executable
            assert data.data[45:] == elf


def test_a_restored_program_still_runs(tmp_path: Path) -> None:
    payer, mint = Keypair(), Keypair()
    with chain(tmp_path) as bank:
        bank.airdrop(payer.pubkey(), 10 * SOL)
    with chain(tmp_path) as bank:
        landed = bank.send(signed(make_mint(payer, mint, 6), [payer, mint], bank.latest_blockhash))
        assert landed.err is None


def test_a_killed_chain_keeps_what_was_written_and_never_goes_back(tmp_path: Path) -> None:
    written, lost = Pubkey.new_unique(), Pubkey.new_unique()
    with killed_chain(tmp_path) as (bank, store):
        bank.airdrop(written, SOL)
        bank.advance(3)
        store.write(store.take())
        bank.advance(70)
        assert not store.is_dirty
        bank.airdrop(lost, SOL)
        slot = bank.slot
        genesis = bank.genesis_hash
    with chain(tmp_path) as bank:
        assert bank.genesis_hash == genesis
        assert bank.slot >= slot
        assert bank.account(written) is not None
        assert bank.account(lost) is None


def test_an_idle_chain_writes_its_slot_now_and_then(tmp_path: Path) -> None:
    with killed_chain(tmp_path) as (bank, store):
        for _ in range(1_000):
            bank.advance()
            if store.is_dirty:
                store.write(store.take())
        slot = bank.slot
    with chain(tmp_path) as bank:
        assert slot <= bank.slot <= slot + 300


def test_a_batch_that_was_not_written_is_written_later(tmp_path: Path) -> None:
    first, second = Pubkey.new_unique(), Pubkey.new_unique()
    with killed_chain(tmp_path) as (bank, store):
        bank.airdrop(first, SOL)
        batch = store.take()
        bank.airdrop(first, SOL)
        bank.airdrop(second, SOL)
        store.give_back(batch)
        store.write(store.take())
    with chain(tmp_path) as bank:
        account = bank.account(first)
        assert account is not None
        assert account.lamports == 2 * SOL
        assert bank.account(second) is not None
        assert bank.transaction_count == 3


def test_the_saved_history_is_bounded(tmp_path: Path) -> None:
    to = Pubkey.new_unique()
    with chain(tmp_path) as bank:
        for _ in range(150):
            bank.airdrop(to, SOL)
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        (count,) = db.execute("SELECT count(*) FROM landed").fetchone()
    db.close()
    assert count == 100
    with chain(tmp_path) as bank:
        assert len(list(bank.landed_at(to))) == 100
        assert bank.transaction_count == 150


def test_the_file_is_private(tmp_path: Path) -> None:
    with chain(tmp_path / "state") as bank:
        bank.airdrop(Pubkey.new_unique(), SOL)
        for file in (tmp_path / "state").iterdir():
            assert file.stat().st_mode & 0o077 == 0, file


def test_one_chain_at_a_time(tmp_path: Path) -> None:
    with chain(tmp_path), pytest.raises(ConfigError, match="Another localnet uses"):
        StateStore(tmp_path)


DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda _: b"", "is empty"),
    (lambda _: b"not a database" * 1_000, "is damaged"),
    (lambda data: data[: len(data) // 2], "is damaged"),
    (lambda data: data[:100], "is damaged"),
    (lambda data: data[:5_000] + bytes(len(data) - 5_000), "is damaged"),
    (lambda data: data[:68] + b"\0\0\0\7" + data[72:], "is no state of a localnet"),
    (lambda data: data[:60] + b"\0\0\0\7" + data[64:], "version 7"),
]


@pytest.mark.parametrize(
    ("damage", "message"),
    DAMAGES,
    ids=["empty", "foreign", "half", "header", "zeros", "application", "version"],
)
def test_damage_is_told_and_the_file_stays(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    with chain(tmp_path) as bank:
        for _ in range(50):
            bank.airdrop(Pubkey.new_unique(), SOL)
    path = tmp_path / FILE_NAME
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(ConfigError, match=message), chain(tmp_path):
        pass
    assert path.read_bytes() == damaged


def test_a_missing_value_is_damage(tmp_path: Path) -> None:
    with chain(tmp_path):
        pass
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("DELETE FROM meta WHERE name = 'faucet'")
    db.close()
    with pytest.raises(ConfigError, match="is damaged"), chain(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="can't be used"):
        StateStore(tmp_path / "file" / "state")
