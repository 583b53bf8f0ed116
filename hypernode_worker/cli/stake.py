"""`stake`: what this wallet's node has at stake in the market."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import market_of, read_base_units
from hypernode_worker.cli.command import Invocation, command, group, usage
from hypernode_worker.cli.views import receipt_json, time_text

if TYPE_CHECKING:
    from hypernode_worker.client.staking import StakeView, Staking
    from hypernode_worker.core.ports import Receipt

T = TypeVar("T")

app = group("Stake: what a node stands to lose, in the market's stake mint. Amounts are in its base units.")


@command(app, "show")
def show(invocation: Invocation) -> None:
    """Show the node's stake, what the market asks for, and what the wallet holds."""
    view = _with_stake(invocation, lambda staking: staking.show())
    invocation.result(stake_json(view), stake_text(view))


@command(app, "add")
def add(
    invocation: Invocation, amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Base units of the mint.")]
) -> None:
    """Put tokens of this wallet into the stake of its node."""
    units = read_base_units(amount, "AMOUNT")
    receipt, view = _act(invocation, lambda staking: staking.add(units))
    assert view.node is not None  # it has just staked
    invocation.result(
        {**receipt_json(receipt), **stake_json(view)},
        f"Staked; the node has {_units(view.node.staked, view.decimals)} now ({receipt.signature})",
    )


@command(app, "withdraw")
def withdraw(
    invocation: Invocation,
    amount: Annotated[
        str | None,
        typer.Argument(metavar="[AMOUNT]", help="Ask this much back; without it, take what was asked back earlier."),
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Leave staked what was asked back.")] = False,
) -> None:
    """Ask stake back, which starts the market's cooldown; then, without AMOUNT, bring it to the payout wallet.

    What is asked back no longer counts for claims. Asking again replaces the request and starts the cooldown anew.
    Asking all of it back sets the node draining: it claims nothing until the worker is started again.
    """
    if cancel and amount is not None:
        usage("--cancel takes the whole request back: leave the amount out.")
    if cancel:
        receipt, view = _act(invocation, lambda staking: staking.take_back_request())
        said = "Taken back; all of it stays staked"
    elif amount is None:
        receipt, view = _act(invocation, lambda staking: staking.collect())
        said = f"Withdrawn to the payout wallet {view.node.payout if view.node else ''}".rstrip()
    else:
        units = read_base_units(amount, "AMOUNT")
        receipt, view = _act(invocation, lambda staking: staking.request(units))
        said = f"Asked back: {_ready(view)}; then run 'hypernode-worker stake withdraw'"
    invocation.result({**receipt_json(receipt), **stake_json(view)}, f"{said} ({receipt.signature})")


# --- how ---


def _with_stake(invocation: Invocation, work: Callable[[Staking], Awaitable[T]]) -> T:
    from hypernode_worker.app import open_chain
    from hypernode_worker.client.staking import Staking

    loaded = invocation.load()
    market = market_of(loaded)

    async def run() -> T:
        async with open_chain(loaded, signs=True) as chain:
            return await work(Staking(chain, market))

    return invocation.run(run())


def _act(invocation: Invocation, verb: Callable[[Staking], Awaitable[Receipt]]) -> tuple[Receipt, StakeView]:
    """Does it, and looks at what has become of the stake."""

    async def work(staking: Staking) -> tuple[Receipt, StakeView]:
        receipt = await verb(staking)
        return receipt, await staking.show()

    return _with_stake(invocation, work)


def stake_json(view: StakeView) -> dict[str, object]:
    """Amounts in base units; `withdraw_in_s` null when nothing is asked back, 0 when it can be taken."""
    node, terms = view.node, view.market.terms if view.market else None
    return {
        "market": str(view.market.address) if view.market else None,
        "node": str(node.address) if node else None,
        "stake_mint": str(view.mint) if view.mint else None,
        "decimals": view.decimals,
        "staked": node.staked if node else 0,
        "locked": node.locked if node else 0,
        "unstaking": node.unstaking if node else 0,
        "unstake_at": node.unstake_at if node and node.unstaking else None,
        "withdraw_in_s": view.withdraw_in_s,
        "slashed": node.slashed if node else 0,
        "min_stake": terms.min_stake if terms else None,
        "lock_per_job": terms.lock_per_job if terms else None,
        "wallet_balance": view.balance,
    }


def stake_text(view: StakeView) -> str:
    from hypernode_worker.core.stake import jobs_at_once, stake_missing

    node, market = view.node, view.market
    if node is None:
        values: dict[str, object] = {"node": "none yet: 'hypernode-worker start' registers it"}
    else:
        values = {
            "node": node.address,
            "staked": _units(node.staked, view.decimals),
            "locked": f"{_units(node.locked, view.decimals)} by {node.open_jobs} open jobs",
            "asked back": _ready(view) if node.unstaking else "-",
            "slashed": _units(node.slashed, view.decimals),
        }
    if market is None:
        values["market"] = "closed; what is staked can be asked back"
    else:
        values["market asks"] = f"{_units(market.terms.min_stake, view.decimals)} to claim at all"
        values["each job locks"] = _units(market.terms.lock_per_job, view.decimals)
        if node:
            values["enough for"] = f"{jobs_at_once(node, market.terms)} jobs at once"
    values["stake mint"] = view.mint or "none: this market takes no stake"
    values["wallet holds"] = _units(view.balance, view.decimals)
    missing = stake_missing(market, node) if market else None
    return screen.fields(values) + (f"\n\n{missing}" if missing else "")


def _ready(view: StakeView) -> str:
    """What is asked back, and when it can be taken."""
    assert view.node is not None  # nobody else asks
    seconds = view.withdraw_in_s or 0
    when = (
        f"can be taken from {time_text(view.node.unstake_at)} on (in {seconds:,} s)" if seconds else "can be taken now"
    )
    return f"{_units(view.node.unstaking, view.decimals)} {when}"


def _units(amount: int, decimals: int) -> str:
    """'1,500,000 (1.5)': base units, and what wallets show."""
    if not decimals or not amount:
        return f"{amount:,}"
    whole, rest = divmod(amount, 10**decimals)
    return f"{amount:,} ({whole:,}.{f'{rest:0{decimals}d}'.rstrip('0') or '0'})"
