"""What an in-process endpoint can be told to do wrong, by name; a seeded schedule of it."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Callable, Sequence
from typing import Any

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.accounts import JobState
from hypernode_worker.errors import EndpointDown, RateLimited
from hypernode_worker.solana.transport import json_object
from tests.support.inprocess import InProcessTransport

STATE, QUEUED_SLOT = 15, slice(128, 136)
JOB_BYTES = 768

Fault = Callable[[InProcessTransport], None]


def heal(endpoint: InProcessTransport) -> None:
    """All is well again; connections that were cut are to be opened anew."""
    endpoint.down = endpoint.push_down = endpoint.mute = False
    endpoint.intercept = None
    endpoint.drop()


def down(endpoint: InProcessTransport) -> None:
    endpoint.down = True
    endpoint.drop()


def no_subscriptions(endpoint: InProcessTransport) -> None:
    endpoint.push_down = True
    endpoint.drop()


def mute(endpoint: InProcessTransport) -> None:
    endpoint.mute = True


def busy(endpoint: InProcessTransport) -> None:
    def refuse(method: str, params: Sequence[Any]) -> Any:
        raise RateLimited(f"The endpoint {endpoint.name} is busy.", retry_after_s=7.0)

    endpoint.intercept = refuse


def broken(endpoint: InProcessTransport) -> None:
    def fail(method: str, params: Sequence[Any]) -> Any:
        raise EndpointDown(f"The endpoint {endpoint.name} answered {method} with HTTP status 502.")

    endpoint.intercept = fail


def answers_lost(endpoint: InProcessTransport) -> None:
    """What is sent arrives, but nobody hears of it."""

    def lose(method: str, params: Sequence[Any]) -> Any:
        real(endpoint, method, params)
        raise EndpointDown(f"The endpoint {endpoint.name} didn't answer {method} in time.")

    endpoint.intercept = lose


def stale(endpoint: InProcessTransport) -> None:
    """Its slot stands still, whatever is asked."""
    slot: list[int] = []

    def freeze(method: str, params: Sequence[Any]) -> Any:
        answer = real(endpoint, method, params)
        if "context" not in json_object(answer):
            return answer
        slot.append(answer["context"]["slot"])
        return {**answer, "context": {**answer["context"], "slot": slot[0]}}

    endpoint.intercept = freeze


def swallows(endpoint: InProcessTransport) -> None:
    """Takes transactions, passes none on, and says that they have landed."""

    def swallow(method: str, params: Sequence[Any]) -> Any:
        if method == "sendTransaction":
            return str(Signature.from_bytes(base64.b64decode(params[0])[1:65]))
        return real(endpoint, method, params)

    endpoint.intercept = swallow


def accounts(endpoint: InProcessTransport, forge: Callable[[dict[str, Any], bytearray], Any]) -> None:
    """Changes each job's account that it shows; `forge` gets the account and its bytes, and may give another answer."""

    def lie(method: str, params: Sequence[Any]) -> Any:
        answer = real(endpoint, method, params)
        if method == "getAccountInfo" and answer["value"] is not None and answer["value"]["space"] == JOB_BYTES:
            data = bytearray(base64.b64decode(answer["value"]["data"][0]))
            forged = forge(answer["value"], data)
            if isinstance(forged, bytes | bytearray):
                forged = {**answer["value"], "data": [base64.b64encode(forged).decode(), "base64"]}
            return {**answer, "value": forged}
        if method == "getProgramAccounts":
            return {**answer, "value": []}
        return answer

    endpoint.intercept = lie


def says_missing(endpoint: InProcessTransport) -> None:
    accounts(endpoint, lambda account, data: None)


def says_other_owner(endpoint: InProcessTransport) -> None:
    accounts(endpoint, lambda account, data: {**account, "owner": str(Pubkey.default())})


def truncates(endpoint: InProcessTransport) -> None:
    accounts(endpoint, lambda account, data: data[:500])


def says_settled(endpoint: InProcessTransport) -> None:
    accounts(endpoint, lambda account, data: data[:STATE] + bytes([JobState.SETTLED]) + data[STATE + 1 :])


def says_requeued(endpoint: InProcessTransport) -> None:
    def requeue(account: dict[str, Any], data: bytearray) -> bytearray:
        data[STATE] = JobState.QUEUED
        data[QUEUED_SLOT] = (int.from_bytes(data[QUEUED_SLOT], "little") + 1).to_bytes(8, "little")
        return data

    accounts(endpoint, requeue)


def says_other_kind(endpoint: InProcessTransport) -> None:
    accounts(endpoint, lambda account, data: b"\xff" * 8 + data[8:])


LIES: tuple[Fault, ...] = (
    says_missing,
    says_other_owner,
    truncates,
    says_settled,
    says_requeued,
    says_other_kind,
    swallows,
)
TROUBLES: tuple[Fault, ...] = (down, no_subscriptions, mute, busy, broken, answers_lost, stale)


def real(endpoint: InProcessTransport, method: str, params: Sequence[Any]) -> Any:
    """What it would have answered."""
    return endpoint.answer(method, list(params))


async def misbehave(endpoints: Sequence[InProcessTransport], chance: random.Random, *, seconds: float) -> list[str]:
    """For so long, one endpoint after the other does something wrong; never more than one lies at a time.

    Returns what was done, for the test's message.
    """
    loop = asyncio.get_running_loop()
    until, done = loop.time() + seconds, list[str]()
    while loop.time() < until:
        liar, troubled = chance.sample(range(len(endpoints)), 2)
        chosen = [(liar, chance.choice(LIES))] if chance.random() < 0.5 else []
        chosen += [(troubled, chance.choice(TROUBLES))] if chance.random() < 0.7 else []
        for place, fault in chosen:
            fault(endpoints[place])
            done.append(f"{loop.time():.0f}s {place} {fault.__name__}")
        await asyncio.sleep(chance.uniform(3, 40))
        for place, _ in chosen:
            heal(endpoints[place])
        await asyncio.sleep(chance.uniform(0, 10))
    return done
