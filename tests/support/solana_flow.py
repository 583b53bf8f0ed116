"""One market with a node and a job in it, made by the clients themselves."""

from __future__ import annotations

import itertools

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NATIVE_MINT, Job, Market, MarketTerms, Requirements
from hypernode_worker.core.ports import Receipt
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.client import SolanaClient
from tests.support.accounts import make_specs

DEFINITION = Cid.of(b"a definition")
RESULT = Cid.of(b"a result")
SPECS = make_specs()
_nonces = itertools.count(1)


async def open_market(authority: SolanaClient, market_id: int = 1, **terms: int) -> Market:
    """A native market whose fees go to its authority."""
    wallet = authority.wallet
    chosen = MarketTerms(fee_receiver=wallet, arbiter=wallet, **terms)  # pyright: ignore[reportArgumentType]
    address, _ = await authority.create_market(market_id, chosen, payment_mint=NATIVE_MINT, stake_mint=Pubkey.default())
    return await authority.market(address)


async def register(node: SolanaClient, market: Market, capacity: int = 4) -> Receipt:
    return await node.register_node(market.address, SPECS, capacity=capacity, payout=node.wallet)


async def post(client: SolanaClient, market: Market, *, price: int = 1_000, timeout: int = 60) -> Job:
    """A new queued job of this client."""
    address, _ = await client.create_job(
        market,
        nonce=next(_nonces),
        definition_cid=DEFINITION,
        price=price,
        timeout=timeout,
        requirements=Requirements(),
    )
    return await client.job(address)
