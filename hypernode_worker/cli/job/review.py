"""`job accept`, `job dispute`: what a client says of a submitted result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import read_address
from hypernode_worker.cli.command import FAILED, Invocation, command, usage
from hypernode_worker.cli.job.app import JobArgument, app
from hypernode_worker.cli.job.ending import act
from hypernode_worker.cli.views import receipt_json

if TYPE_CHECKING:
    from hypernode_worker.core.accounts import Job
    from hypernode_worker.core.ports import Receipt

MAX_REASON_BYTES = 64 << 10


@command(app, "accept")
def accept(invocation: Invocation, job: JobArgument) -> None:
    """Accept a submitted result: its node is paid now, without waiting for the review to end."""
    act(invocation, job, "accept", "Accepted; the node is paid, and the rest of the deposit is back")


@command(app, "dispute")
def dispute(
    invocation: Invocation,
    job: JobArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT|FILE", help="Why, for the arbiter; public, on IPFS.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    local_only: Annotated[bool, typer.Option("--local-only", help="The arbiter reads it on this machine.")] = False,
) -> None:
    """Put a submitted result before the market's arbiter, with a bond, while the review lasts.

    The bond comes back unless the arbiter pays the node in full; then it is the node's.
    """
    from hypernode_worker.app import open_client
    from hypernode_worker.core.amounts import show_amount
    from hypernode_worker.core.market_terms import WHOLE_BPS

    loaded = invocation.load()
    address, text = read_address(job, "JOB"), _read_reason(reason)

    async def look() -> Job:
        async with open_client(loaded, signs=False) as client:
            return await client.chain.job(address)

    async def work() -> Receipt:
        async with open_client(loaded, local_only=local_only) as client:
            return await client.dispute(address, text)

    seen = invocation.run(look())
    bond = seen.deposit * seen.bond_bps // WHOLE_BPS
    screen.say(
        f"A dispute takes a bond of {show_amount(bond, native=seen.is_native)}, which is the node's if the arbiter "
        f"{seen.arbiter} pays it in full, and else comes back."
    )
    if not yes and not screen.confirm("Dispute the result?"):
        screen.say("Nothing was changed.")
        raise typer.Exit(FAILED)
    receipt = invocation.run(work())
    invocation.result({**receipt_json(receipt), "bond": bond}, f"Disputed ({receipt.signature})")


def _read_reason(given: str) -> str:
    """The text, or that of the file which it names."""
    text = given
    try:
        if Path(given).is_file():
            with Path(given).open("rb") as file:
                text = file.read(MAX_REASON_BYTES + 1).decode()
    except UnicodeDecodeError:
        usage(f"{given[:80]} isn't text in UTF-8, and an arbiter is to read it: write the reason as text.")
    except (OSError, ValueError):
        pass  # too long for a path: so it is text
    if not text.strip():
        usage("The reason is empty: tell the arbiter what is wrong with the result.")
    if len(text.encode()) > MAX_REASON_BYTES:
        usage(f"The reason has more than {MAX_REASON_BYTES:,} bytes: put what is long elsewhere, and name where.")
    return text
