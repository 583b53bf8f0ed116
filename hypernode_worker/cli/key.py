"""`key`: make a wallet, look into it, fill it from a faucet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.arguments import read_sol
from hypernode_worker.cli.command import Invocation, command, group

app = group("Wallets: make a key file, see its balance, ask a faucet.")


@command(app, "new")
def new(
    invocation: Invocation,
    path: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write it; KEYPAIR_PATH when left out.")
    ] = None,
) -> None:
    """Make a new key file with mode 0600 and print its address. An existing file is never overwritten."""
    from hypernode_worker.solana.keypair import create_keypair

    target = (path or invocation.load().settings.keypair_path).expanduser().absolute()
    address = str(create_keypair(target).pubkey())
    screen.say(f"Wrote {target}. It is the only copy: whoever has it has the wallet.")
    invocation.result({"address": address, "path": str(target)}, address)


@command(app, "address")
def address(invocation: Invocation) -> None:
    """Print the address of the key file."""
    from hypernode_worker.app import load_wallet

    settings = invocation.load().settings
    wallet = str(load_wallet(settings).pubkey())
    invocation.result({"address": wallet, "path": str(settings.keypair_path)}, wallet)


@command(app, "balance")
def balance(
    invocation: Invocation,
    of: Annotated[str | None, typer.Argument(metavar="[ADDRESS]", help="Another wallet than the key file's.")] = None,
) -> None:
    """Print a wallet's balance in SOL."""
    from hypernode_worker.app import load_wallet, open_chain
    from hypernode_worker.cli.arguments import read_address
    from hypernode_worker.core.amounts import sol

    loaded = invocation.load()
    wallet = read_address(of, "ADDRESS") if of else load_wallet(loaded.settings).pubkey()

    async def work() -> int:
        async with open_chain(loaded, signs=False) as chain:
            return await chain.balance(wallet)

    lamports = invocation.run(work())
    invocation.result({"address": str(wallet), "lamports": lamports}, f"{sol(lamports)} SOL")


@command(app, "airdrop")
def airdrop(
    invocation: Invocation,
    amount: Annotated[str, typer.Argument(metavar="[SOL]", help="How much, such as 2 or 0.5.")] = "1",
) -> None:
    """Ask the chain's faucet for SOL (localnet, devnet, testnet) and wait until it is there."""
    from hypernode_worker.app import open_chain
    from hypernode_worker.core.amounts import sol

    lamports = read_sol(amount)
    loaded = invocation.load()

    async def work() -> tuple[str, str, int]:
        async with open_chain(loaded, signs=True) as chain:
            signature = await chain.airdrop(lamports)
            return str(chain.wallet), str(signature), await chain.balance(chain.wallet)

    wallet, signature, now = invocation.run(work())
    invocation.result(
        {"address": wallet, "lamports": now, "signature": signature}, f"{wallet} has {sol(now)} SOL now ({signature})"
    )
