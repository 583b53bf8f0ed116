"""What a client's or market authority's wallet signs: core.ports.ClientChain beside its reads."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NATIVE_MINT, Job, Market, MarketTerms, Requirements
from hypernode_worker.core.market_terms import WHOLE_BPS
from hypernode_worker.core.ports import Receipt
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.addresses import create_token_account
from hypernode_worker.solana.failure import Intent, sol
from hypernode_worker.solana.reader import JOB_BYTES, TOKEN_ACCOUNT_BYTES
from hypernode_worker.solana.wallet import WalletActions


class ClientActions(WalletActions):
    """One transaction for each method; see core.ports.ClientChain."""

    # --- markets ---

    async def create_market(
        self, market_id: int, terms: MarketTerms, *, payment_mint: Pubkey, stake_mint: Pubkey
    ) -> tuple[Pubkey, Receipt]:
        address = self._program.market_address(self.wallet, market_id)
        instruction = self._program.create_market(
            self.wallet, market_id, terms, payment_mint=payment_mint, stake_mint=stake_mint
        )
        intent = Intent(
            f"create market {address}",
            "the rent of its account, about 0.003 SOL",
            {
                "WrongMint": "name mints of SPL Token (not of Token-2022, nor wrapped SOL), or leave them out for SOL",
                "AccountExists": "this wallet has a market of that --id already: leave it out, or choose another",
            },
        )
        instructions = [instruction, *(await self._fee_account(terms, payment_mint))]
        return address, await self._sender.send(instructions, intent)

    async def update_market(self, market: Market, terms: MarketTerms, *, paused: bool) -> Receipt:
        self._must_be(market.authority, "the market's owner")
        instruction = self._program.update_market(market, terms, paused=paused)
        instructions = [instruction, *(await self._fee_account(terms, market.payment_mint))]
        return await self._sender.send(instructions, Intent(f"update market {market.address}"))

    async def _fee_account(self, terms: MarketTerms, mint: Pubkey) -> list[Instruction]:
        """Makes the fee receiver's token account where it is missing: without one its fees would stay owed."""
        if mint == NATIVE_MINT or not terms.fee_bps or not await self._lacks_account(terms.fee_receiver, mint):
            return []
        return [create_token_account(self.wallet, terms.fee_receiver, mint)]

    async def close_market(self, market: Market) -> Receipt:
        self._must_be(market.authority, "the market's owner")
        instruction = self._program.close_market(self.wallet, market.address)
        return await self._sender.send([instruction], Intent(f"close market {market.address}"))

    async def resolve_dispute(self, job: Job, *, pay_bps: int, slash_bps: int) -> Receipt:
        self._must_be(job.arbiter, "the arbiter of the job's market when it was posted")
        instruction = self._program.resolve_dispute(job, pay_bps=pay_bps, slash_bps=slash_bps)
        advice = {"WrongJobState": "it isn't in dispute, or no longer; 'hypernode-worker job get' shows how it stands"}
        return await self._pay_out(job, instruction, "resolve the dispute of", advice)

    # --- jobs ---

    async def create_job(
        self,
        market: Market,
        *,
        nonce: int,
        definition_cid: Cid,
        price: int,
        timeout: int,
        requirements: Requirements,
    ) -> tuple[Pubkey, Receipt]:
        address = self._program.job_address(market.address, self.wallet, nonce)
        instruction = self._program.create_job(
            self.wallet,
            market,
            nonce=nonce,
            definition_cid=definition_cid,
            price=price,
            timeout=timeout,
            requirements=requirements,
        )
        cost = await self._cost(market, price * timeout)
        return address, await self._sender.send([instruction], Intent(f"post job {address}", cost))

    async def job_rent(self, market: Market) -> int:
        rent = await self.rent(JOB_BYTES)
        return rent if market.is_native else rent + await self.rent(TOKEN_ACCOUNT_BYTES)

    async def cancel_job(self, job: Job) -> Receipt:
        self._must_be(job.client, "the job's client")
        advice = {
            "WrongJobState": "a running job is ended with 'hypernode-worker job stop', what has ended is removed with "
            "'hypernode-worker job close'"
        }
        return await self._pay_out(job, self._program.cancel_job(job), "cancel", advice)

    async def extend_job(self, job: Job, seconds: int) -> Receipt:
        self._must_be(job.client, "the job's client")
        instruction = self._program.extend_job(job, seconds)
        amount = job.price * seconds
        advice = {
            "WrongJobState": "only a queued, claimed or running job has time left to extend",
            "TimeoutOutOfRange": f"it has {job.timeout} s, and in its market a job may take {job.max_timeout} s",
        }
        cost = f"another {_amount(job, amount)}"
        return await self._sender.send([instruction], Intent(f"extend job {job.address}", cost, advice))

    async def stop_job(self, job: Job) -> Receipt:
        self._must_be(job.client, "the job's client")
        advice = {
            "WrongJobState": "only a running job is stopped; a queued or claimed one is ended with 'hypernode-worker "
            "job cancel', and nothing of it is billed"
        }
        return await self._sender.send([self._program.stop_job(job)], Intent(f"stop job {job.address}", advice=advice))

    async def dispute_result(self, job: Job, reason: Cid) -> Receipt:
        self._must_be(job.client, "the job's client")
        advice = {
            "WrongJobState": "only a submitted result can be disputed, while its market's review lasts",
            "DeadlinePassed": "the review is over, and the node is paid ('hypernode-worker job settle')",
        }
        bond = _amount(job, job.deposit * job.bond_bps // WHOLE_BPS)
        intent = Intent(f"dispute the result of job {job.address}", f"a bond of {bond}", advice)
        return await self._sender.send([self._program.dispute_result(job, reason)], intent)

    async def close_job(self, job: Job) -> Receipt:
        advice = {
            "WrongJobState": "it hasn't ended; 'hypernode-worker job get' shows how it stands",
            "WrongAuthority": "until 90 days after its end only its client may; name that key with --keypair",
            "StillOwed": "'hypernode-worker job settle' delivers it once its owner can be paid",
        }
        return await self._pay_out(job, self._program.close_job(self.wallet, job), "close", advice)

    async def _cost(self, market: Market, deposit: int) -> str:
        rent = await self.job_rent(market)
        if market.payment_mint == NATIVE_MINT:
            return f"{sol(deposit + rent)} (deposit {sol(deposit)}, rent {sol(rent)})"
        return f"a deposit of {deposit} base units of {market.payment_mint} and {sol(rent)} of rent"


def _amount(job: Job, amount: int) -> str:
    return sol(amount) if job.is_native else f"{amount} base units of {job.payment_mint}"
