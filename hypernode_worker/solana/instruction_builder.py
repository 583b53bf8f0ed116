"""How the markets program's instructions are put together: its addresses, and the accounts that several share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NATIVE_MINT, Job, JobState
from hypernode_worker.solana import addresses
from hypernode_worker.solana.codec import codec

LOCALNET_PROGRAM_ID = Pubkey.from_string("HYPERMarket11111111111111111111111111111111")
"""Off the curve: nobody can deploy there, so it is the program's address on a local chain only."""

_HELD = (JobState.CLAIMED, JobState.RUNNING, JobState.SUBMITTED, JobState.DISPUTED)


@dataclass(frozen=True, slots=True)
class Payees:
    """Accounts that receive money: wallets (native) or token accounts of them (SPL); None: not given."""

    payout_to: Pubkey | None = None
    client_to: Pubkey | None = None
    fee_to: Pubkey | None = None


class InstructionBuilder:
    """The program at one address: any instruction by the names of its accounts."""

    def __init__(self, program_id: Pubkey = LOCALNET_PROGRAM_ID) -> None:
        self.id = program_id

    # --- addresses ---

    def market_address(self, authority: Pubkey, market_id: int) -> Pubkey:
        return addresses.market_address(self.id, authority, market_id)

    def node_address(self, market: Pubkey, authority: Pubkey) -> Pubkey:
        return addresses.node_address(self.id, market, authority)

    def job_address(self, market: Pubkey, client: Pubkey, nonce: int) -> Pubkey:
        return addresses.job_address(self.id, market, client, nonce)[0]

    def escrow_address(self, job: Pubkey) -> Pubkey:
        return addresses.escrow_address(self.id, job)[0]

    def stake_address(self, node: Pubkey) -> Pubkey:
        return addresses.stake_address(self.id, node)

    def payees(self, job: Job) -> Payees:
        """Where money of this job goes by default: the wallets, or their associated token accounts."""
        wallets = (given(job.payout), job.client, given(job.fee_receiver))
        if job.is_native:
            return Payees(*wallets)
        return Payees(*(addresses.token_address(w, job.payment_mint) if w else None for w in wallets))

    def instruction(self, name: str, accounts: Mapping[str, Pubkey | None], args: Mapping[str, object]) -> Instruction:
        """Any instruction of the IDL, by the names of its accounts; None or no entry: an absent optional one.

        Raises ValueError for arguments that don't fit, and KeyError for a missing account.
        """
        metas: list[AccountMeta] = []
        for spec in codec().idl.instructions[name].accounts:
            key = accounts.get(spec.name)
            if key is None and spec.optional:
                metas.append(AccountMeta(self.id, is_signer=False, is_writable=False))
                continue
            if key is None:
                key = Pubkey.from_string(spec.address) if spec.address else accounts[spec.name]
            if key is None:
                raise KeyError(f"{name} needs the account {spec.name}")
            metas.append(AccountMeta(key, is_signer=spec.signer, is_writable=spec.writable))
        return Instruction(self.id, codec().encode_instruction(name, args), metas)

    def _run(self, authority: Pubkey, job: Job) -> dict[str, Pubkey | None]:
        return {"authority": authority, "node": self.node_address(job.market, authority), "job": job.address}

    def _pay(self, job: Job, payees: Payees | None) -> dict[str, Pubkey | None]:
        chosen = payees or self.payees(job)
        token = not job.is_native
        return {
            "payout_to": chosen.payout_to,
            "client_to": chosen.client_to,
            "fee_to": chosen.fee_to,
            "escrow": job.escrow if token else None,
            "token_program": addresses.TOKEN_PROGRAM if token else None,
        }

    def _fund(self, job: Pubkey, client: Pubkey, mint: Pubkey, source: Pubkey | None) -> dict[str, Pubkey | None]:
        if mint == NATIVE_MINT:
            return {"system_program": addresses.SYSTEM_PROGRAM}
        return {
            "from": source or addresses.token_address(client, mint),
            "escrow": self.escrow_address(job),
            "token_program": addresses.TOKEN_PROGRAM,
            "system_program": addresses.SYSTEM_PROGRAM,
        }


def given(key: Pubkey) -> Pubkey | None:
    """None for the zero key, which stands for none."""
    return None if key == Pubkey.default() else key


def holder(job: Job) -> Pubkey | None:
    """The node whose counts a change of this job touches: only while it has the job."""
    return job.node if job.state in _HELD else None
