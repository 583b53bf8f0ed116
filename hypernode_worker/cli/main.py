"""The app and its entry point."""

from __future__ import annotations

from typing import Annotated

import typer

from hypernode_worker.cli import check, config, crank, demo, job, key, localnet, market, node, stake, worker
from hypernode_worker.cli.command import group

_HELP = """Turn a machine with a GPU into a paid node of a marketplace that settles on Solana, or buy that work.

Operators: key new, test, start, status, stop, stake. Clients: job post, job result. Market owners: market create,
crank. Developers: localnet, demo.

Settings: a flag is stronger than the environment, that than .env, that than the config file; `config` shows all.
Exit codes: 0 fine; 1 it failed; 2 usage or configuration; 3 something it needs doesn't answer; 130 Ctrl-C.
"""

app = group(_HELP)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"hypernode-worker {version('hypernode-worker')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:  # pyright: ignore[reportUnusedFunction]
    pass


worker.register(app)
check.register(app)
config.register(app)
crank.register(app)
localnet.register(app)
demo.register(app)
app.add_typer(job.app, name="job")
app.add_typer(market.app, name="market")
app.add_typer(node.app, name="node")
app.add_typer(stake.app, name="stake")
app.add_typer(key.app, name="key")


def main() -> None:
    """The console script."""
    app(prog_name="hypernode-worker")


if __name__ == "__main__":
    main()
