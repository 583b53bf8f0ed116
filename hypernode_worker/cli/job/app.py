"""The noun and what its verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

from hypernode_worker.cli.command import group

app = group("Jobs: post work with an escrow, follow it, fetch its verified result.")

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's address.")]
