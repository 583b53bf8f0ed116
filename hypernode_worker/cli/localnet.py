"""`localnet`: a Solana chain on this machine, with the markets program and a faucet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.command import Invocation, command


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "localnet")(localnet)


def localnet(
    invocation: Invocation,
    port: Annotated[int, typer.Option(min=0, max=65_534, help="JSON-RPC port; 0: any free one.")] = 8899,
    ws_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="PubSub port; the next one when left out.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but loopback lets others in.")
    ] = "127.0.0.1",
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the chain there across restarts; in memory when left out.")
    ] = None,
    slot_ms: Annotated[int, typer.Option(min=10, max=10_000, help="Length of a slot in milliseconds.")] = 400,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Host name beside loopback that clients may use.")
    ] = None,
) -> None:
    """Run a local Solana chain: JSON-RPC and PubSub, a faucet, the markets program loaded. Ends with Ctrl-C.

    Use it with SOLANA_RPC_URL=http://127.0.0.1:8899 (or --rpc-url), also from Solana's own tools and libraries.
    """
    import asyncio
    import signal

    from hypernode_worker.app import open_localnet
    from hypernode_worker.config import LOCALNET_PROGRAM_ID

    async def work() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        folder = state.expanduser().absolute() if state else None
        chain = open_localnet(
            port=port,
            ws_port=ws_port,
            host=host,
            state_dir=folder,
            slot_ms=slot_ms,
            allowed_hosts=tuple(allow_host or ()),
        )
        async with chain:
            kept = f"kept in {folder}" if folder else "in memory: it is gone when this ends"
            value = {"rpc_url": chain.rpc_url, "ws_url": chain.ws_url, "program": LOCALNET_PROGRAM_ID, "state": folder}
            text = screen.fields(
                {
                    "JSON-RPC": chain.rpc_url,
                    "PubSub": chain.ws_url,
                    "program": LOCALNET_PROGRAM_ID,
                    "faucet": f"hypernode-worker key airdrop 10 --rpc-url {chain.rpc_url}",
                    "chain": kept,
                }
            )
            invocation.result(value, f"{text}\nReady; Ctrl-C ends it.")
            await stopping.wait()
        screen.say("The local chain has ended.")

    invocation.run(work())
