"""From instructions to a confirmed transaction: simulate, price, sign, send, repeat, confirm.

Simulation comes first, so that a refusal costs nothing; it also brings the compute units and a fresh blockhash, which
saves two requests. A transaction that may still land is never replaced by another one for the same instructions, also
not after a restart: where there is a log, it is written there before it is first sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import Transaction

from hypernode_worker.core.ports import Receipt
from hypernode_worker.core.transactions import SentTransaction, TransactionLog
from hypernode_worker.core.types import Slot
from hypernode_worker.errors import HypernodeError, TransactionExpired, TransactionFailed
from hypernode_worker.solana.confirmation import Confirmation, Outcome
from hypernode_worker.solana.failure import Intent, transaction_error
from hypernode_worker.solana.fees import MAX_UNITS, PriorityFee, fee_lamports, unit_limit
from hypernode_worker.solana.rpc import Blockhash, Rpc, Simulation
from hypernode_worker.solana.transport import Json, RpcRefused, json_object

log = logging.getLogger(__name__)

_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction and all that is needed to follow it.

    Attributes:
        programs: of its instructions, in order.
        intent: what it was signed for.
        recalled: it was sent before a restart.
    """

    signature: Signature
    wire: bytes
    programs: tuple[Pubkey, ...]
    intent: Intent
    last_valid_block_height: int
    fee_lamports: int
    compute_units: int | None
    recalled: bool = False


class Sender:
    """Sends transactions of one wallet, which pays their fees."""

    def __init__(self, rpc: Rpc, wallet: Keypair, program: Pubkey, *, max_priority_fee_lamports: int) -> None:
        self._rpc = rpc
        self._wallet = wallet
        self._program = program
        self._fees = PriorityFee(rpc, max_priority_fee_lamports)
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._unsettled: dict[bytes, Signed] = {}
        self._log: TransactionLog | None = None
        self._recent: deque[Signature] = deque(maxlen=_REMEMBERED)

    def keep_log(self, journal: TransactionLog | None) -> None:
        """From now on transactions are written there, before they are sent; what stands open there is known again."""
        self._log = journal
        for sent in journal.open_transactions() if journal else ():
            self._unsettled[sent.key] = _recalled(sent)

    def may_land(self, job: Pubkey) -> bool:
        """Whether a transaction about this job was sent whose end isn't known."""
        return any(signed.intent.job == job for signed in self._unsettled.values())

    async def follow_up(self) -> None:
        """Follows what was sent before a restart until its end is known.

        Raises EndpointDown, RateLimited where nobody could be asked; may be repeated.
        """
        for key in [key for key, signed in self._unsettled.items() if signed.recalled]:
            with contextlib.suppress(TransactionFailed, TransactionExpired):
                async with self._locks.setdefault(key, asyncio.Lock()):
                    signed = self._unsettled.get(key)
                    if signed is not None:
                        await self._follow(key, signed, signed.intent)

    async def send(self, instructions: Sequence[Instruction], intent: Intent, *, newest: bool = False) -> Receipt:
        """Returns once it is confirmed without an error.

        May be repeated: while an earlier transaction with the same instructions may still land, that one is followed.

        Args:
            newest: simulate on the latest block's state, confirmed or not: where others want the same, a race that is
                lost already is seen sooner.

        Raises:
            TransactionFailed (ProgramError, InsufficientFunds): refused in simulation, or landed with an error.
            TransactionExpired: it can no longer land.
            EndpointDown, RateLimited: nobody could be asked. It may have landed: read the state before trying again.
        """
        body = tuple(instructions)
        key = _key(body)
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                return await self._send(key, body, intent, newest=newest)
        finally:
            if not lock.locked() and key not in self._unsettled:
                self._locks.pop(key, None)

    async def _send(self, key: bytes, body: tuple[Instruction, ...], intent: Intent, *, newest: bool) -> Receipt:
        earlier = self._unsettled.get(key)
        if earlier is not None:
            try:
                return await self._follow(key, earlier, intent)
            except TransactionExpired:
                pass  # it is certain now that the earlier one never lands
        signed = await self._prepare(body, intent, newest=newest)
        if self._log is not None:
            height, fee = signed.last_valid_block_height, signed.fee_lamports
            self._log.sent(SentTransaction(key, intent.what, intent.job, signed.signature, signed.wire, height, fee))
        self._unsettled[key] = signed
        return await self._follow(key, signed, intent)

    async def _prepare(self, body: tuple[Instruction, ...], intent: Intent, *, newest: bool) -> Signed:
        if newest:
            # The hash of a block that is dropped later would leave the transaction waiting for its end in vain.
            simulation, blockhash = await asyncio.gather(
                self._simulate(body, intent, newest=True), self._rpc.blockhash()
            )
        else:
            simulation = await self._simulate(body, intent)
            blockhash = simulation.blockhash or await self._rpc.blockhash()
        units = unit_limit(simulation.units)
        writable = [m.pubkey for i in body for m in i.accounts if m.is_writable]
        price = await self._fees.price(units, writable)
        signed = self._sign(body, intent, blockhash, units, price, simulation.units)
        while signed.signature in self._recent:
            # The same bytes as a transaction before: the chain would take it for that one, and do nothing.
            units += 1
            signed = self._sign(body, intent, blockhash, units, price, simulation.units)
        self._recent.append(signed.signature)
        return signed

    async def _simulate(self, body: tuple[Instruction, ...], intent: Intent, *, newest: bool = False) -> Simulation:
        instructions = (set_compute_unit_limit(MAX_UNITS), *body)
        message = Message(instructions, self._wallet.pubkey())
        simulation = await self._rpc.simulate(bytes(Transaction.new_unsigned(message)), newest=newest)
        if simulation.err is not None:
            programs = tuple(instruction.program_id for instruction in instructions)
            raise self._error(simulation.err, programs, intent, logs=simulation.logs)
        return simulation

    def _sign(
        self,
        body: tuple[Instruction, ...],
        intent: Intent,
        blockhash: Blockhash,
        units: int,
        price: int,
        consumed: int | None,
    ) -> Signed:
        budget = (set_compute_unit_limit(units), *((set_compute_unit_price(price),) if price else ()))
        instructions = (*budget, *body)
        message = Message(instructions, self._wallet.pubkey())
        transaction = Transaction([self._wallet], message, Hash.from_string(blockhash.text))
        return Signed(
            signature=transaction.signatures[0],
            wire=bytes(transaction),
            programs=tuple(instruction.program_id for instruction in instructions),
            intent=intent,
            last_valid_block_height=blockhash.last_valid_block_height,
            fee_lamports=fee_lamports(signatures=len(transaction.signatures), units=units, price=price),
            compute_units=consumed,
        )

    async def _follow(self, key: bytes, signed: Signed, intent: Intent) -> Receipt:
        """Broadcasts until its end is known; only then is it forgotten."""
        confirmation = Confirmation(
            self._rpc, signed.signature, signed.wire, signed.last_valid_block_height, sent_before=signed.recalled
        )
        try:
            outcome = await confirmation.run()
        except TransactionExpired:
            self._forget(key, signed, None)
            raise TransactionExpired(
                f"Could not {intent.what}: the transaction {signed.signature} found no place in a block in time and "
                "can no longer land; try again."
            ) from None
        except RpcRefused as error:
            self._forget(key, signed, None)
            raise self._refused(error, signed, intent) from error
        self._forget(key, signed, Slot(outcome.slot))
        return self._settled(outcome, signed, intent)

    def _forget(self, key: bytes, signed: Signed, slot: Slot | None) -> None:
        self._unsettled.pop(key, None)
        if self._log is not None:
            try:
                self._log.ended(signed.signature, slot)
            except HypernodeError:  # the next start finds out once more
                log.exception("The end of the transaction %s couldn't be written down", signed.signature)

    def _settled(self, outcome: Outcome, signed: Signed, intent: Intent) -> Receipt:
        self._rpc.after(outcome.slot)
        if outcome.err is not None:
            raise self._error(outcome.err, signed.programs, intent, landed=True)
        return Receipt(signed.signature, Slot(outcome.slot), signed.fee_lamports, signed.compute_units)

    def _error(
        self,
        err: Json,
        programs: tuple[Pubkey, ...],
        intent: Intent,
        *,
        logs: tuple[str, ...] = (),
        landed: bool = False,
    ) -> TransactionFailed:
        return transaction_error(
            err,
            intent=intent,
            payer=self._wallet.pubkey(),
            program=self._program,
            programs=programs,
            logs=logs,
            landed=landed,
        )

    def _refused(self, error: RpcRefused, signed: Signed, intent: Intent) -> TransactionFailed:
        """An endpoint may check a transaction although it was told not to; then it says what it found."""
        err = json_object(error.data).get("err")
        if err is not None:
            return self._error(err, signed.programs, intent)
        return TransactionFailed(f"Could not {intent.what}: {error}")


def _recalled(sent: SentTransaction) -> Signed:
    message = Transaction.from_bytes(sent.wire).message
    programs = tuple(message.account_keys[instruction.program_id_index] for instruction in message.instructions)
    return Signed(
        signature=sent.signature,
        wire=sent.wire,
        programs=programs,
        intent=Intent(sent.what, job=sent.job),
        last_valid_block_height=sent.last_valid_block_height,
        fee_lamports=sent.fee_lamports,
        compute_units=None,
        recalled=True,
    )


def _key(body: tuple[Instruction, ...]) -> bytes:
    digest = hashlib.sha256()
    for instruction in body:
        digest.update(bytes(instruction))
    return digest.digest()
