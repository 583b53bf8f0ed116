"""`market`: make one, look at them."""

from __future__ import annotations

from typing import Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import market_of, read_address, read_price
from hypernode_worker.cli.command import Invocation, command, group
from hypernode_worker.cli.views import market_json, market_text, receipt_json

app = group("Markets: the rules and the price floor for a kind of work.")


@command(app, "create")
def create(
    invocation: Invocation,
    min_price: Annotated[str, typer.Option(help="Least price a second: base units (250) or SOL (0.000001SOL).")] = "1",
    payment_mint: Annotated[
        str | None, typer.Option(metavar="MINT", help="SPL token that pays; SOL when left out.")
    ] = None,
    fee_bps: Annotated[int, typer.Option(min=0, max=10_000, help="Your share of each pay, in 1/100 %.")] = 100,
    fee_receiver: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Wallet that gets it; yours when left out.")
    ] = None,
    max_timeout: Annotated[int, typer.Option(min=1, help="Longest job, in seconds.")] = 86_400,
    setup_timeout: Annotated[int, typer.Option(min=1, help="Seconds from claim to start, unbilled.")] = 600,
    queue_timeout: Annotated[int, typer.Option(min=1, help="Seconds a job waits for a node.")] = 3_600,
    review_period: Annotated[
        int,
        typer.Option(
            min=0,
            help="Seconds in which a client may dispute a result. 0: a node is paid at once for whatever it posts; "
            "clients then have only stop_job and the least trust that their job accepts. With a review everyone "
            "trusts --arbiter.",
        ),
    ] = 0,
    arbiter: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Wallet that decides disputes; needed with a review.")
    ] = None,
    heartbeat_timeout: Annotated[
        int, typer.Option(min=0, help="Seconds of silence after which a running job is given to others; 0: off.")
    ] = 120,
    finish_grace: Annotated[int, typer.Option(min=1, help="Seconds after a job's time to post its result.")] = 120,
    max_attempts: Annotated[int, typer.Option(min=1, max=255, help="How many nodes may try a job.")] = 3,
    max_capacity: Annotated[int, typer.Option(min=1, max=65_535, help="Jobs of a node at once.")] = 16,
    start_credit: Annotated[int, typer.Option(min=0, max=200, help="Credit of a new node; 50: normal trust.")] = 75,
    claim_spread_slots: Annotated[
        int,
        typer.Option(
            min=0,
            max=65_535,
            help="Slots over which nodes' claims are spread, so that they don't all pay for the same race. 0: first to "
            "come. For N idle nodes 2 x log2(N) + 4: 12 for ten, 18 for a hundred, 24 for a thousand; a job then waits "
            "3 to 5 seconds for its node.",
        ),
    ] = 0,
    network: Annotated[bool, typer.Option("--network", help="Jobs may use the network, where nodes allow it.")] = False,
    pinned: Annotated[
        bool,
        typer.Option("--pinned", help="Results must be pinned: nodes without Kubo or a pinning service claim none."),
    ] = False,
    market_id: Annotated[int | None, typer.Option("--id", min=0, help="A number you haven't used; random.")] = None,
) -> None:
    """Make a market of your own and print its address. Its rules are copied into each job when it is posted."""
    from solders.pubkey import Pubkey

    from hypernode_worker.app import open_client
    from hypernode_worker.core.accounts import FLAG_NETWORK, FLAG_PINNED, NATIVE_MINT, MarketTerms
    from hypernode_worker.errors import ConfigError

    if review_period and arbiter is None:
        raise ConfigError("A market with a review needs --arbiter ADDRESS: the wallet that decides disputes.")
    mint = read_address(payment_mint, "--payment-mint") if payment_mint else NATIVE_MINT
    floor = read_price(min_price, native=mint == NATIVE_MINT, flag="--min-price") or 0
    terms = MarketTerms(
        fee_bps=fee_bps,
        claim_spread_slots=claim_spread_slots,
        max_capacity=max_capacity,
        start_credit=start_credit,
        max_attempts=max_attempts,
        flags=FLAG_NETWORK * network + FLAG_PINNED * pinned,
        arbiter=read_address(arbiter, "--arbiter") if arbiter else Pubkey.default(),
        fee_receiver=read_address(fee_receiver, "--fee-receiver") if fee_receiver else Pubkey.default(),
        min_price=floor,
        credit_pay=60 * floor,
        max_timeout=max_timeout,
        setup_timeout=setup_timeout,
        queue_timeout=queue_timeout,
        review_period=review_period,
        heartbeat_timeout=heartbeat_timeout,
        finish_grace=finish_grace,
    )
    loaded = invocation.load()

    async def work() -> dict[str, object]:
        async with open_client(loaded) as client:
            market, receipt = await client.create_market(terms, payment_mint=mint, market_id=market_id)
            return {"market": str(market), **receipt_json(receipt)}

    made = invocation.run(work())
    screen.say("Made the market. To use it: export MARKET_PUBKEY=<its address>")
    invocation.result(made, str(made["market"]))


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
