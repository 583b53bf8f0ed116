"""The chain without I/O: what lands, what doesn't, and how time moves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import (
    AdvanceNonceAccountParams,
    advance_nonce_account,
    create_nonce_account,
    transfer,
)
from solders.transaction import VersionedTransaction

from hypernode_worker.errors import ConfigError
from hypernode_worker.localnet import Bank, Refused
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.bank import Changes
from hypernode_worker.localnet.landed import Landed
from hypernode_worker.localnet.nonce import NONCE_BYTES
from tests.support.transactions import SOL, pay, signed


def lamports(bank: Bank, address: Pubkey) -> int:
    account = bank.account(address)
    return account.lamports if account else 0


def refusal(bank: Bank, transaction: VersionedTransaction) -> object:
    with pytest.raises(Refused) as caught:
        bank.send(transaction)
    return caught.value.err


def test_a_transfer_moves_lamports_and_takes_the_fee(bank: Bank, payer: Keypair) -> None:
    to = Pubkey.new_unique()
    landed = bank.send(pay(payer, to, SOL, bank.latest_blockhash))
    assert landed.err is None
    assert landed.slot == bank.slot
    assert bank.landed(landed.signature) is landed
    assert lamports(bank, to) == SOL
    assert lamports(bank, payer.pubkey()) == 99 * SOL - 5_000


def test_a_failed_transaction_lands_and_only_its_fee_is_taken(bank: Bank, payer: Keypair) -> None:
    to = Pubkey.new_unique()
    landed = bank.send(pay(payer, to, 1_000 * SOL, bank.latest_blockhash))
    assert landed.err == {"InstructionError": [0, {"Custom": 1}]}
    assert bank.landed(landed.signature) is landed
    assert lamports(bank, payer.pubkey()) == 100 * SOL - 5_000
    assert bank.account(to) is None


def test_an_account_below_rent_exemption_fails_the_transaction(bank: Bank, payer: Keypair) -> None:
    landed = bank.send(pay(payer, Pubkey.new_unique(), 1, bank.latest_blockhash))
    assert landed.err == {"InsufficientFundsForRent": {"account_index": 1}}


def test_the_same_transaction_lands_once(bank: Bank, payer: Keypair) -> None:
    transaction = pay(payer, Pubkey.new_unique(), SOL, bank.latest_blockhash)
    bank.send(transaction)
    assert refusal(bank, transaction) == "AlreadyProcessed"
    bank.advance(150)
    assert refusal(bank, transaction) == "AlreadyProcessed"
    bank.advance()
    assert refusal(bank, transaction) == "BlockhashNotFound"


@pytest.mark.parametrize("legacy", [True, False])
def test_a_blockhash_is_good_for_150_slots(bank: Bank, payer: Keypair, legacy: bool) -> None:
    early = bank.latest_blockhash
    last = bank.last_valid_slot(early)
    assert last == bank.slot + 150
    bank.advance(150)
    assert bank.is_valid(early)
    assert bank.send(pay(payer, Pubkey.new_unique(), SOL, early, legacy=legacy)).err is None
    bank.advance()
    assert not bank.is_valid(early)
    assert refusal(bank, pay(payer, Pubkey.new_unique(), SOL, early, legacy=legacy)) == "BlockhashNotFound"


def test_an_unknown_blockhash_is_refused(bank: Bank, payer: Keypair) -> None:
    assert refusal(bank, pay(payer, Pubkey.new_unique(), SOL, Hash.new_unique())) == "BlockhashNotFound"


def test_a_bad_signature_is_refused_and_costs_nothing(bank: Bank, payer: Keypair) -> None:
    good = pay(payer, Pubkey.new_unique(), SOL, bank.latest_blockhash)
    forged = VersionedTransaction.populate(good.message, [Signature.new_unique()])
    assert refusal(bank, forged) == "SignatureFailure"
    assert lamports(bank, payer.pubkey()) == 100 * SOL


def test_a_payer_without_an_account_is_refused(bank: Bank) -> None:
    nobody = Keypair()
    transaction = pay(nobody, Pubkey.new_unique(), SOL, bank.latest_blockhash)
    assert refusal(bank, transaction) == "AccountNotFound"
    assert bank.landed(str(transaction.signatures[0])) is None


def test_a_payer_who_cannot_pay_the_fee_is_refused(bank: Bank, payer: Keypair) -> None:
    poor = Keypair()
    bank.set_account(poor.pubkey(), ChainAccount(4_999, b"", Pubkey.default()))
    transaction = pay(poor, payer.pubkey(), 1, bank.latest_blockhash)
    assert refusal(bank, transaction) == "InsufficientFundsForFee"
    assert lamports(bank, poor.pubkey()) == 4_999


def test_a_simulation_changes_nothing(bank: Bank, payer: Keypair) -> None:
    to = Pubkey.new_unique()
    transaction = pay(payer, to, SOL, bank.latest_blockhash)
    simulation = bank.simulate(transaction)
    assert simulation.err is None
    assert simulation.accounts[to] == ChainAccount(SOL, b"", Pubkey.default(), False, 0)
    assert bank.account(to) is None
    assert bank.send(transaction).err is None
    assert bank.simulate(transaction).err == "AlreadyProcessed"


def test_equal_airdrops_in_one_slot_both_arrive(bank: Bank) -> None:
    to = Pubkey.new_unique()
    first, second = bank.airdrop(to, SOL), bank.airdrop(to, SOL)
    assert first.signature != second.signature
    assert lamports(bank, to) == 2 * SOL


def test_an_airdrop_beyond_the_faucet_fails(bank: Bank) -> None:
    assert bank.airdrop(Pubkey.new_unique(), 2**63).err is not None


def test_chains_share_neither_genesis_nor_blockhashes_nor_faucet() -> None:
    one, other = Bank(unix_time=0), Bank(unix_time=0)
    assert one.genesis_hash != other.genesis_hash
    assert one.latest_blockhash != other.latest_blockhash
    assert one.faucet != other.faucet


def test_time_follows_slots_unless_told(bank: Bank) -> None:
    slot, began = bank.slot, bank.unix_time
    bank.advance(10)
    assert (bank.slot, bank.unix_time) == (slot + 10, began + 4)
    bank.advance(1, 3_600)
    assert (bank.slot, bank.unix_time) == (slot + 11, began + 3_604)
    assert bank.time_of(slot) == began
    assert bank.time_of(slot + 11) == bank.unix_time
    bank.advance(1, -50)
    assert bank.unix_time == began + 3_604
    with pytest.raises(ValueError, match="forward"):
        bank.advance(0)


def test_an_hour_costs_little_and_forgets_old_slots(bank: Bank) -> None:
    for _ in range(9_000):
        bank.advance()
    assert bank.slot - bank.first_slot == 511
    assert bank.blockhash_of(bank.slot) == bank.latest_blockhash
    assert bank.blockhash_of(bank.first_slot - 1) is None


@given(st.lists(st.integers(1, 2_000), max_size=12))
@settings(max_examples=40, deadline=None)
def test_the_window_holds_one_blockhash_for_each_of_its_slots(steps: list[int]) -> None:
    bank = Bank(unix_time=0)
    for step in steps:
        bank.advance(step)
    hashes = [bank.blockhash_of(slot) for slot in range(bank.first_slot, bank.slot + 1)]
    assert None not in hashes
    assert len(set(hashes)) == len(hashes) == min(bank.slot, 512)


def test_listeners_hear_what_a_transaction_changed(bank: Bank, payer: Keypair) -> None:
    heard: list[tuple[Changes, Landed | None]] = []
    bank.on_change.append(lambda changes, landed: heard.append((dict(changes), landed)))
    to = Pubkey.new_unique()
    landed = bank.send(pay(payer, to, SOL, bank.latest_blockhash))
    bank.set_account(to, None)
    (changes, told), (emptied, nothing) = heard
    assert set(changes) == {payer.pubkey(), to}
    assert told is landed
    assert emptied == {to: None}
    assert nothing is None
    assert bank.account(to) is None


def test_accounts_are_found_by_owner_as_they_move(bank: Bank) -> None:
    owner, other, address = Pubkey.new_unique(), Pubkey.new_unique(), Pubkey.new_unique()
    bank.set_account(address, ChainAccount(SOL, b"data", owner))
    assert list(bank.owned_by(owner)) == [address]
    bank.set_account(address, ChainAccount(SOL, b"data", other))
    assert not bank.owned_by(owner)
    assert bank.owned_by(other)[address].data == b"data"
    bank.set_account(address, None)
    assert not bank.owned_by(other)


def test_history_is_bounded_by_address_too(payer: Keypair) -> None:
    bank = Bank(unix_time=0, history_limit=10)
    bank.airdrop(payer.pubkey(), 100 * SOL)
    to = Pubkey.new_unique()
    sent = [bank.send(pay(payer, to, SOL + n, bank.latest_blockhash)).signature for n in range(20)]
    assert [landed.signature for landed in bank.landed_at(to)] == sent[:9:-1]
    assert bank.landed(sent[9]) is None
    assert bank.transaction_count == 21


def test_bytes_that_are_no_program_are_a_configuration_error() -> None:
    address = Pubkey.new_unique()
    with pytest.raises(ConfigError, match=str(address)):
        Bank(unix_time=0, programs={address: b"no ELF"})


def _nonce_account(bank: Bank, payer: Keypair) -> Keypair:
    nonce = Keypair()
    made = create_nonce_account(payer.pubkey(), nonce.pubkey(), payer.pubkey(), bank.rent_exempt_minimum(NONCE_BYTES))
    assert bank.send(signed(made, [payer, nonce], bank.latest_blockhash)).err is None
    return nonce


def _nonce_value(bank: Bank, nonce: Keypair) -> Hash:
    account = bank.account(nonce.pubkey())
    assert account is not None
    return Hash(account.data[40:72])


@pytest.mark.parametrize("amount", [SOL, 1_000 * SOL])
def test_a_durable_nonce_outlives_blockhashes_and_is_used_up_even_by_a_failure(
    bank: Bank, payer: Keypair, amount: int
) -> None:
    nonce = _nonce_account(bank, payer)
    value = _nonce_value(bank, nonce)
    advance = advance_nonce_account(
        AdvanceNonceAccountParams(nonce_pubkey=nonce.pubkey(), authorized_pubkey=payer.pubkey())
    )
    to = Pubkey.new_unique()
    move = transfer({"from_pubkey": payer.pubkey(), "to_pubkey": to, "lamports": amount})
    transaction = signed([advance, move], [payer], value, legacy=True)
    bank.advance(1_000)
    landed = bank.send(transaction)
    assert (landed.err is None) == (amount == SOL)
    assert _nonce_value(bank, nonce) != value
    bank.advance(1_000)
    assert refusal(bank, transaction) == "BlockhashNotFound"
