"""A job's states, told as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypernode_worker.cli import screen
from hypernode_worker.cli.views import outcome_sentence, state_name

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

    from hypernode_worker.client import Client
    from hypernode_worker.core.accounts import Job


async def follow(client: Client, address: Pubkey) -> Job:
    """The job when it has ended. Raises AccountMissing when there is none."""
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
