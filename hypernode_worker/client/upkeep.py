"""Keeping a market clean: every exit that is due is taken, for whoever it is. Nobody has to, and anyone may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, Node
from hypernode_worker.core.deadlines import Exit, Standing, due_exit, due_withdrawal
from hypernode_worker.core.ports import ChainTime, Receipt
from hypernode_worker.core.ports.market import UpkeepChain
from hypernode_worker.errors import AccountMissing, HypernodeError, ProgramError

AT_ONCE = 8
"""Exits that are sent beside each other."""
_UNDELIVERABLE = ("NothingDelivered", "EscrowNotEmptied", "WrongTokenAccount")


class Outcome(StrEnum):
    """What became of an exit."""

    DUE = "due"  # nothing was sent: a dry run
    DONE = "done"
    ELSEWHERE = "elsewhere"  # somebody else was faster, or it changed meanwhile
    UNDELIVERABLE = "undeliverable"  # whom it owes can't receive now
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Upkept:
    """One exit of one account. `message` says why not, where it wasn't done."""

    exit: Exit
    account: Pubkey
    outcome: Outcome
    message: str = ""
    receipt: Receipt | None = None


async def find_due(chain: UpkeepChain, market: Pubkey | None) -> list[tuple[Exit, Pubkey]]:
    """All exits that are due in a market (None: in all), by the bytes that an endpoint gave: read before acting."""
    standings, nodes = await asyncio.gather(chain.standings(market), chain.unstaking(market))
    now = await chain.time()
    due = [(found, job) for job, standing in standings if (found := due_exit(standing, now))]
    for address in nodes:
        # Few ask stake back; the time stands in the whole account.
        try:
            found = due_withdrawal(await chain.node(address), now)
        except AccountMissing:
            continue
        if found:
            due.append((found, address))
    return due


async def keep_up(chain: UpkeepChain, market: Pubkey | None, *, act: bool) -> AsyncGenerator[Upkept, None]:
    """Takes every exit that is due, and says of each what became of it, in the order in which they end.

    One that fails doesn't stop the others. With `act` False nothing is sent.

    Raises:
        HypernodeError: nobody could be asked what is due.
    """
    due = await find_due(chain, market)
    if not act:
        for exit_, account in due:
            yield Upkept(exit_, account, Outcome.DUE)
        return
    slots = asyncio.Semaphore(AT_ONCE)
    tasks = [asyncio.create_task(_take(chain, exit_, account, slots)) for exit_, account in due]
    try:
        for ended in asyncio.as_completed(tasks):
            yield await ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _take(chain: UpkeepChain, exit_: Exit, account: Pubkey, slots: asyncio.Semaphore) -> Upkept:
    async with slots:
        try:
            subject = await _still_due(chain, exit_, account)
            if subject is None:
                return _elsewhere(exit_, account)
            return Upkept(exit_, account, Outcome.DONE, receipt=await _send(chain, exit_, subject))
        except ProgramError as error:
            return await _refused(chain, exit_, account, error)
        except AccountMissing:
            return _elsewhere(exit_, account)
        except HypernodeError as error:
            return Upkept(exit_, account, Outcome.FAILED, str(error))


async def _refused(chain: UpkeepChain, exit_: Exit, account: Pubkey, error: ProgramError) -> Upkept:
    try:
        if await _still_due(chain, exit_, account) is None:
            return _elsewhere(exit_, account)
    except AccountMissing:
        return _elsewhere(exit_, account)
    except HypernodeError:
        pass  # the first error says more
    undeliverable = error.name in _UNDELIVERABLE
    return Upkept(exit_, account, Outcome.UNDELIVERABLE if undeliverable else Outcome.FAILED, str(error))


def _elsewhere(exit_: Exit, account: Pubkey) -> Upkept:
    return Upkept(exit_, account, Outcome.ELSEWHERE, "somebody else has done it, or it changed meanwhile")


async def _still_due(chain: UpkeepChain, exit_: Exit, account: Pubkey) -> Job | Node | None:
    """The verified account, when the same exit is due by it."""
    now: ChainTime = await chain.time()
    if exit_ is Exit.WITHDRAW:
        node = await chain.node(account)
        return node if due_withdrawal(node, now) else None
    job = await chain.job(account)
    return job if due_exit(Standing.of(job), now) is exit_ else None


async def _send(chain: UpkeepChain, exit_: Exit, subject: Job | Node) -> Receipt:
    if isinstance(subject, Node):
        return await chain.withdraw_stake(subject)
    match exit_:
        case Exit.TIME_OUT:
            return await chain.timeout_job(subject)
        case Exit.SETTLE | Exit.DELIVER:
            return await chain.settle_job(subject)
        case Exit.CLOSE:
            return await chain.close_job(subject)
        case Exit.WITHDRAW:
            raise TypeError(f"{subject.address} is a job, and only nodes have stake")
        case _:
            assert_never(exit_)
