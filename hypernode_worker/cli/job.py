"""`job`: post, follow, fetch and end jobs; take one by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import market_of, read_address, read_price
from hypernode_worker.cli.command import FAILED, Invocation, command, group, usage
from hypernode_worker.cli.views import job_json, job_text, outcome_sentence, quote_lines, receipt_json, state_name

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from hypernode_worker.client import Client, PostedJob, PreparedJob, Result
    from hypernode_worker.core.accounts import Job
    from hypernode_worker.core.ports import Receipt

app = group("Jobs: post work with an escrow, follow it, fetch its verified result.")

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's address.")]


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
            job = await _follow(client, posted.job)
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
    value = {**_posted_json(posted), **(job_json(job) if job else {}), **_result_json(result)}
    invocation.result(value, _posted_text(posted) if job is None else _ended_text(job, result))
    _exit_by(job)


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
                return await _follow(client, address)
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
    invocation.result({**job_json(fetched.job), **_result_json(fetched)}, _result_text(fetched))


@command(app, "cancel")
def cancel(invocation: Invocation, job: JobArgument) -> None:
    """Withdraw a job that isn't running yet; the whole deposit comes back."""
    _act(invocation, job, "cancel", "Cancelled; the deposit is back")


@command(app, "stop")
def stop(invocation: Invocation, job: JobArgument) -> None:
    """Stop a running job: billing ends now, and its node posts what there is."""
    _act(invocation, job, "stop", "Stopped; its node has the market's grace to post what there is")


@command(app, "settle")
def settle(invocation: Invocation, job: JobArgument) -> None:
    """Accept a submitted result, or deliver what an ended job still owes."""
    _act(invocation, job, "settle", "Settled")


@command(app, "close")
def close(invocation: Invocation, job: JobArgument) -> None:
    """Remove an ended job's account; its rent comes back. Its result stays on IPFS."""
    _act(invocation, job, "close", "Closed; its rent is back")


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


# --- how ---


def _act(invocation: Invocation, job: str, verb: str, done: str) -> None:
    from hypernode_worker.app import open_client

    loaded = invocation.load()
    address = read_address(job, "JOB")

    async def work() -> Receipt:
        async with open_client(loaded) as client:
            receipt: Receipt = await getattr(client, verb)(address)
            return receipt

    receipt = invocation.run(work())
    invocation.result(receipt_json(receipt), f"{done} ({receipt.signature})")


async def _follow(client: Client, address: Pubkey) -> Job:
    import asyncio

    from hypernode_worker.errors import AccountMissing

    latest: Job | None = None
    try:
        async for job in client.follow(address):
            if latest is None or job.state != latest.state:
                screen.say(f"  {state_name(job)}{'' if not job.state.terminal else ': ' + outcome_sentence(job)}")
            latest = job
    except asyncio.CancelledError:
        screen.say(f"No longer watching; the job goes on. 'hypernode-worker job get {address} --wait' watches again.")
        raise
    if latest is None:
        raise AccountMissing(f"There is no job {address}: it was closed, or never posted to this chain.")
    return latest


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


def _result_json(result: Result | None) -> dict[str, object]:
    if result is None:
        return {}
    files = [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in result.manifest.files]
    manifest = result.manifest
    return {
        "path": str(result.path),
        "outcome": manifest.outcome.value,
        "message": manifest.message,
        "signed": result.signed,
        "files": files,
    }


def _result_text(result: Result) -> str:
    manifest = result.manifest
    signed = "and the node's signature" if result.signed else "(the node has left: its signature can't be checked)"
    lines = [
        f"{manifest.outcome.value}: {screen.one_line(manifest.message)}",
        f"Verified against CID, result_hash {signed}: {result.path}",
    ]
    lines += [f"  {file.bytes:>12,}  {screen.one_line(file.path)}" for file in manifest.files]
    return "\n".join(lines)


def _ended_text(job: Job, result: Result | None) -> str:
    return job_text(job) + (f"\n\n{_result_text(result)}" if result else "")


def _exit_by(job: Job | None) -> None:
    """A job that was followed and didn't complete is a failure of the command."""
    if job is not None and not (state_name(job) == "settled" and job.exit_status == 0):
        raise typer.Exit(FAILED)
