"""Whether the market lets this node claim: looked at when the worker starts, and now and then while it runs."""

from __future__ import annotations

import asyncio
import logging

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import FLAG_PINNED, Market, Node
from hypernode_worker.core.events import MarketOpened, WarningRaised
from hypernode_worker.core.ports import NodeChain, Reach
from hypernode_worker.errors import AccountMissing, ConfigError, HypernodeError, PermanentError
from hypernode_worker.node.run_context import RunContext
from hypernode_worker.node.stopping import wait_for_event

log = logging.getLogger(__name__)

LOOK_EVERY_S = 300.0
LOOKS_APART_S = 30.0
DOUBTFUL = ("MarketPaused", "WrongMarket")
"""Errors of a claim that say more about the market than about the job."""


async def enter_market(chain: NodeChain, address: Pubkey) -> tuple[Market | None, Node | None]:
    """The market, and this wallet's node in it where its registration needs another look.

    Gives (market, None) when all is well. Where the market is closed, or another than the node is of, but jobs of the
    node are still open, (None, node): nothing can be claimed, yet what is held can be brought to its end.

    Raises:
        AccountMissing: there never was such a market, as far as this wallet can tell.
        ConfigError: the registration is of an earlier market, and has to be given up.
    """
    try:
        market = await chain.market(address)
    except AccountMissing:
        node = await chain.node_of(address, chain.wallet)
        if node is None:
            raise
        if not node.open_jobs:
            raise ConfigError(_closed(address)) from None
        return None, node
    node = await chain.node_of(address, chain.wallet)
    if node is None or node.market_slot == market.created_slot:
        return market, None
    if not node.open_jobs:
        raise ConfigError(_made_again(node))
    return None, node


class MarketWatch:
    """What is known of the market. `market` None: claims were impossible at the start already."""

    def __init__(self, context: RunContext, market: Market | None) -> None:
        self._context = context
        self._doubt = asyncio.Event()
        self._why = _ending(context.node) if market is None else self._closed_to_us(market)
        if self._why is not None:
            context.announce(WarningRaised(self._why))

    def refuses(self) -> str | None:
        """Why no job can be claimed now; None when the market lets it."""
        return self._why

    def claim_was_refused(self, error: str) -> None:
        """Looks at the market soon when the program's error says that it is the market's doing."""
        if error in DOUBTFUL:
            self._doubt.set()

    async def watch(self) -> None:
        """Until the worker drains."""
        stop = self._context.stop
        with stop.listening(self._doubt.set):
            while not await stop.wait(LOOKS_APART_S):
                await wait_for_event(self._doubt, LOOK_EVERY_S - LOOKS_APART_S)
                self._doubt.clear()
                if not stop.draining:
                    await self._look()

    async def _look(self) -> None:
        node, address = self._context.node, self._context.settings.market
        try:
            market = await self._context.chain.market(address)
        except AccountMissing:
            why = _closed(address)
        except PermanentError as error:
            why = str(error)
        except HypernodeError as error:
            log.warning("The market couldn't be read: %s", error)
            return
        else:
            stale = market.created_slot != node.market_slot
            why = _made_again(node) if stale else self._closed_to_us(market)
        if why == self._why:
            return
        self._why = why
        self._context.announce(MarketOpened(address) if why is None else WarningRaised(why))

    def _closed_to_us(self, market: Market) -> str | None:
        """Why a market that is there doesn't let this node claim; None when it does."""
        if market.paused:
            return _paused(market.address)
        return why_not_pinned(market, self._context.store.reach)


def why_not_pinned(market: Market, reach: Reach) -> str | None:
    """Why results can't be what the market demands; None when they can."""
    if not market.terms.flags & FLAG_PINNED or reach is Reach.NETWORK:
        return None
    return (
        f"Market {market.address} demands that results are pinned, and what is stored here nobody else can fetch: no "
        "job can be claimed; set IPFS_API_URL (your own Kubo) or IPFS_UPLOAD_TOKEN (a pinning service)."
    )


def _paused(address: Pubkey) -> str:
    return (
        f"Market {address} is paused: no job can be claimed until its authority resumes it; the worker waits for that."
    )


def _closed(address: Pubkey) -> str:
    return (
        f"Market {address} was closed by its authority: set MARKET_PUBKEY to another ('hypernode-worker market list') "
        "and start again; 'hypernode-worker node deregister' gets the rent of the node's account back."
    )


def _made_again(node: Node) -> str:
    stake = "withdraw its stake, " if node.staked else ""
    return (
        f"Market {node.market} was closed and made again, and the node {node.address} is of the earlier one: {stake}"
        "run 'hypernode-worker node deregister', then start again."
    )


def _ending(node: Node) -> str:
    return (
        f"Market {node.market} was closed, or made again: nothing can be claimed, {node.open_jobs} open jobs of the "
        f"node {node.address} are brought to their end; then run 'hypernode-worker node deregister'."
    )
