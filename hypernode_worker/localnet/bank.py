"""The chain itself, without I/O: a virtual machine, a clock of slots, blockhashes and a history."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from solders.clock import Clock
from solders.epoch_schedule import EpochSchedule
from solders.hash import Hash
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import VersionedMessage
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from hypernode_worker.localnet import execution, faucet, nonce
from hypernode_worker.localnet.accounts import AccountIndex, ChainAccount
from hypernode_worker.localnet.blockhashes import MAX_AGE_SLOTS, Blockhashes, SlotTimes
from hypernode_worker.localnet.execution import Execution, Simulation
from hypernode_worker.localnet.genesis import GENESIS_OWNERS, add_program, new_vm
from hypernode_worker.localnet.json_types import Json
from hypernode_worker.localnet.keys import TransactionKeys, resolve_keys
from hypernode_worker.localnet.landed import History, Landed

SLOTS_PER_EPOCH = 432_000
DEFAULT_FAUCET_LAMPORTS = 500_000_000 * 10**9
DEFAULT_SLOT_MS = 400

Changes = Mapping[Pubkey, ChainAccount | None]
"""Accounts that one step changed, and what they are now (None: gone)."""


@dataclass(frozen=True, slots=True)
class ChainState:
    """What must be kept so that a chain goes on where it stopped."""

    genesis_hash: Hash
    faucet: Keypair
    slot: int
    unix_time: float
    transaction_count: int
    blockhashes: Sequence[tuple[int, Hash]] = ()
    accounts: Sequence[tuple[Pubkey, ChainAccount]] = ()
    history: Sequence[Landed] = ()


class Refused(Exception):
    """A transaction that can't land. Nothing changed, no fee was taken.

    Attributes:
        err: the transaction error as JSON-RPC has it.
    """

    def __init__(self, err: Json) -> None:
        super().__init__(str(err))
        self.err = err


@dataclass(slots=True)
class _Block:
    """The block that is being filled."""

    transactions: int = 0


class Bank:
    """A Solana chain of one process. Synchronous and without I/O; not thread-safe.

    Transactions execute when they are sent, in the current slot. Slots advance only by `advance`.

    Args:
        programs: ELF bytes by address; each is deployed under the upgradeable loader, without an authority.
        unix_time: the chain's time at its first slot, in seconds since 1970.
        slot_ms: how much chain time a slot takes where `advance` isn't told.
        faucet_lamports: what the faucet has at genesis.
        history_limit: how many transactions are remembered.
        restored: the state of an earlier chain; the programs above replace the ones in it.

    Raises:
        ConfigError: bytes that aren't a program.
    """

    def __init__(
        self,
        *,
        programs: Mapping[Pubkey, bytes] | None = None,
        unix_time: float,
        slot_ms: int = DEFAULT_SLOT_MS,
        faucet_lamports: int = DEFAULT_FAUCET_LAMPORTS,
        history_limit: int = 10_000,
        restored: ChainState | None = None,
    ) -> None:
        self._slot_s = slot_ms / 1000
        self._vm: LiteSVM = new_vm()
        self._index = AccountIndex()
        self._history = History(history_limit)
        self._seen: dict[Hash, int] = {}
        self._block = _Block()
        self.on_change: list[Callable[[Changes, Landed | None], None]] = []
        """Called after each step that changed accounts, with the transaction that did (None: set_account)."""
        self.on_slot: list[Callable[[int], None]] = []
        """Called after each `advance` with the new slot."""
        state = restored or ChainState(Hash(secrets.token_bytes(32)), Keypair(), 1, unix_time, 0)
        self.genesis_hash = state.genesis_hash
        self.identity = Keypair.from_seed(bytes(state.genesis_hash)).pubkey()
        """The one validator's address."""
        self.faucet = state.faucet
        self._slot = state.slot
        self._unix_time = max(unix_time, state.unix_time)
        self._blockhashes = Blockhashes(self._slot, state.blockhashes)
        self._times = SlotTimes(self._slot, self.unix_time)
        self._vm.set_epoch_schedule(EpochSchedule.without_warmup())
        self._set_sysvars(0)
        self._restore(state)
        for address, elf in (programs or {}).items():
            for changed in add_program(self._vm, address, elf):
                self._index.put(changed, ChainAccount.of(self._vm.get_account(changed)))
        self._set_sysvars(self._slot)
        if restored is None:
            faucet.fund(self, faucet_lamports)

    def _restore(self, state: ChainState) -> None:
        # A program is loaded when it is set, and its programdata must be there by then.
        for address, account in sorted(state.accounts, key=lambda item: item[1].executable):
            self._vm.set_account(address, account.to_solders())
            self._index.put(address, account)
        for landed in state.history:
            self._history.add(landed)
            if landed.slot + MAX_AGE_SLOTS >= state.slot:
                self._seen[landed.transaction().message.hash()] = landed.slot
        self._history.total = state.transaction_count

    # --- time ------------------------------------------------------------------------------------------

    @property
    def slot(self) -> int:
        """The current slot, which is also the block height: no slot is skipped."""
        return self._slot

    @property
    def unix_time(self) -> int:
        """The Clock sysvar's time, seconds since 1970."""
        return int(self._unix_time)

    @property
    def unix_seconds(self) -> float:
        """The chain's time with fractions."""
        return self._unix_time

    @property
    def epoch(self) -> int:
        return self._slot // SLOTS_PER_EPOCH

    @property
    def latest_blockhash(self) -> Hash:
        return self._blockhashes.latest

    def advance(self, slots: int = 1, seconds: float | None = None) -> None:
        """Ends the current slot and begins the one `slots` later.

        Args:
            seconds: by how much the chain's time moves; None: slots times the slot's length. 0 is allowed.
        """
        if slots < 1:
            raise ValueError("time goes forward: give at least one slot")
        self._slot += slots
        self._unix_time += slots * self._slot_s if seconds is None else max(0.0, seconds)
        self._block = _Block()
        self._blockhashes.advance_to(self._slot)
        self._times.add(self._slot, self.unix_time)
        self._forget_seen()
        # Durable nonces are made from the virtual machine's own blockhash, which must change with time.
        self._vm.expire_blockhash()
        self._set_sysvars(self._slot)
        for listener in self.on_slot:
            listener(self._slot)

    def last_valid_slot(self, blockhash: Hash) -> int | None:
        """The last slot (and block height) in which this blockhash is accepted; None for an unknown one."""
        return self._blockhashes.last_valid_slot(blockhash)

    def is_valid(self, blockhash: Hash) -> bool:
        """Whether a transaction with this blockhash can land now."""
        last = self._blockhashes.last_valid_slot(blockhash)
        return last is not None and self._slot <= last

    def blockhash_of(self, slot: int) -> Hash | None:
        """A recent slot's blockhash, None outside the window."""
        return self._blockhashes.of_slot(slot)

    @property
    def first_slot(self) -> int:
        """The oldest slot that is still remembered."""
        return self._blockhashes.first_slot

    def time_of(self, slot: int) -> int:
        """A remembered slot's chain time, seconds since 1970."""
        return self._times.of_slot(slot)

    def _set_sysvars(self, slot: int) -> None:
        now = int(self._unix_time)
        epoch = slot // SLOTS_PER_EPOCH
        started = int(now - (slot % SLOTS_PER_EPOCH) * self._slot_s)
        self._vm.set_clock(Clock(slot, max(0, started), epoch, epoch + 1, now))
        self._vm.set_slot_hashes(self._blockhashes.newest_first())

    def _forget_seen(self) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] + MAX_AGE_SLOTS >= self._slot:
                return
            del self._seen[oldest]

    # --- accounts --------------------------------------------------------------------------------------

    def account(self, address: Pubkey) -> ChainAccount | None:
        """The account now; None where there is nothing."""
        return self._index.get(address) or ChainAccount.of(self._vm.get_account(address))

    def owned_by(self, owner: Pubkey) -> Mapping[Pubkey, ChainAccount]:
        """All accounts of an owner. Live: don't keep it across a transaction."""
        if owner not in GENESIS_OWNERS:
            return self._index.owned_by(owner)
        found = ((address, ChainAccount.of(a)) for address, a in self._vm.get_program_accounts(owner))
        return {address: account for address, account in found if account is not None}

    def set_account(self, address: Pubkey, account: ChainAccount | None) -> None:
        """Writes an account outside any transaction: for genesis and tests."""
        empty = ChainAccount(0, b"", Pubkey.default(), False, 0)
        self._vm.set_account(address, (account or empty).to_solders())
        self._commit({address: account}, None)

    def rent_exempt_minimum(self, data_bytes: int) -> int:
        """Lamports that an account of this size must hold."""
        return self._vm.minimum_balance_for_rent_exemption(data_bytes)

    # --- transactions ----------------------------------------------------------------------------------

    def send(self, transaction: VersionedTransaction) -> Landed:
        """Executes a transaction in the current slot. It landed even if it failed: look at `err`.

        Raises:
            Refused: bad signature, unknown or expired blockhash, seen before, a payer that can't pay.
        """
        message_hash = self.verify(transaction)
        self.check_age(transaction, message_hash)
        keys = self._keys(transaction)
        done = execution.execute(self._vm, self.account, transaction, keys)
        changes = dict(done.changes)
        if not done.landed:
            raise Refused(done.err)
        if done.err is not None and transaction.uses_durable_nonce():
            changes.update(nonce.advance(self._vm, self.account, transaction))
        landed = self._record(transaction, keys, done)
        self._seen[message_hash] = self._slot
        self._commit(changes, landed)
        return landed

    def simulate(self, transaction: VersionedTransaction, *, verify: bool = True, check_age: bool = True) -> Simulation:
        """What `send` would do now; nothing is changed."""
        try:
            message_hash = self.verify(transaction) if verify else transaction.message.hash()
            if check_age:
                self.check_age(transaction, message_hash)
            keys = self._keys(transaction)
        except Refused as refused:
            keys = resolve_keys(transaction.message, self.account)
            return execution.refused(self.account, refused.err, keys)
        return execution.simulate(self._vm, self.account, transaction, keys)

    def verify(self, transaction: VersionedTransaction) -> Hash:
        """Checks form and signatures; gives the message's hash.

        Raises:
            Refused: SanitizeFailure, SignatureFailure.
        """
        try:
            transaction.sanitize()
        except Exception as error:  # solders has no common base for these
            raise Refused("SanitizeFailure") from error
        try:
            return transaction.verify_and_hash_message()
        except Exception as error:
            raise Refused("SignatureFailure") from error

    def check_age(self, transaction: VersionedTransaction, message_hash: Hash) -> None:
        """Checks that the transaction is neither too old nor known already.

        Raises:
            Refused: AlreadyProcessed, BlockhashNotFound.
        """
        if message_hash in self._seen:
            raise Refused("AlreadyProcessed")
        if not self.is_valid(transaction.message.recent_blockhash) and not nonce.is_current(self.account, transaction):
            raise Refused("BlockhashNotFound")

    def fee_of(self, message: VersionedMessage) -> int:
        """What a transaction of this message pays, in lamports: signatures and priority fee."""
        signatures = [Signature.default()] * message.header.num_required_signatures
        # The virtual machine tells the fee whatever comes of the execution.
        result = self._vm.simulate_transaction(VersionedTransaction.populate(message, signatures))
        return result.meta().fee()

    def airdrop(self, address: Pubkey, lamports: int) -> Landed:
        """Sends lamports from the faucet, by an ordinary transaction.

        Raises:
            Refused: the faucet can't pay.
        """
        return self.send(faucet.transfer(self, address, lamports))

    def landed(self, signature: str) -> Landed | None:
        """The transaction with this first signature, while it is remembered."""
        return self._history.get(signature)

    def landed_at(self, address: Pubkey) -> Iterable[Landed]:
        """The transactions that name the address, newest first."""
        return self._history.of_address(address)

    def landed_in(self, slot: int) -> list[Landed]:
        """A slot's transactions in order, while they are remembered."""
        return self._history.of_slot(slot)

    @property
    def transaction_count(self) -> int:
        """Transactions that ever landed."""
        return self._history.total

    def state(self) -> ChainState:
        """The chain's state without accounts and history, which `on_change` tells."""
        return ChainState(
            self.genesis_hash,
            self.faucet,
            self._slot,
            self._unix_time,
            self._history.total,
            self._blockhashes.oldest_first(),
        )

    def accounts(self) -> Iterable[tuple[Pubkey, ChainAccount]]:
        """Every account that genesis or a transaction wrote."""
        return iter(self._index)

    def _keys(self, transaction: VersionedTransaction) -> TransactionKeys:
        keys = resolve_keys(transaction.message, self.account)
        if keys is None:
            failed = self._vm.simulate_transaction(transaction)
            raise Refused(execution.error_of(failed) or "AddressLookupTableNotFound")
        return keys

    def _record(self, transaction: VersionedTransaction, keys: TransactionKeys, done: Execution) -> Landed:
        landed = Landed(
            str(transaction.signatures[0]),
            self._slot,
            self.unix_time,
            self._block.transactions,
            bytes(transaction),
            done.err,
            keys.all,
            done.meta.pack(),
        )
        self._block.transactions += 1
        self._history.add(landed)
        return landed

    def _commit(self, changes: Changes, landed: Landed | None) -> None:
        for address, account in changes.items():
            self._index.put(address, account)
        for listener in self.on_change:
            listener(changes, landed)
