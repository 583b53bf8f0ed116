"""A wallet on the chain: its signature, and what any wallet may do for a job."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job
from hypernode_worker.core.ports import Receipt
from hypernode_worker.errors import ConfigError
from hypernode_worker.solana.addresses import create_token_account
from hypernode_worker.solana.failure import Intent
from hypernode_worker.solana.reader import ProgramReader
from hypernode_worker.solana.sender import Sender


class WalletActions(ProgramReader):
    """One transaction for each method; see core.ports."""

    _wallet: Keypair | None
    _sender: Sender

    @property
    def wallet(self) -> Pubkey:
        """Raises ConfigError where no key was given."""
        return self._keypair().pubkey()

    def _keypair(self) -> Keypair:
        if self._wallet is None:
            raise ConfigError(
                "This needs a wallet's key: set KEYPAIR_PATH, or make one with 'hypernode-worker key new'."
            )
        return self._wallet

    def sign(self, message: bytes) -> bytes:
        return bytes(self._keypair().sign_message(message))

    async def settle_job(self, job: Job) -> Receipt:
        return await self._pay_out(job, self._program.settle_job(self.wallet, job), "settle")

    async def timeout_job(self, job: Job) -> Receipt:
        return await self._pay_out(job, self._program.timeout_job(job), "time out")

    async def _pay_out(self, job: Job, instruction: Instruction, verb: str) -> Receipt:
        """Sends an instruction that pays; a client whose own token account is gone gets it back in the same step."""
        instructions: Sequence[Instruction] = [instruction]
        if not job.is_native and self.wallet == job.client:
            instructions = [create_token_account(self.wallet, self.wallet, job.payment_mint), instruction]
        return await self._sender.send(instructions, Intent(f"{verb} job {job.address}", job=job.address))
