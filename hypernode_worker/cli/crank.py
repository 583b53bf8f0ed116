"""`crank`: every deadline exit that is due, for anyone who wants to keep a market clean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import market_of
from hypernode_worker.cli.command import FAILED, Invocation, command

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from hypernode_worker.client.upkeep import Upkept
    from hypernode_worker.config import Loaded

WATCH_EVERY_S = 60.0
_MARKS = {"due": "poll", "done": "ok", "elsewhere": "skip", "undeliverable": "warn", "failed": "bad"}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "crank")(crank)


def crank(
    invocation: Invocation,
    everywhere: Annotated[bool, typer.Option("--all", help="All markets of the program, not one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is due, and send nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again each minute, until Ctrl-C.")] = False,
) -> None:
    """Take every exit that is due in a market, at this wallet's cost: a network fee each.

    Times out jobs that nobody took or whose node went away, settles after review and dispute, delivers what is owed
    where it can be received now, closes jobs that ended 90 days ago, hands out stake whose cooldown is over. A worker
    does this for its own jobs, and 'job get --wait' for the job that it follows.

    With --watch and --json each exit is one JSON object a line.
    """
    loaded = invocation.load()
    market = None if everywhere else market_of(loaded)
    if watch:
        invocation.run(_watch(invocation, loaded, market, act=not dry_run))
        return
    found = invocation.run(_once(loaded, market, act=not dry_run))
    invocation.result([upkept_json(each) for each in found], _table(found) if found else "Nothing is due.")
    for each in found:
        if each.message:
            screen.say(_line(each))
    if found:
        screen.say(_summary(found))
    if any(each.outcome == "failed" for each in found):
        raise typer.Exit(FAILED)


async def _once(loaded: Loaded, market: Pubkey | None, *, act: bool) -> list[Upkept]:
    from hypernode_worker.app import open_chain
    from hypernode_worker.client.upkeep import keep_up

    async with open_chain(loaded, signs=act) as chain:
        return [each async for each in keep_up(chain, market, act=act)]


async def _watch(invocation: Invocation, loaded: Loaded, market: Pubkey | None, *, act: bool) -> None:
    import asyncio

    from hypernode_worker.app import open_chain
    from hypernode_worker.client.upkeep import keep_up
    from hypernode_worker.errors import TransientError

    async with open_chain(loaded, signs=act) as chain:
        screen.say(f"Looking for what is due every {WATCH_EVERY_S:g} s; Ctrl-C ends it.")
        told: set[tuple[str, str, str]] = set()
        while True:
            try:
                async for each in keep_up(chain, market, act=act):
                    # What can't be done is said once, not each minute.
                    key = (each.exit, str(each.account), each.outcome)
                    if each.outcome == "done" or key not in told:
                        told.add(key)
                        screen.out(json.dumps(upkept_json(each)) if invocation.json else _line(each))
            except TransientError as error:
                screen.say(f"{screen.icon('warn')} {error} (again in {WATCH_EVERY_S:g} s)")
            await asyncio.sleep(WATCH_EVERY_S)


def upkept_json(each: Upkept) -> dict[str, object]:
    receipt = each.receipt
    return {
        "exit": each.exit.value,
        "account": str(each.account),
        "outcome": each.outcome.value,
        "message": each.message or None,
        "signature": str(receipt.signature) if receipt else None,
        "fee_lamports": receipt.fee_lamports if receipt else None,
    }


def _line(each: Upkept) -> str:
    why = f": {each.message}" if each.message else ""
    return f"{screen.icon(_MARKS[each.outcome])} {each.exit.value} {each.account} {each.outcome.value}{why}"


def _table(found: list[Upkept]) -> str:
    rows = [
        (
            each.exit.value,
            each.account,
            each.outcome.value,
            f"{each.receipt.fee_lamports or 0:,}" if each.receipt else "-",
            each.receipt.signature if each.receipt else "-",
        )
        for each in found
    ]
    return screen.table(("exit", "account", "outcome", "fee lamports", "signature"), rows, right=(3,))


def _summary(found: list[Upkept]) -> str:
    from hypernode_worker.core.amounts import sol

    counts = [f"{sum(each.outcome == name for each in found)} {name}" for name in _MARKS]
    cost = sum(each.receipt.fee_lamports or 0 for each in found if each.receipt)
    return f"{', '.join(count for count in counts if not count.startswith('0 '))}; fees {sol(cost)} SOL."
