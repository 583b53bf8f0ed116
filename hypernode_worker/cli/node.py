"""`node`: registrations in a market."""

from __future__ import annotations

from typing import Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import market_of, read_address
from hypernode_worker.cli.command import Invocation, command, group
from hypernode_worker.cli.views import node_json, node_text, receipt_json

app = group("Nodes: workers as a market knows them.")


@command(app, "show")
def show(
    invocation: Invocation,
    address: Annotated[
        str | None, typer.Argument(metavar="[ADDRESS]", help="A node's address; this wallet's node when left out.")
    ] = None,
) -> None:
    """Show a node: what it says it is, its credit, what it earned."""
    from hypernode_worker.app import load_wallet, open_chain
    from hypernode_worker.core.accounts import Node
    from hypernode_worker.errors import AccountMissing

    loaded = invocation.load()

    async def work() -> Node:
        async with open_chain(loaded, signs=False) as chain:
            if address:
                return await chain.node(read_address(address, "ADDRESS"))
            market, wallet = market_of(loaded), load_wallet(loaded.settings).pubkey()
            node = await chain.node_of(market, wallet)
            if node is None:
                raise AccountMissing(
                    f"The wallet {wallet} has no node in market {market}: 'hypernode-worker start' registers it."
                )
            return node

    seen = invocation.run(work())
    invocation.result(node_json(seen), node_text(seen))


@command(app, "list")
def list_(invocation: Invocation) -> None:
    """List the nodes of a market."""
    from hypernode_worker.app import open_chain
    from hypernode_worker.core.accounts import Node

    loaded = invocation.load()
    market = market_of(loaded)

    async def work() -> list[Node]:
        async with open_chain(loaded, signs=False) as chain:
            return sorted(await chain.nodes(market), key=lambda node: (-node.earned, str(node.address)))

    nodes = invocation.run(work())
    rows = [
        (
            node.address,
            node.state.name.lower(),
            node.trust.name.lower(),
            node.specs.gpu_count,
            f"{node.specs.vram_mb:,}",
            f"{node.active_jobs}/{node.capacity}",
            node.completed,
            f"{node.earned:,}",
        )
        for node in nodes
    ]
    head = ("node", "state", "trust", "GPUs", "VRAM MB", "running", "completed", "earned")
    invocation.result([node_json(node) for node in nodes], screen.table(head, rows, right=(3, 4, 5, 6, 7)))


@command(app, "deregister")
def deregister(invocation: Invocation) -> None:
    """Remove this wallet's node from the market; its rent goes to the payout wallet. Stop the worker first."""
    from hypernode_worker.app import open_chain
    from hypernode_worker.core.ports import Receipt

    loaded = invocation.load()
    market = market_of(loaded)

    async def work() -> Receipt:
        async with open_chain(loaded, signs=True) as chain:
            return await chain.deregister_node(market)

    receipt = invocation.run(work())
    invocation.result(receipt_json(receipt), f"Deregistered ({receipt.signature})")
