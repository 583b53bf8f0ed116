"""`market show`, `market list`: the rules of markets."""

from __future__ import annotations

from typing import Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import market_of, read_address
from hypernode_worker.cli.command import Invocation, command
from hypernode_worker.cli.market.app import app
from hypernode_worker.cli.views import market_json, market_text


@command(app, "show")
def show(
    invocation: Invocation,
    address: Annotated[str | None, typer.Argument(metavar="[ADDRESS]", help="MARKET_PUBKEY when left out.")] = None,
) -> None:
    """Show a market's rules."""
    from hypernode_worker.app import open_chain
    from hypernode_worker.core.accounts import Market

    loaded = invocation.load()
    market = read_address(address, "ADDRESS") if address else market_of(loaded)

    async def work() -> Market:
        async with open_chain(loaded, signs=False) as chain:
            return await chain.market(market)

    seen = invocation.run(work())
    invocation.result(market_json(seen), market_text(seen))


@command(app, "list")
def list_(invocation: Invocation) -> None:
    """List all markets of the program."""
    from hypernode_worker.app import open_chain
    from hypernode_worker.core.accounts import Market

    loaded = invocation.load()

    async def work() -> list[Market]:
        async with open_chain(loaded, signs=False) as chain:
            return sorted(await chain.markets(), key=lambda market: (market.created_slot, str(market.address)))

    markets = invocation.run(work())
    if not markets:
        screen.say("There is no market yet; 'hypernode-worker market create' makes one.")
    rows = [
        (
            market.address,
            "SOL" if market.is_native else market.payment_mint,
            f"{market.terms.min_price:,}",
            f"{market.terms.fee_bps / 100:g} %",
            f"{market.terms.max_timeout:,}",
            "paused" if market.paused else "open",
        )
        for market in markets
    ]
    head = ("market", "paid in", "least price a s", "fee", "longest s", "state")
    invocation.result([market_json(market) for market in markets], screen.table(head, rows, right=(2, 3, 4)))
