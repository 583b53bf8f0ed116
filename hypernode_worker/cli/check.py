"""`test`: checks each layer in order, and says for each failure what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.command import UNHEALTHY, Invocation, command


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "test")(check)


def check(
    invocation: Invocation,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="One check and what it needs; may be repeated.")
    ] = None,
) -> None:
    """Check each layer by using it: configuration, key, rpc, program, market, stake, balance, ipfs, container, gpu.

    A check is skipped when one that it needs has failed. Exit code 3 when anything failed.
    """
    from hypernode_worker.cli.checkup import Checkup, known
    from hypernode_worker.cli.findings import Finding, finding_text

    names = known(only or [])

    async def work() -> list[Finding]:
        found: list[Finding] = []
        async with Checkup(invocation.load_quietly) as checkup:
            async for finding in checkup.run(names):
                found.append(finding)
                if not invocation.json:
                    screen.out(finding_text(finding))
        return found

    found = invocation.run(work())
    if invocation.json:
        screen.out_json([{"name": each.name, "state": each.state, "message": each.message} for each in found])
    failed = [finding.name for finding in found if finding.state == "failed"]
    if failed:
        screen.say(f"{len(failed)} of {len(found)} checks failed: {', '.join(failed)}.")
        raise typer.Exit(UNHEALTHY)
    screen.say("All is well.")
