"""What a client's or market authority's wallet signs: core.ports.ClientChain beside its reads."""

from __future__ import annotations

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NATIVE_MINT, Job, Market, MarketTerms, Requirements
from hypernode_worker.core.ports import Receipt
from hypernode_worker.core.types import Cid
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
        intent = Intent(f"create market {address}", "the rent of its account, about 0.003 SOL")
        return address, await self._sender.send([instruction], intent)

    async def update_market(self, market: Market, terms: MarketTerms, *, paused: bool) -> Receipt:
        instruction = self._program.update_market(market, terms, paused=paused)
        return await self._sender.send([instruction], Intent(f"update market {market.address}"))

    async def close_market(self, market: Pubkey) -> Receipt:
        instruction = self._program.close_market(self.wallet, market)
        return await self._sender.send([instruction], Intent(f"close market {market}"))

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
        return await self._pay_out(job, self._program.cancel_job(job), "cancel")

    async def extend_job(self, job: Job, seconds: int) -> Receipt:
        instruction = self._program.extend_job(job, seconds)
        amount = job.price * seconds
        cost = f"another {sol(amount)}" if job.is_native else f"another {amount} base units of {job.payment_mint}"
        return await self._sender.send([instruction], Intent(f"extend job {job.address}", cost))

    async def stop_job(self, job: Job) -> Receipt:
        return await self._sender.send([self._program.stop_job(job)], Intent(f"stop job {job.address}"))

    async def close_job(self, job: Job) -> Receipt:
        return await self._pay_out(job, self._program.close_job(self.wallet, job), "close")

    async def _cost(self, market: Market, deposit: int) -> str:
        rent = await self.job_rent(market)
        if market.payment_mint == NATIVE_MINT:
            return f"{sol(deposit + rent)} (deposit {sol(deposit)}, rent {sol(rent)})"
        return f"a deposit of {deposit} base units of {market.payment_mint} and {sol(rent)} of rent"
