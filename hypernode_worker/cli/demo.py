"""`demo`: the main job, end to end, on this machine alone."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.command import Invocation, command, usage

if TYPE_CHECKING:
    from hypernode_worker.cli.demo_stage import Story
    from hypernode_worker.core.events import Event


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "demo")(demo)


def demo(
    invocation: Invocation,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the result goes, in a new folder.")] = Path(
        "hypernode-demo"
    ),
    runtime: Annotated[
        str, typer.Option(help="docker, process, or auto: Docker when it is here with an image that has Python.")
    ] = "auto",
    image: Annotated[str | None, typer.Option(help="Image with python3 for Docker; may be pulled.")] = None,
) -> None:
    """See it work: a local chain, a market, a client, a worker; a job is posted, run, paid and fetched.

    Uses none of your settings, keys or money, and leaves only the result behind.
    """
    from hypernode_worker.cli.demo_stage import play
    from hypernode_worker.cli.worker_lines import WorkerLines

    if runtime not in ("auto", "docker", "process"):
        usage(f"--runtime {runtime[:40]!r} is none of auto, docker, process.")
    tell = screen.say if invocation.json else screen.out
    lines = WorkerLines(tell)

    begun = False

    def listen(event: Event) -> None:
        nonlocal begun
        if not begun:
            begun = True
            lines.begin()
        lines(event)

    async def work() -> Story:
        # SIGTERM ends it as Ctrl-C does: the worker gives back what it holds, the scratch folder goes.
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await play(out.expanduser().absolute(), runtime=runtime, image=image, tell=tell, worker_lines=listen)

    story = invocation.run(work())
    if invocation.json:
        screen.out_json(_story_json(story))
    else:
        screen.out(_story_text(story))


def _story_json(story: Story) -> dict[str, object]:
    job = story.job
    return {
        "job": str(job.address),
        "market": story.market,
        "client": story.wallets["client"],
        "node": str(job.node),
        "state": job.state.name.lower(),
        "definition_cid": str(job.definition_cid),
        "result_cid": str(job.result_cid),
        "mint": "SOL" if job.is_native else str(job.payment_mint),
        "deposit": job.deposit,
        "paid": job.paid,
        "fee": job.fee,
        "refunded": job.refunded,
        "signatures": {name: story.signatures.get(name) for name in ("create_job", "work_job", "finish_job")},
        "artifacts": [
            {"path": str(story.result.path / file.path), "bytes": file.bytes, "sha256": file.sha256}
            for file in story.result.artifacts
        ],
        "provider": story.provider.split()[0],
        "elapsed_s": round(story.elapsed_s, 3),
    }


def _story_text(story: Story) -> str:
    from hypernode_worker.cli.demo_stage import balance_lines
    from hypernode_worker.core.amounts import show_amount

    job, result = story.job, story.result

    def money(amount: int) -> str:
        return show_amount(amount, native=job.is_native)

    happened = screen.fields(
        {
            "job": job.address,
            "definition": job.definition_cid,
            "result": f"{job.result_cid}, verified",
            "create_job": story.signatures.get("create_job"),
            "work_job": story.signatures.get("work_job"),
            "finish_job": story.signatures.get("finish_job"),
            "deposit": money(job.deposit),
            "  paid": f"{money(job.paid)} for {job.used} s",
            "  fee": money(job.fee),
            "  refunded": money(job.refunded),
            "runtime": story.provider,
        },
        indent="  ",
    )
    balances = screen.table(("SOL", "before", "after", "change"), balance_lines(story), right=(1, 2, 3))
    artifacts = [f"  {file.bytes:>10,} bytes  {result.path / file.path}" for file in result.artifacts]
    adds_up = job.deposit == job.paid + job.fee + job.refunded
    return "\n".join(
        [
            "\nWhat happened:",
            happened,
            f"  deposit = paid + fee + refunded: {'yes' if adds_up else 'NO'}",
            "",
            *(f"  {line}" for line in balances.splitlines()),
            "  (the rest of a change: network fees, and rent that 'job close' and 'node deregister' give back)",
            "\nArtifacts:",
            *artifacts,
            f"\nDone in {story.elapsed_s:.1f} s.",
        ]
    )
