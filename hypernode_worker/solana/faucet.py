"""Airdrops: free SOL of local chains and devnet."""

from __future__ import annotations

import asyncio

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.types import LAMPORTS_PER_SOL
from hypernode_worker.errors import PermanentError, TransactionExpired
from hypernode_worker.solana.rpc import Rpc
from hypernode_worker.solana.transport import RpcFault, RpcRefused

POLL_S = 0.1
TIMEOUT_S = 60.0


async def airdrop(rpc: Rpc, address: Pubkey, lamports: int) -> Signature:
    """Asks the endpoint's faucet and waits until it is there.

    Raises:
        PermanentError: this endpoint has no faucet, or it gives less.
        TransactionExpired: it promised and didn't deliver.
    """
    try:
        signature = await rpc.airdrop(address, lamports)
    except (RpcRefused, RpcFault) as error:
        raise PermanentError(
            f"The endpoint {rpc.transport.name} gave no airdrop of {lamports / LAMPORTS_PER_SOL:g} SOL ({error}) "
            "Only local chains and devnet have a faucet: ask for less, wait, or use https://faucet.solana.com."
        ) from error
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    pause_s = POLL_S / 10
    while asyncio.get_running_loop().time() < deadline:
        status = await rpc.signature_status(signature, history=False)
        if status is not None and status.confirmed:
            if status.err is not None:
                raise PermanentError(f"The airdrop {signature} failed on chain: the faucet may be empty, try later.")
            rpc.after(status.slot)
            return signature
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, POLL_S * 10)
    raise TransactionExpired(f"The airdrop {signature} wasn't confirmed within {TIMEOUT_S:g} s: try again.")
