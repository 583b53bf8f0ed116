"""`job get`, `job list`, `job result`: what stands on chain, and what came out of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import market_of, read_address
from hypernode_worker.cli.command import Invocation, command, usage
from hypernode_worker.cli.job.app import JobArgument, app
from hypernode_worker.cli.job.following import follow
from hypernode_worker.cli.job.results import result_json, result_text
from hypernode_worker.cli.views import job_json, job_text, state_name

if TYPE_CHECKING:
    from hypernode_worker.client import Result
    from hypernode_worker.core.accounts import Job


@command(app, "get")
def get(
    invocation: Invocation,
    job: JobArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it has ended.")] = False,
) -> None:
    """Show a job as it stands on chain."""
    from hypernode_worker.app import open_chain, open_client

    loaded = invocation.load()
    address = read_address(job, "JOB")

    async def work() -> Job:
        if wait:
            async with open_client(loaded, signs=True) as client:
                return await follow(client, address)
        async with open_chain(loaded, signs=False) as chain:
            return await chain.job(address)

    seen = invocation.run(work())
    invocation.result(job_json(seen), job_text(seen))


@command(app, "list")
def list_(
    invocation: Invocation,
    everyone: Annotated[bool, typer.Option("--all", help="Of all clients, not of this wallet alone.")] = False,
    state: Annotated[str | None, typer.Option(help="queued, claimed, running, submitted, settled ...")] = None,
) -> None:
    """List jobs of the market, newest first."""
    from hypernode_worker.app import open_client
    from hypernode_worker.core.accounts import JobState

    names = [each.name.lower() for each in JobState]
    if state is not None and state.lower() not in names:
        usage(f"--state {state[:40]!r} is none of {', '.join(names)}.")
    wanted = JobState[state.upper()] if state else None
    loaded = invocation.load()
    market = market_of(loaded)

    async def work() -> list[Job]:
        async with open_client(loaded, signs=not everyone) as client:
            return list(await client.jobs(market, mine=not everyone, state=wanted))

    jobs = invocation.run(work())
    rows = [
        (job.address, state_name(job), f"{job.deposit:,}", f"{job.paid:,}", f"{job.refunded:,}", job.result_cid or "-")
        for job in jobs
    ]
    head = ("job", "state", "deposit", "paid", "refunded", "result")
    invocation.result([job_json(job) for job in jobs], screen.table(head, rows, right=(2, 3, 4)))


@command(app, "result")
def result(
    invocation: Invocation,
    job: JobArgument,
    destination: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put it; must not exist.")],
) -> None:
    """Fetch a job's result, verified against its CID, its result_hash on chain and its node's signature."""
    from hypernode_worker.app import open_client

    loaded = invocation.load()
    address = read_address(job, "JOB")

    async def work() -> Result:
        async with open_client(loaded, signs=False) as client:
            return await client.result(address, destination.expanduser().absolute())

    fetched = invocation.run(work())
    invocation.result({**job_json(fetched.job), **result_json(fetched)}, result_text(fetched))
