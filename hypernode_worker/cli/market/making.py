"""`market create|update|close`: a market of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import market_of, read_address
from hypernode_worker.cli.command import FAILED, Invocation, command
from hypernode_worker.cli.market.app import app
from hypernode_worker.cli.market.terms import changed_terms, with_terms
from hypernode_worker.cli.views import receipt_json

if TYPE_CHECKING:
    from hypernode_worker.config import Loaded
    from hypernode_worker.core.accounts import Market, MarketTerms
    from hypernode_worker.core.ports import Receipt

AddressArgument = Annotated[str | None, typer.Argument(metavar="[ADDRESS]", help="MARKET_PUBKEY when left out.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@command(app, "create")
@with_terms(defaults=True)
def create(
    invocation: Invocation,
    given: Mapping[str, Any],
    payment_mint: Annotated[
        str | None, typer.Option(metavar="MINT", help="SPL token that pays; SOL when left out.")
    ] = None,
    stake_mint: Annotated[
        str | None, typer.Option(metavar="MINT", help="SPL token in which nodes stake; no stake when left out.")
    ] = None,
    market_id: Annotated[int | None, typer.Option("--id", min=0, help="A number you haven't used; random.")] = None,
) -> None:
    """Make a market of your own and print its address. Its rules are copied into each job when it is posted."""
    from dataclasses import replace

    from hypernode_worker.app import open_client
    from hypernode_worker.core.accounts import NATIVE_MINT, MarketTerms

    paid_in = read_address(payment_mint, "--payment-mint") if payment_mint else NATIVE_MINT
    staked_in = read_address(stake_mint, "--stake-mint") if stake_mint else NATIVE_MINT
    terms = changed_terms(MarketTerms(), given, native=paid_in == NATIVE_MINT)
    if "credit_pay" not in given:
        terms = replace(terms, credit_pay=60 * terms.min_price)
    loaded = invocation.load()

    async def work() -> dict[str, object]:
        async with open_client(loaded) as client:
            market, receipt = await client.create_market(
                terms, payment_mint=paid_in, stake_mint=staked_in, market_id=market_id
            )
            return {"market": str(market), **receipt_json(receipt)}

    made = invocation.run(work())
    screen.say("Made the market. To use it: export MARKET_PUBKEY=<its address>")
    invocation.result(made, str(made["market"]))


@command(app, "update")
@with_terms(defaults=False)
def update(
    invocation: Invocation,
    given: Mapping[str, Any],
    address: AddressArgument = None,
    pause: Annotated[
        bool | None, typer.Option("--pause/--unpause", help="Paused, no job can be posted or claimed in it.")
    ] = None,
    yes: YesOption = False,
) -> None:
    """Change what is given of a market's rules; the others stay. Jobs that exist keep theirs.

    The difference is shown first. Mints can't be changed.
    """
    from hypernode_worker.app import open_client
    from hypernode_worker.core.market_terms import check_market_terms

    loaded = invocation.load()
    seen = _look(invocation, loaded, address)
    terms = changed_terms(seen.terms, given, native=seen.is_native)
    check_market_terms(terms, stake_mint=seen.stake_mint)
    paused = bool(seen.paused) if pause is None else pause
    differences = _differences(seen, terms, paused=paused)
    if not differences:
        screen.say("Nothing of that differs from what the market has.")
        invocation.result({"market": str(seen.address), "changes": {}}, str(seen.address))
        return

    async def work() -> Receipt:
        async with open_client(loaded) as client:
            return await client.update_market(seen, terms, paused=paused)

    screen.say(screen.fields({name: f"{was} -> {now}" for name, (was, now) in differences.items()}, indent="  "))
    _ask("Change the market?", yes=yes)
    receipt = invocation.run(work())
    changes = {name: {"was": was, "now": now} for name, (was, now) in differences.items()}
    invocation.result(
        {"market": str(seen.address), "changes": changes, **receipt_json(receipt)}, f"Changed ({receipt.signature})"
    )


@command(app, "close")
def close(invocation: Invocation, address: AddressArgument = None, yes: YesOption = False) -> None:
    """Remove a market; its rent comes back. Jobs in it end by their own rules, and nodes keep their stake."""
    from hypernode_worker.app import open_chain

    loaded = invocation.load()
    seen = _look(invocation, loaded, address)

    async def work() -> Receipt:
        async with open_chain(loaded, signs=True) as chain:
            return await chain.close_market(seen)

    screen.say(f"No job can be posted or claimed in market {seen.address} any more once it is closed.")
    _ask("Close it?", yes=yes)
    receipt = invocation.run(work())
    invocation.result({"market": str(seen.address), **receipt_json(receipt)}, f"Closed ({receipt.signature})")


def _look(invocation: Invocation, loaded: Loaded, address: str | None) -> Market:
    from hypernode_worker.app import open_chain

    market = read_address(address, "ADDRESS") if address else market_of(loaded)

    async def work() -> Market:
        async with open_chain(loaded, signs=False) as chain:
            return await chain.market(market)

    return invocation.run(work())


def _ask(question: str, *, yes: bool) -> None:
    if not yes and not screen.confirm(question):
        screen.say("Nothing was changed.")
        raise typer.Exit(FAILED)


def _differences(market: Market, terms: MarketTerms, *, paused: bool) -> dict[str, tuple[object, object]]:
    """What would change, by name: as it was and as it would be."""
    pairs = {name: (getattr(market.terms, name), getattr(terms, name)) for name in terms.__slots__}
    pairs["paused"] = (bool(market.paused), paused)
    plain = (bool, int)
    return {
        name: (was if isinstance(was, plain) else str(was), now if isinstance(now, plain) else str(now))
        for name, (was, now) in pairs.items()
        if was != now
    }
