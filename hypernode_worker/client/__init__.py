"""What a client does: post a job, follow it, fetch its result and verify it. Usable from Python:

from hypernode_worker.app import open_client
from hypernode_worker.config import load

async with open_client(load()) as client:
    prepared = await client.prepare("job.json", files=Path("src"), market=market)
    print(prepared.quote.deposit)
    posted = await client.post(prepared)
    async for job in client.follow(posted.job):
        print(job.state.name)
    result = await client.result(posted.job, Path("result"))

client.py    Client: one method for each thing that a client does
prepare.py   what would be posted: the definition checked, and the whole deposit
following.py a job's states as they come; whoever follows a job also ends it when its time is over
result.py    a result fetched and verified
staking.py   the stake of a wallet's node
upkeep.py    every exit that is due, for whoever keeps a market clean
"""

from __future__ import annotations

from hypernode_worker.client.client import Client, PostedJob
from hypernode_worker.client.prepare import PreparedJob, Quote
from hypernode_worker.client.result import Result

__all__ = ["Client", "PostedJob", "PreparedJob", "Quote", "Result"]
