"""What `solana program deploy` does, by instructions of the upgradeable loader (version 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solana.rpc.models import TxOpts
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import CreateAccountParams, create_account
from solders.sysvar import CLOCK, RENT
from solders.transaction import VersionedTransaction
from solders.transaction_status import TransactionConfirmationStatus

from hypernode_worker.solana.deployment import UPGRADEABLE_LOADER
from tests.support.transactions import signed

BUFFER_HEADER, PROGRAM_DATA_HEADER, PROGRAM_BYTES = 37, 45, 36
_CHUNK_BYTES = 1_000
_LANDED_S = 60.0
_CONFIRMED = (TransactionConfirmationStatus.Confirmed, TransactionConfirmationStatus.Finalized)


class Loader:
    """Deploys for one authority, who pays too. Counts the signatures that were paid."""

    def __init__(self, client: AsyncClient, authority: Keypair) -> None:
        self._client = client
        self._authority = authority
        self._key = authority.pubkey()
        self.signatures = 0

    async def write_buffer(self, elf: bytes) -> Pubkey:
        """A buffer with the program in it."""
        buffer = Keypair()
        key = buffer.pubkey()
        made = await self._create(key, BUFFER_HEADER + len(elf))
        await self.send([made, _call(0, b"", _writable(key), _read(self._key))], signers=[buffer])
        writes = [self._write(key, at, elf[at : at + _CHUNK_BYTES]) for at in range(0, len(elf), _CHUNK_BYTES)]
        await self.send(*([write] for write in writes))
        return key

    async def deploy(self, buffer: Pubkey, program: Keypair, length: int) -> None:
        key = program.pubkey()
        made = await self._create(key, PROGRAM_BYTES)
        accounts = [_signs(self._key), _writable(data_address(key)), _writable(key), _writable(buffer)]
        accounts += [_read(RENT), _read(CLOCK), _read(SYSTEM_PROGRAM), _reader(self._key)]
        await self.send([made, _call(2, length.to_bytes(8, "little"), *accounts)], signers=[program])

    async def upgrade(self, buffer: Pubkey, program: Pubkey) -> None:
        """The buffer's rent comes back to the authority."""
        accounts = [_writable(data_address(program)), _writable(program), _writable(buffer), _writable(self._key)]
        await self.send([_call(3, b"", *accounts, _read(RENT), _read(CLOCK), _reader(self._key))])

    async def hand_over(self, program: Pubkey, to: Keypair) -> None:
        accounts = [_writable(data_address(program)), _reader(self._key), _reader(to.pubkey())]
        await self.send([_call(7, b"", *accounts)], signers=[to])

    async def make_final(self, program: Pubkey) -> None:
        await self.send([_call(4, b"", _writable(data_address(program)), _reader(self._key))])

    async def send(self, *transactions: Sequence[Instruction], signers: Sequence[Keypair] = ()) -> None:
        """Sends all at once and waits until they are confirmed."""
        latest = (await self._client.get_latest_blockhash()).value.blockhash
        made = [signed(instructions, [self._authority, *signers], latest) for instructions in transactions]
        options = TxOpts(skip_preflight=True, preflight_commitment=Confirmed)
        self.signatures += len(made) * (1 + len(signers))
        async with asyncio.timeout(_LANDED_S):
            waiting: list[VersionedTransaction] = made
            pause_s = 0.1
            while waiting:
                # A busy validator drops transactions, so what hasn't landed is sent again: the same, so it lands once.
                await asyncio.gather(*(self._client.send_transaction(one, options) for one in waiting))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 1.0)
                signatures = [one.signatures[0] for one in waiting]
                statuses = (await self._client.get_signature_statuses(signatures)).value
                assert [status.err for status in statuses if status and status.err] == []
                waiting = [
                    one
                    for one, status in zip(waiting, statuses, strict=True)
                    if status is None or status.confirmation_status not in _CONFIRMED
                ]

    def _write(self, buffer: Pubkey, offset: int, data: bytes) -> Instruction:
        body = offset.to_bytes(4, "little") + len(data).to_bytes(8, "little") + data
        return _call(1, body, _writable(buffer), _reader(self._key))

    async def _create(self, key: Pubkey, space: int) -> Instruction:
        rent = (await self._client.get_minimum_balance_for_rent_exemption(space)).value
        made = CreateAccountParams(
            from_pubkey=self._key, to_pubkey=key, lamports=rent, space=space, owner=UPGRADEABLE_LOADER
        )
        return create_account(made)


def data_address(program: Pubkey) -> Pubkey:
    return Pubkey.find_program_address([bytes(program)], UPGRADEABLE_LOADER)[0]


def _call(kind: int, body: bytes, *accounts: AccountMeta) -> Instruction:
    return Instruction(UPGRADEABLE_LOADER, kind.to_bytes(4, "little") + body, list(accounts))


def _signs(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=True, is_writable=True)


def _reader(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=True, is_writable=False)


def _writable(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=True)


def _read(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=False)
