"""The markets program: one builder for each instruction, its accounts and errors."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import (
    NATIVE_MINT,
    Job,
    Market,
    MarketTerms,
    Node,
    NodeSpecs,
    NodeState,
    QueuedJob,
    Reason,
    Requirements,
)
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import AccountInvalid
from hypernode_worker.solana import addresses
from hypernode_worker.solana.codec import codec
from hypernode_worker.solana.instruction_builder import LOCALNET_PROGRAM_ID as LOCALNET_PROGRAM_ID
from hypernode_worker.solana.instruction_builder import InstructionBuilder, Payees, given, holder
from hypernode_worker.solana.records import account_from, queued_from

_NONE = Pubkey.default()


def error_name(code: int) -> str | None:
    """Name of one of the program's errors, None for a code that it doesn't have."""
    spec = codec().idl.errors.get(code)
    return spec.name if spec else None


def error_message(code: int) -> str | None:
    """The sentence of one of the program's errors, None for a code that it doesn't have."""
    spec = codec().idl.errors.get(code)
    return spec.message if spec else None


class MarketsProgram(InstructionBuilder):
    """The program at one address. Builders return instructions; who signs is in the IDL."""

    # --- accounts ---

    def decode_account(self, address: Pubkey, data: bytes, owner: Pubkey) -> Market | Node | Job:
        """Raises AccountInvalid when another program owns it or the bytes are no market, node or job."""
        if owner != self.id:
            raise AccountInvalid(
                f"{address} belongs to program {owner}, not to {self.id}: check PROGRAM_ID and the address."
            )
        return account_from(address, data)

    def decode_queued(self, address: Pubkey, data: bytes) -> QueuedJob:
        """Reads bytes 0..192 of a job account. Raises AccountInvalid when they are none."""
        return queued_from(address, data)

    # --- markets ---

    def create_market(
        self,
        authority: Pubkey,
        market_id: int,
        terms: MarketTerms,
        *,
        payment_mint: Pubkey = NATIVE_MINT,
        stake_mint: Pubkey = _NONE,
    ) -> Instruction:
        accounts = {
            "authority": authority,
            "market": self.market_address(authority, market_id),
            "payment_mint": given(payment_mint),
            "stake_mint": given(stake_mint),
        }
        return self.instruction("create_market", accounts, {"market_id": market_id, "terms": terms})

    def update_market(self, market: Market, terms: MarketTerms, *, paused: bool) -> Instruction:
        accounts = {"authority": market.authority, "market": market.address}
        return self.instruction("update_market", accounts, {"terms": terms, "paused": paused})

    def close_market(self, authority: Pubkey, market: Pubkey) -> Instruction:
        return self.instruction("close_market", {"authority": authority, "market": market}, {})

    # --- nodes ---

    def register_node(
        self,
        authority: Pubkey,
        market: Pubkey,
        specs: NodeSpecs,
        *,
        capacity: int,
        payout: Pubkey,
        old_payout: Pubkey | None = None,
    ) -> Instruction:
        """Registers or updates; `old_payout` signs too when an update changes the payout wallet."""
        accounts = {
            "authority": authority,
            "node": self.node_address(market, authority),
            "market": market,
            "old_payout": old_payout,
        }
        return self.instruction("register_node", accounts, {"specs": specs, "capacity": capacity, "payout": payout})

    def heartbeat_node(self, authority: Pubkey, market: Pubkey, state: NodeState) -> Instruction:
        accounts = {"authority": authority, "node": self.node_address(market, authority)}
        return self.instruction("heartbeat_node", accounts, {"state": int(state)})

    def deregister_node(self, node: Node, *, owner: Pubkey | None = None, stake_mint: Pubkey = _NONE) -> Instruction:
        """`owner` signs: the authority (default) or the payout wallet; `stake_mint` when the node has a vault."""
        staked = stake_mint != _NONE
        accounts = {
            "owner": owner or node.authority,
            "node": node.address,
            "payout": node.payout,
            "vault": self.stake_address(node.address) if staked else None,
            "stake_mint": stake_mint if staked else None,
            "token_program": addresses.TOKEN_PROGRAM if staked else None,
        }
        return self.instruction("deregister_node", accounts, {})

    # --- stake ---

    def stake(
        self, funder: Pubkey, node: Node, stake_mint: Pubkey, amount: int, *, source: Pubkey | None = None
    ) -> Instruction:
        """Tokens come from `source`, by default the funder's associated account."""
        accounts = {
            "funder": funder,
            "node": node.address,
            "market": node.market,
            "from": source or addresses.token_address(funder, stake_mint),
            "vault": self.stake_address(node.address),
            "stake_mint": stake_mint,
        }
        return self.instruction("stake", accounts, {"amount": amount})

    def request_unstake(self, node: Node, amount: int, *, owner: Pubkey | None = None) -> Instruction:
        """`owner` signs: the authority (default) or the payout wallet; replaces the last request."""
        accounts = {"owner": owner or node.authority, "node": node.address}
        return self.instruction("request_unstake", accounts, {"amount": amount})

    def withdraw_stake(self, node: Node, stake_mint: Pubkey, *, to: Pubkey | None = None) -> Instruction:
        """Pays to `to`, by default the payout wallet's associated account."""
        accounts = {
            "node": node.address,
            "to": to or addresses.token_address(node.payout, stake_mint),
            "vault": self.stake_address(node.address),
        }
        return self.instruction("withdraw_stake", accounts, {})

    # --- a client's jobs ---

    def create_job(
        self,
        client: Pubkey,
        market: Market,
        *,
        nonce: int,
        definition_cid: Cid,
        price: int,
        timeout: int,
        requirements: Requirements,
        source: Pubkey | None = None,
    ) -> Instruction:
        """The deposit comes from the client's wallet (native) or from `source`, by default its associated account."""
        job, bump = addresses.job_address(self.id, market.address, client, nonce)
        escrow_bump = 0 if market.is_native else addresses.escrow_address(self.id, job)[1]
        accounts = {
            "client": client,
            "market": market.address,
            "job": job,
            "payment_mint": given(market.payment_mint),
            **self._fund(job, client, market.payment_mint, source),
        }
        args = {
            "nonce": nonce,
            "bump": bump,
            "escrow_bump": escrow_bump,
            "revision": market.revision,
            "definition_cid": definition_cid,
            "price": price,
            "timeout": timeout,
            "requirements": requirements,
        }
        return self.instruction("create_job", accounts, args)

    def cancel_job(self, job: Job, payees: Payees | None = None) -> Instruction:
        accounts = {"client": job.client, "job": job.address, "node": holder(job), **self._pay(job, payees)}
        return self.instruction("cancel_job", accounts, {})

    def extend_job(self, job: Job, seconds: int, *, source: Pubkey | None = None) -> Instruction:
        fund = self._fund(job.address, job.client, job.payment_mint, source)
        accounts = {"client": job.client, "job": job.address, **fund}
        return self.instruction("extend_job", accounts, {"seconds": seconds})

    def stop_job(self, job: Job) -> Instruction:
        return self.instruction("stop_job", {"client": job.client, "job": job.address}, {})

    def share_secrets(self, job: Job, secrets_cid: Cid) -> Instruction:
        args = {"secrets_cid": secrets_cid}
        return self.instruction("share_secrets", {"client": job.client, "job": job.address}, args)

    def dispute_result(self, job: Job, reason_cid: Cid, *, source: Pubkey | None = None) -> Instruction:
        fund = self._fund(job.address, job.client, job.payment_mint, source)
        accounts = {"client": job.client, "job": job.address, **fund}
        return self.instruction("dispute_result", accounts, {"reason_cid": reason_cid})

    def resolve_dispute(self, job: Job, *, pay_bps: int, slash_bps: int, payees: Payees | None = None) -> Instruction:
        accounts = {"arbiter": job.arbiter, "job": job.address, "node": job.node, **self._pay(job, payees)}
        return self.instruction("resolve_dispute", accounts, {"pay_bps": pay_bps, "slash_bps": slash_bps})

    def close_job(self, caller: Pubkey, job: Job, payees: Payees | None = None) -> Instruction:
        accounts = {"caller": caller, "job": job.address, "client": job.client, **self._pay(job, payees)}
        return self.instruction("close_job", accounts, {})

    # --- a node's jobs ---

    def work_job(self, authority: Pubkey, job: QueuedJob | Job, *, begin: bool) -> Instruction:
        accounts = {
            "authority": authority,
            "node": self.node_address(job.market, authority),
            "job": job.address,
            "market": job.market,
        }
        return self.instruction("work_job", accounts, {"begin": begin, "queued_slot": job.queued_slot})

    def begin_job(self, authority: Pubkey, job: Job) -> Instruction:
        return self.instruction("begin_job", self._run(authority, job), {})

    def checkpoint_job(self, authority: Pubkey, job: Job, *, progress_bps: int, cid: Cid | None) -> Instruction:
        """A sign of life; None keeps the last checkpoint."""
        args = {"progress_bps": progress_bps, "checkpoint_cid": cid}
        return self.instruction("checkpoint_job", self._run(authority, job), args)

    def release_job(self, authority: Pubkey, job: Job, reason: Reason) -> Instruction:
        return self.instruction("release_job", self._run(authority, job), {"reason": int(reason)})

    def finish_job(
        self,
        authority: Pubkey,
        job: Job,
        *,
        result_cid: Cid,
        result_hash: bytes,
        exit_status: int,
        payees: Payees | None = None,
    ) -> Instruction:
        accounts = {**self._run(authority, job), **self._pay(job, payees)}
        args = {"result_cid": result_cid, "result_hash": result_hash, "exit_status": exit_status}
        return self.instruction("finish_job", accounts, args)

    # --- anyone ---

    def settle_job(self, caller: Pubkey, job: Job, payees: Payees | None = None) -> Instruction:
        accounts = {"caller": caller, "job": job.address, "node": holder(job), **self._pay(job, payees)}
        return self.instruction("settle_job", accounts, {})

    def timeout_job(self, job: Job, payees: Payees | None = None) -> Instruction:
        accounts = {"job": job.address, "node": holder(job), **self._pay(job, payees)}
        return self.instruction("timeout_job", accounts, {})
