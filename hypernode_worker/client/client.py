"""Client: one method for each thing that a client does."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from solders.pubkey import Pubkey

from hypernode_worker.client.following import follow
from hypernode_worker.client.prepare import (
    PreparedJob,
    Quote,
    check_files,
    check_secrets,
    check_terms,
    read_definition,
)
from hypernode_worker.client.result import MAX_RESULT_BYTES, Result, fetch_result
from hypernode_worker.core.accounts import NATIVE_MINT, Job, JobState, Market, MarketTerms
from hypernode_worker.core.amounts import sol
from hypernode_worker.core.definition import JobDefinition
from hypernode_worker.core.market_terms import check_market_terms
from hypernode_worker.core.ports import ClientChain, ContentStore, Reach, Receipt
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, InsufficientFunds, PermanentError

FETCH_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class PostedJob:
    """A job that stands on chain, with its definition on IPFS."""

    job: Pubkey
    definition_cid: Cid
    files_cid: Cid | None
    quote: Quote
    receipt: Receipt


class Client:
    """What the owner of a wallet can do as a client or as a market's owner.

    Args:
        chain: signs with the wallet.
        store: where definitions are written and results are read.
        same_machine: a worker on this machine may take the job, so that content which only this machine holds will do.
    """

    def __init__(self, chain: ClientChain, store: ContentStore, *, same_machine: bool = False) -> None:
        self.chain = chain
        self.store = store
        self._same_machine = same_machine

    async def prepare(
        self,
        definition: JobDefinition | Mapping[str, object] | Path | str,
        *,
        market: Pubkey,
        files: Path | None = None,
        price: int | None = None,
        public_env: bool = False,
    ) -> PreparedJob:
        """Checks all that can be checked before money is spent, and says what it will cost.

        Args:
            definition: a path to its JSON, or the parsed JSON.
            files: a folder whose content comes into /workspace.
            price: base units a second; None: the market's least.
            public_env: env values that look like secrets may be published.

        Raises:
            DefinitionInvalid, ConfigError: what to change.
            InsufficientFunds: the wallet holds too little.
        """
        parsed = read_definition(definition)
        check_files(files, parsed)
        check_secrets(parsed, public_env=public_env)
        self._check_reach("No worker elsewhere could fetch this job", "the worker runs")
        seen = await self.chain.market(market)
        chosen = check_terms(parsed, seen, price)
        quote = Quote(
            price=chosen,
            timeout_s=parsed.timeout,
            deposit=chosen * parsed.timeout,
            native=seen.is_native,
            rent_lamports=await self.chain.job_rent(seen),
        )
        await self._check_funds(quote, seen)
        return PreparedJob(parsed, files, seen, quote)

    async def post(self, prepared: PreparedJob) -> PostedJob:
        """Adds files and definition to the store, then creates the job with its escrow. Not to be repeated blindly.

        Raises:
            ContentInvalid: the store doesn't hold what was added.
            TransactionFailed, TransientError: as core.ports.ClientChain.
        """
        definition = prepared.definition
        files_cid = definition.files
        if prepared.files is not None:
            files_cid = await self.store.add_path(prepared.files)
            definition = definition.model_copy(update={"files": files_cid})
        definition_cid = await self.store.add_bytes(definition.to_bytes())
        for cid in filter(None, (files_cid if prepared.files else None, definition_cid)):
            if not await self.store.has(cid):
                raise ContentInvalid(
                    f"The content store doesn't hold {cid}, which it had confirmed: nothing was posted; check it with "
                    "'hypernode-worker test --only ipfs'."
                )
        # The market may have changed while files were uploaded; its revision must be the current one.
        market = await self.chain.market(prepared.market.address)
        check_terms(definition, market, prepared.quote.price)
        job, receipt = await self.chain.create_job(
            market,
            nonce=secrets.randbits(64),
            definition_cid=definition_cid,
            price=prepared.quote.price,
            timeout=definition.timeout,
            requirements=definition.on_chain(),
        )
        return PostedJob(job, definition_cid, files_cid, prepared.quote, receipt)

    def follow(self, job: Pubkey, *, act: bool = True) -> AsyncGenerator[Job, None]:
        """The job now and after each change until it has ended; see client.following."""
        return follow(self.chain, job, act=act)

    async def result(
        self, job: Pubkey, destination: Path, *, max_bytes: int = MAX_RESULT_BYTES, timeout_s: float = FETCH_TIMEOUT_S
    ) -> Result:
        """Fetches a job's result to `destination` (which must not exist, or be empty), verified; see client.result."""
        return await fetch_result(
            self.chain, self.store, await self.chain.job(job), destination, max_bytes=max_bytes, timeout_s=timeout_s
        )

    async def definition(self, job: Job) -> JobDefinition:
        """A job's definition, read from the store and validated."""
        from hypernode_worker.core.definition import MAX_BYTES

        return JobDefinition.from_bytes(
            await self.store.read(job.definition_cid, max_bytes=MAX_BYTES, timeout_s=FETCH_TIMEOUT_S)
        )

    async def jobs(self, market: Pubkey, *, mine: bool = True, state: JobState | None = None) -> Sequence[Job]:
        """Jobs of a market, newest first."""
        found = await self.chain.jobs(market, state=state, client=self.chain.wallet if mine else None)
        return sorted(found, key=lambda job: (-job.created_at, str(job.address)))

    async def cancel(self, job: Pubkey) -> Receipt:
        """Queued or Claimed: the whole deposit comes back."""
        return await self.chain.cancel_job(await self.chain.job(job))

    async def stop(self, job: Pubkey) -> Receipt:
        """Running: billing ends now, and the node posts what there is."""
        return await self.chain.stop_job(await self.chain.job(job))

    async def extend(self, job: Pubkey, seconds: int) -> Receipt:
        """More time, for price x seconds more."""
        return await self.chain.extend_job(await self.chain.job(job), seconds)

    async def accept(self, job: Pubkey) -> Receipt:
        """Submitted: its node is paid at once, without waiting for the review to end.

        Raises:
            ConfigError: it is another wallet's job.
            PermanentError: there is no result to accept.
        """
        seen = await self.chain.job(job)
        if seen.client != self.chain.wallet:
            raise ConfigError(
                f"The job {job} is the wallet {seen.client}'s, and the key file is that of {self.chain.wallet}: name "
                "the right one with --keypair."
            )
        if seen.state is not JobState.SUBMITTED:
            raise PermanentError(
                f"The job {job} is {seen.state.name.lower()}: only a submitted result, whose review isn't over, is "
                "accepted; without a review, and without a dispute, a node is paid by itself."
            )
        return await self.chain.settle_job(seen)

    async def dispute(self, job: Pubkey, reason: str) -> Receipt:
        """Submitted: puts the reason on IPFS and the result before the market's arbiter, with a bond.

        Raises:
            ConfigError: nobody but this machine could read the reason.
        """
        self._check_reach("No arbiter elsewhere could read the reason", "the arbiter reads it")
        cid = await self.store.add_bytes(reason.encode())
        return await self.chain.dispute_result(await self.chain.job(job), cid)

    async def settle(self, job: Pubkey) -> Receipt:
        """Ends a review or dispute whose deadline has passed, or delivers what an ended job still owes."""
        return await self.chain.settle_job(await self.chain.job(job))

    async def close(self, job: Pubkey) -> Receipt:
        """Ended: removes the account; its rent comes back."""
        return await self.chain.close_job(await self.chain.job(job))

    async def create_market(
        self,
        terms: MarketTerms,
        *,
        payment_mint: Pubkey = NATIVE_MINT,
        stake_mint: Pubkey = NATIVE_MINT,
        market_id: int | None = None,
    ) -> tuple[Pubkey, Receipt]:
        """A market of this wallet. A fee receiver that isn't given is this wallet; `stake_mint` zero: no stake.

        Raises:
            ConfigError: the terms contradict each other.
        """
        if terms.fee_receiver == Pubkey.default():
            terms = replace(terms, fee_receiver=self.chain.wallet)
        check_market_terms(terms, stake_mint=stake_mint)
        chosen = secrets.randbits(64) if market_id is None else market_id
        return await self.chain.create_market(chosen, terms, payment_mint=payment_mint, stake_mint=stake_mint)

    async def update_market(self, market: Market, terms: MarketTerms, *, paused: bool) -> Receipt:
        """New terms for jobs that are posted from now on. Raises ConfigError when they contradict each other."""
        check_market_terms(terms, stake_mint=market.stake_mint)
        return await self.chain.update_market(market, terms, paused=paused)

    def _check_reach(self, nobody: str, other: str) -> None:
        if self.store.reach is Reach.NETWORK or self._same_machine:
            return
        raise ConfigError(
            f"{nobody}: content would be kept on this machine only. Set IPFS_API_URL (your own Kubo) or "
            f"IPFS_UPLOAD_TOKEN (a pinning service), or give --local-only when {other} on this machine."
        )

    async def _check_funds(self, quote: Quote, market: Market) -> None:
        balance = await self.chain.balance(self.chain.wallet)
        needed = quote.lamports
        if balance < needed:
            raise InsufficientFunds(
                f"The wallet {self.chain.wallet} holds {sol(balance)} SOL, and the job takes {sol(needed)} SOL: "
                "send SOL there ('hypernode-worker key airdrop' where there is a faucet), or lower price or timeout."
            )
        if not quote.native:
            held = await self.chain.token_balance(self.chain.wallet, market.payment_mint)
            if held < quote.deposit:
                raise InsufficientFunds(
                    f"The wallet {self.chain.wallet} holds {held} base units of {market.payment_mint}, and the deposit "
                    f"is {quote.deposit}: get more of that token, or lower price or timeout."
                )
