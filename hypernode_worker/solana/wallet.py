"""A wallet on the chain: its signature, and what any wallet may do for a job."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job
from hypernode_worker.core.ports import Receipt
from hypernode_worker.errors import ConfigError
from hypernode_worker.solana.addresses import create_token_account, token_address
from hypernode_worker.solana.failure import Intent
from hypernode_worker.solana.reader import ProgramReader
from hypernode_worker.solana.sender import Sender

_WAIT = "'hypernode-worker job get' shows its deadline, after which anyone may do this"


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

    def _must_be(self, owner: Pubkey, what: str) -> None:
        """Raises ConfigError where only `owner`, whose part in it `what` says, may sign, and this wallet is another."""
        if self.wallet != owner:
            raise ConfigError(
                f"Only the wallet {owner}, {what}, may do this, and the key file is that of {self.wallet}: name the "
                "right one with --keypair."
            )

    async def settle_job(self, job: Job) -> Receipt:
        advice = {
            "DeadlineNotPassed": _WAIT,
            "WrongJobState": "a queued or claimed job is ended with 'hypernode-worker job cancel', a running one with "
            "'hypernode-worker job stop'",
            "NothingOwed": "everybody has been paid; 'hypernode-worker job close' gets the rent back",
            "NothingDelivered": "whom it owes needs SOL for rent exemption, or a token account that isn't frozen",
        }
        return await self._pay_out(job, self._program.settle_job(self.wallet, job), "settle", advice)

    async def timeout_job(self, job: Job) -> Receipt:
        advice = {"DeadlineNotPassed": _WAIT, "WrongJobState": "it has ended, or its result is under review"}
        return await self._pay_out(job, self._program.timeout_job(job), "time out", advice)

    async def _pay_out(self, job: Job, instruction: Instruction, verb: str, advice: dict[str, str]) -> Receipt:
        """Sends an instruction that pays. Token accounts of ours that are gone are made again in the same step."""
        instructions = [*(await self._own_accounts(job)), instruction]
        intent = Intent(f"{verb} job {job.address}", advice=advice, job=job.address)
        return await self._sender.send(instructions, intent)

    async def _own_accounts(self, job: Job) -> list[Instruction]:
        """Makes the missing token accounts of payees for whom this wallet acts; strangers' rent isn't ours to pay."""
        if job.is_native:
            return []
        ours = {wallet for wallet in (job.client, job.fee_receiver) if wallet == self.wallet}
        if job.node == self._program.node_address(job.market, self.wallet):
            ours.add(job.payout)
        return [
            create_token_account(self.wallet, owner, job.payment_mint)
            for owner in sorted(ours, key=bytes)
            if await self._lacks_account(owner, job.payment_mint)
        ]

    async def _lacks_account(self, owner: Pubkey, mint: Pubkey) -> bool:
        info = (await self._rpc.account(token_address(owner, mint)))[0]
        return info is None or info.lamports == 0
