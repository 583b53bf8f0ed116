"""`job cancel|stop|extend|settle|close`: the ways in which a job ends, or lasts longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import read_address
from hypernode_worker.cli.command import FAILED, Invocation, command
from hypernode_worker.cli.job.app import JobArgument, app
from hypernode_worker.cli.views import receipt_json

if TYPE_CHECKING:
    from hypernode_worker.core.accounts import Job
    from hypernode_worker.core.ports import Receipt


@command(app, "cancel")
def cancel(invocation: Invocation, job: JobArgument) -> None:
    """Withdraw a job that isn't running yet; the whole deposit comes back."""
    act(invocation, job, "cancel", "Cancelled; the deposit is back")


@command(app, "stop")
def stop(invocation: Invocation, job: JobArgument) -> None:
    """Stop a running job: billing ends now, and its node posts what there is."""
    act(invocation, job, "stop", "Stopped; its node has the market's grace to post what there is")


@command(app, "settle")
def settle(invocation: Invocation, job: JobArgument) -> None:
    """Deliver what an ended job still owes, or end a review or dispute whose deadline has passed. Anyone may."""
    act(invocation, job, "settle", "Settled")


@command(app, "close")
def close(invocation: Invocation, job: JobArgument) -> None:
    """Remove an ended job's account; its rent comes back. Its result stays on IPFS."""
    act(invocation, job, "close", "Closed; its rent is back")


@command(app, "extend")
def extend(
    invocation: Invocation,
    job: JobArgument,
    seconds: Annotated[int, typer.Argument(min=1, metavar="SECONDS", help="How much longer it may run.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Give a job more time, for price x seconds more deposit."""
    from hypernode_worker.app import open_client
    from hypernode_worker.core.amounts import show_amount

    loaded = invocation.load()
    address = read_address(job, "JOB")

    async def look() -> Job:
        async with open_client(loaded, signs=False) as client:
            return await client.chain.job(address)

    async def work() -> Receipt:
        async with open_client(loaded) as client:
            return await client.extend(address, seconds)

    seen = invocation.run(look())
    screen.say(f"{seconds} s more take {show_amount(seen.price * seconds, native=seen.is_native)} of deposit.")
    if not yes and not screen.confirm("Extend it?"):
        screen.say("Nothing was changed.")
        raise typer.Exit(FAILED)
    receipt = invocation.run(work())
    invocation.result(receipt_json(receipt), f"Extended ({receipt.signature})")


def act(invocation: Invocation, job: str, verb: str, done: str) -> None:
    """One of the client's methods on a job."""
    from hypernode_worker.app import open_client

    loaded = invocation.load()
    address = read_address(job, "JOB")

    async def work() -> Receipt:
        async with open_client(loaded) as client:
            receipt: Receipt = await getattr(client, verb)(address)
            return receipt

    receipt = invocation.run(work())
    invocation.result(receipt_json(receipt), f"{done} ({receipt.signature})")
