"""`job post`: the whole deposit shown, then the definition on IPFS and the escrow on chain; `job take` by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import market_of, read_address, read_price
from hypernode_worker.cli.command import FAILED, Invocation, command
from hypernode_worker.cli.job.app import app
from hypernode_worker.cli.job.following import follow
from hypernode_worker.cli.job.results import result_json, result_text
from hypernode_worker.cli.views import job_json, job_text, quote_lines, state_name

if TYPE_CHECKING:
    from hypernode_worker.client import Client, PostedJob, PreparedJob, Result
    from hypernode_worker.core.accounts import Job


@command(app, "post")
def post(
    invocation: Invocation,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The job definition, JSON.")],
    files: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder that comes into /workspace.")] = None,
    price: Annotated[
        str | None,
        typer.Option(help="A second: base units (250) or SOL (0.000001SOL); the market's least when left out."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it and fetch its result.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where --wait puts the result; hypernode-JOB when left out.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    public_env: Annotated[
        bool, typer.Option("--public-env", help="Publish env values although they look like secrets.")
    ] = False,
    local_only: Annotated[
        bool, typer.Option("--local-only", help="A worker on this machine may take it: nobody else could fetch it.")
    ] = False,
) -> None:
    """Post a job: its definition goes to IPFS, price x timeout into the job's own escrow on chain.

    The whole deposit is shown first. What the job doesn't use comes back when it settles.
    """
    from hypernode_worker.app import open_client

    loaded = invocation.load()
    market = market_of(loaded)

    async def prepare() -> PreparedJob:
        async with open_client(loaded, local_only=local_only) as client:
            native = (await client.chain.market(market)).is_native
            return await client.prepare(
                file, market=market, files=files, price=read_price(price, native=native), public_env=public_env
            )

    async def go(prepared: PreparedJob) -> tuple[PostedJob, Job | None, Result | None]:
        async with open_client(loaded, local_only=local_only) as client:
            posted = await client.post(prepared)
            screen.say(f"{screen.icon('ok')} Posted job {posted.job} ({posted.receipt.signature})")
            if not wait:
                return posted, None, None
            job = await follow(client, posted.job)
            return posted, job, await _fetch(client, job, out)

    prepared = invocation.run(prepare())
    quote = prepared.quote
    screen.say("This job takes from your wallet:")
    screen.say(
        quote_lines(
            quote.price, quote.timeout_s, quote.deposit, quote.rent_lamports, quote.fee_lamports, native=quote.native
        )
    )
    if not yes and not screen.confirm("Post it?"):
        screen.say("Nothing was posted.")
        raise typer.Exit(FAILED)
    posted, job, result = invocation.run(go(prepared))
    value = {**_posted_json(posted), **(job_json(job) if job else {}), **result_json(result)}
    invocation.result(value, _posted_text(posted) if job is None else _ended_text(job, result))
    _exit_by(job)


@command(app, "take")
def take(
    invocation: Invocation,
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="The job; without it, what the worker would take is listed.")
    ] = None,
) -> None:
    """Let this machine's worker take a job (AUTO_ACCEPT=false); without JOB, list what it would take."""
    from hypernode_worker.cli.status_text import candidates_text
    from hypernode_worker.node.control_client import call

    folder = invocation.load().settings.data_dir
    if job is None:
        listed = call(folder, "jobs")
        invocation.result(listed, candidates_text(listed))
        return
    answer = call(folder, "take", job=str(read_address(job, "JOB")))
    invocation.result(answer, f"The worker takes {job}; 'hypernode-worker status' shows it.")


async def _fetch(client: Client, job: Job, out: Path | None) -> Result | None:
    if job.result_cid is None:
        return None
    target = (out or Path(f"hypernode-{str(job.address)[:8]}")).expanduser().absolute()
    return await client.result(job.address, target)


def _posted_json(posted: PostedJob) -> dict[str, object]:
    return {
        "job": str(posted.job),
        "definition_cid": str(posted.definition_cid),
        "files_cid": str(posted.files_cid) if posted.files_cid else None,
        "price": posted.quote.price,
        "timeout": posted.quote.timeout_s,
        "deposit": posted.quote.deposit,
        "rent_lamports": posted.quote.rent_lamports,
        "signature": str(posted.receipt.signature),
    }


def _posted_text(posted: PostedJob) -> str:
    return screen.fields({"job": posted.job, "definition": posted.definition_cid, "files": posted.files_cid or "-"})


def _ended_text(job: Job, result: Result | None) -> str:
    return job_text(job) + (f"\n\n{result_text(result)}" if result else "")


def _exit_by(job: Job | None) -> None:
    """A job that was followed and didn't complete is a failure of the command."""
    if job is not None and not (state_name(job) == "settled" and job.exit_status == 0):
        raise typer.Exit(FAILED)
