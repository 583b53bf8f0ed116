"""A market's terms as options, once for `create` and `update`: what isn't given keeps its value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypernode_worker.cli.arguments import read_address, read_base_units, read_price
from hypernode_worker.cli.command import Invocation

if TYPE_CHECKING:
    from hypernode_worker.core.accounts import MarketTerms


@dataclass(frozen=True, slots=True)
class _Option:
    """One of them.

    Attributes:
        default: what `create` takes when it isn't given, as its help shows it; core.accounts.MarketTerms has the value.
        kind: int, or str for what is read further: an address, or an amount.
    """

    help: str
    default: str
    kind: type = int
    metavar: str | None = None
    min: int = 0
    max: int | None = None


_OPTIONS = {
    "min_price": _Option("Least price a second: base units (250) or SOL (0.000001SOL).", "1", str, "PRICE"),
    "fee_bps": _Option("Your share of each pay, in 1/100 %.", "100"),
    "fee_receiver": _Option("Wallet that gets it.", "yours", str, "ADDRESS"),
    "max_timeout": _Option("Longest job, in seconds.", "86400", min=1),
    "setup_timeout": _Option("Seconds from claim to start, unbilled.", "600", min=1),
    "queue_timeout": _Option("Seconds a job waits for a node.", "3600", min=1),
    "review_period": _Option(
        "Seconds in which a client may dispute a result. 0: a node is paid at once for whatever it posts; clients then "
        "have only stop_job and the least trust that their job accepts. With a review everyone trusts --arbiter.",
        "0",
    ),
    "arbiter": _Option("Wallet that decides disputes; needed with a review.", "none", str, "ADDRESS"),
    "resolve_timeout": _Option("Seconds that it has; then the node is paid in full.", "259200"),
    "bond_bps": _Option("Bond of a dispute, of the deposit, in 1/100 %.", "1000"),
    "heartbeat_timeout": _Option("Seconds of silence after which a running job is given to others; 0: off.", "120"),
    "finish_grace": _Option("Seconds after a job's time to post its result.", "120", min=1),
    "max_attempts": _Option("How many nodes may try a job.", "3", min=1, max=255),
    "max_capacity": _Option("Jobs of a node at once.", "16", min=1, max=65_535),
    "start_credit": _Option("Credit of a new node; 50: normal trust.", "75"),
    "credit_pay": _Option("Pay in base units that earns a point of credit.", "60 x min-price", str, "AMOUNT"),
    "claim_spread_slots": _Option(
        "Slots over which nodes' claims are spread, so that they don't all pay for the same race. 0: first to come. "
        "For N idle nodes 2 x log2(N) + 4: 12 for ten, 18 for a hundred, 24 for a thousand; a job then waits 3 to 5 "
        "seconds for its node.",
        "0",
        max=65_535,
    ),
    "min_stake": _Option("Stake without which a node can't claim, in base units.", "0", str, "AMOUNT"),
    "lock_per_job": _Option("Stake that each job locks while it is open, in base units.", "0", str, "AMOUNT"),
    "slash_bps": _Option("Of that, what a lost job costs at most, in 1/100 %.", "1000"),
    "unstake_cooldown": _Option("Seconds until stake that is asked back can be taken.", "86400"),
}
_FLAGS = {
    "network": "Jobs may use the network, where nodes allow it.",
    "pinned": "Results must be pinned: nodes without Kubo or a pinning service claim none.",
}


def with_terms(*, defaults: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command these options; those that were typed reach it as the mapping `given`, by the terms' names.

    Args:
        defaults: its help shows what an option is when it isn't given.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "given"]
        added = {name: _annotation(name, option, defaults=defaults) for name, option in _OPTIONS.items()}
        for name, help_text in _FLAGS.items():
            added[name] = Annotated[bool | None, typer.Option(f"--{name}/--no-{name}", help=help_text)]

        @functools.wraps(function)
        def wrapper(invocation: Invocation, /, **options: Any) -> None:
            given = {name: options.pop(name) for name in added}
            function(invocation, given={name: each for name, each in given.items() if each is not None}, **options)

        extra = [
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=a) for n, a in added.items()
        ]
        wrapper.__signature__ = inspect.Signature([*own, *extra])  # pyright: ignore[reportAttributeAccessIssue]
        wrapper.__annotations__ = {p.name: p.annotation for p in (*own, *extra)}
        del wrapper.__wrapped__  # pyright: ignore[reportAttributeAccessIssue] -- its hints lack the added ones
        return wrapper

    return decorate


def _annotation(name: str, option: _Option, *, defaults: bool) -> Any:
    bounds: dict[str, Any] = {} if option.kind is str else {"min": option.min, "max": option.max}
    return Annotated[
        option.kind | None,
        typer.Option(
            "--" + name.replace("_", "-"),
            metavar=option.metavar,
            help=option.help,
            show_default=option.default if defaults else False,
            **bounds,
        ),
    ]


def changed_terms(terms: MarketTerms, given: Mapping[str, Any], *, native: bool) -> MarketTerms:
    """The terms with what was given in place of theirs. Raises ConfigError for what can't be read."""
    from dataclasses import replace

    from hypernode_worker.core.accounts import FLAG_NETWORK, FLAG_PINNED

    changes: dict[str, Any] = dict(given)
    for name in ("arbiter", "fee_receiver"):
        if name in given:
            changes[name] = read_address(given[name], _flag(name))
    for name in ("min_stake", "lock_per_job"):
        if name in given:
            changes[name] = read_base_units(given[name], _flag(name))
    for name in ("min_price", "credit_pay"):
        if name in given:
            changes[name] = read_price(given[name], native=native, flag=_flag(name))
    flags = terms.flags
    for name, bit in (("network", FLAG_NETWORK), ("pinned", FLAG_PINNED)):
        if (wanted := changes.pop(name, None)) is not None:
            flags = flags | bit if wanted else flags & ~bit
    return replace(terms, **changes, flags=flags)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
