"""`market resolve`: what the arbiter decides."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import read_address, read_share
from hypernode_worker.cli.command import FAILED, Invocation, command
from hypernode_worker.cli.market.app import app
from hypernode_worker.cli.views import receipt_json, state_name

if TYPE_CHECKING:
    from hypernode_worker.client import Client
    from hypernode_worker.core.accounts import Job
    from hypernode_worker.core.ports import Receipt

MAX_REASON_BYTES = 64 << 10
REASON_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class _Dispute:
    """A job in dispute, and what its client says; None: nobody had it in time."""

    job: Job
    reason: str | None


@command(app, "resolve")
def resolve(
    invocation: Invocation,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The disputed job's address.")],
    pay: Annotated[
        str, typer.Option(metavar="SHARE", help="Of the gross, what is paid: a percentage (75, 12.5%) or 7500bps.")
    ],
    slash: Annotated[
        str,
        typer.Option(metavar="SHARE", help="Of the job's locked stake, what the node loses; only below 50 % of pay."),
    ] = "0",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Decide a dispute, as its market's arbiter. Below 50 % the node has lost it, at 100 % it gets the bond too.

    The client's reason, and who gets what, are shown first.
    """
    from hypernode_worker.app import open_chain, open_client
    from hypernode_worker.core.settlement import verdict

    loaded = invocation.load()
    address, pay_bps, slash_bps = read_address(job, "JOB"), read_share(pay, "--pay"), read_share(slash, "--slash")

    async def look() -> _Dispute:
        async with open_client(loaded, signs=False) as client:
            seen = await client.chain.job(address)
            return _Dispute(seen, await _reason(client, seen))

    async def work() -> Receipt:
        async with open_chain(loaded, signs=True) as chain:
            return await chain.resolve_dispute(seen.job, pay_bps=pay_bps, slash_bps=slash_bps)

    seen = invocation.run(look())
    shares = asdict(verdict(seen.job, pay_bps=pay_bps, slash_bps=slash_bps))
    screen.say(_dispute_text(seen, shares))
    if not yes and not screen.confirm("Decide it so?"):
        screen.say("Nothing was changed.")
        raise typer.Exit(FAILED)
    receipt = invocation.run(work())
    invocation.result({"job": str(address), **shares, **receipt_json(receipt)}, f"Resolved ({receipt.signature})")


async def _reason(client: Client, job: Job) -> str | None:
    from hypernode_worker.errors import HypernodeError

    if job.reason_cid is None:
        return None
    try:
        data = await client.store.read(job.reason_cid, max_bytes=MAX_REASON_BYTES, timeout_s=REASON_TIMEOUT_S)
    except HypernodeError:
        return None
    return data.decode(errors="replace")


def _dispute_text(seen: _Dispute, shares: dict[str, int]) -> str:
    from hypernode_worker.core.amounts import show_amount

    job = seen.job
    said = (
        f"can't be read now: {job.reason_cid}"
        if seen.reason is None
        else "\n  > ".join(["", *seen.reason.splitlines()])
    )
    money = {name: show_amount(shares[name], native=job.is_native) for name in ("node", "fee", "client")}
    lost = {"slashed": f"{shares['slashed']:,} base units of the node's stake"} if shares["slashed"] else {}
    values = {"job": f"{job.address} ({state_name(job)})", "result": job.result_cid, "its client says": said}
    return screen.fields({**values, **money, **lost})
