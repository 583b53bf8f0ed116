"""The Transport over several endpoints of one chain: which is asked, which is left alone, whom to believe.

The operator's order is the order of preference. An endpoint that fails is left alone for a growing while; one that lags
behind the others, or runs far ahead of them, is treated alike. One of another chain than most is never used; where no
chain has most, the first-named decides, and what was decided at the start holds as long as the process lives.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hypernode_worker.core.ports import EndpointState
from hypernode_worker.errors import ConfigError, EndpointDown, RateLimited
from hypernode_worker.solana.agreement import MAX_LAG_SLOTS, chosen_chain, odd_slots
from hypernode_worker.solana.health import EndpointHealth
from hypernode_worker.solana.transport import (
    DEFAULT_MAX_BYTES,
    EndpointBehind,
    EndpointsDisagree,
    Json,
    Opinion,
    RpcFault,
    RpcRefused,
    Subscription,
    json_object,
)

VOTE_S = 5.0
"""How long the start waits for endpoints to tell their chain; who is later is asked when it is first needed."""
COMPARE_APART_S = 20.0
AGREED_S = 120.0
"""For how long nobody may be behind the slot that the others were at; then they are compared anew."""


class Asked(Protocol):
    """One endpoint's requests; see Transport.request."""

    @property
    def name(self) -> str: ...
    async def request(self, method: str, params: Sequence[Json], *, max_bytes: int = DEFAULT_MAX_BYTES) -> Json: ...
    async def close(self) -> None: ...


class Told(Protocol):
    """One endpoint's subscriptions; see Transport.subscribe. `drop` ends the connection and its subscriptions."""

    @property
    def connected(self) -> bool: ...
    async def subscribe(self, method: str, params: Sequence[Json]) -> Subscription: ...
    def drop(self, why: str) -> None: ...
    async def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Seat:
    """One endpoint: its requests and subscriptions fail apart from each other."""

    place: int
    asked: Asked
    told: Told
    health: EndpointHealth
    socket: EndpointHealth = field(init=False)

    def __post_init__(self) -> None:
        self.socket = EndpointHealth(self.asked.name)


class FailoverTransport:
    """See transport.Transport."""

    def __init__(self, endpoints: Sequence[tuple[Asked, Told]], calls: Counter[str]) -> None:
        if not endpoints:
            raise ConfigError("There is no RPC URL: set SOLANA_RPC_URL.")
        self._seats = [_Seat(i, asked, told, EndpointHealth(asked.name)) for i, (asked, told) in enumerate(endpoints)]
        self._calls = calls
        self._used = self._listened = self._seats[0]
        self._genesis: str | None = None
        self._voting = asyncio.Lock()
        self._compare_at = 0.0
        self._agreed_slot, self._agreed_until = 0, 0.0

    @property
    def name(self) -> str:
        return self._used.asked.name

    @property
    def calls(self) -> Counter[str]:
        return self._calls

    @property
    def connected(self) -> bool:
        return self._listened.told.connected

    @property
    def several(self) -> bool:
        return len(self._seats) > 1

    def states(self) -> tuple[EndpointState, ...]:
        now = asyncio.get_running_loop().time()
        return tuple(
            seat.health.state(now, in_use=seat is self._used, listening=seat is self._listened and seat.told.connected)
            for seat in self._seats
        )

    async def request(self, method: str, params: Sequence[Json], *, max_bytes: int = DEFAULT_MAX_BYTES) -> Json:
        if not self.several:
            return await self._seats[0].asked.request(method, params, max_bytes=max_bytes)
        await self._vote()
        if method == "sendTransaction":
            return await self._send_everywhere(method, params)
        first: EndpointDown | RateLimited | None = None
        for seat in self._order():
            try:
                result = await self._ask(seat, method, params, max_bytes)
                await self._notice_stall(seat, result)
            except (EndpointDown, RateLimited) as error:
                first = first or error
                continue
            self._used = seat
            return result
        assert first is not None  # there are seats of the chosen chain
        raise first

    async def opinions(self, method: str, params: Sequence[Json], *, confirmed: bool = False) -> Sequence[Opinion]:
        if not self.several:
            return [Opinion(0, await self.request(method, params))]
        await self._vote()
        now = asyncio.get_running_loop().time()
        # Also those that are left alone: the honest one may be among them.
        seats = [seat for seat in self._seats if not seat.health.gone(now)] or [self._used]
        answers, errors = await self._ask_all(seats, method, params)
        odd = self._weigh({place: slot for place, answer in answers.items() if (slot := _slot(answer)) is not None})
        opinions = [Opinion(place, answer) for place, answer in answers.items() if place not in odd]
        if not opinions:
            raise errors[0]  # at most half of those that answered are odd
        if confirmed and len(opinions) < 2 <= len([seat for seat in seats if not seat.health.other_chain]):
            raise EndpointsDisagree(
                f"Only the endpoint {self._seats[opinions[0].endpoint].asked.name} answered {method} now, and no other "
                "confirms what it says: nothing is given up on one endpoint's word; it is asked again later."
            )
        return opinions

    def leave_out(self, endpoint: int | None, why: str) -> None:
        seat = self._used if endpoint is None else self._seats[endpoint]
        now = asyncio.get_running_loop().time()
        if not self.several:
            return
        seat.health.failed(now, why, down=False)
        if seat is self._listened:
            self.renew(why)  # who answers wrongly notifies wrongly

    def renew(self, why: str) -> None:
        self._listened.socket.failed(asyncio.get_running_loop().time(), why)
        self._listened.told.drop(why)

    async def subscribe(self, method: str, params: Sequence[Json]) -> Subscription:
        if not self.several:
            return await self._seats[0].told.subscribe(method, params)
        await self._vote()
        first: EndpointDown | None = None
        for seat in self._listening_order():
            asked_at = asyncio.get_running_loop().time()
            try:
                await self._verify_chain(seat)
                subscription = await seat.told.subscribe(method, params)
            except (EndpointDown, RateLimited) as error:
                now = asyncio.get_running_loop().time()
                seat.socket.failed(now, str(error), asked_at=asked_at)
                first = first or EndpointDown(str(error))
                continue
            seat.socket.succeeded(asyncio.get_running_loop().time())
            self._listened = seat
            return subscription
        assert first is not None
        raise first

    async def close(self) -> None:
        for seat in self._seats:
            await seat.told.close()
            await seat.asked.close()

    # --- whom to ask ---

    def _order(self) -> list[_Seat]:
        """The operator's order; those that are left alone come last, as nobody else may answer."""
        now = asyncio.get_running_loop().time()
        seats = [seat for seat in self._seats if not seat.health.other_chain]
        return sorted(seats, key=lambda s: (s.health.rests(now), s.health.rest_ends() if s.health.rests(now) else 0))

    def _listening_order(self) -> list[_Seat]:
        """The connection that stands, then the operator's order; those that are left alone come last."""
        now = asyncio.get_running_loop().time()
        seats = [seat for seat in self._seats if not seat.health.other_chain]
        return sorted(
            seats,
            key=lambda s: (s.socket.rests(now) or s.health.rests(now), not (s is self._listened and s.told.connected)),
        )

    async def _ask(self, seat: _Seat, method: str, params: Sequence[Json], max_bytes: int = DEFAULT_MAX_BYTES) -> Json:
        """One request to one endpoint, which is left alone for a while when it fails."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        try:
            await self._verify_chain(seat)
            result = await seat.asked.request(method, params, max_bytes=max_bytes)
            _verify_slot(seat, params, result)
        except RpcFault:
            raise  # this method, or this request: it says nothing of others
        except (EndpointDown, RateLimited) as error:
            pause_s = error.retry_after_s or 0.0
            seat.health.failed(loop.time(), str(error), asked_at=asked_at, at_least_s=pause_s)
            raise
        seat.health.succeeded(loop.time())
        return result

    async def _ask_all(
        self, seats: Sequence[_Seat], method: str, params: Sequence[Json]
    ) -> tuple[dict[int, Json], list[EndpointDown | RateLimited | RpcRefused]]:
        """The answers by place, and what those said who gave none."""
        told = await asyncio.gather(*(self._ask(seat, method, params) for seat in seats), return_exceptions=True)
        answers: dict[int, Json] = {}
        errors: list[EndpointDown | RateLimited | RpcRefused] = []
        for seat, answer in zip(seats, told, strict=True):
            if isinstance(answer, EndpointDown | RateLimited | RpcRefused):
                errors.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                answers[seat.place] = answer
        return answers, errors

    async def _send_everywhere(self, method: str, params: Sequence[Json]) -> Json:
        """To each endpoint that is well, in case one takes transactions and passes none on."""
        now = asyncio.get_running_loop().time()
        seats = [seat for seat in self._order() if not seat.health.rests(now)] or self._order()
        answers, errors = await self._ask_all(seats, method, params)
        if not answers:
            raise errors[0]
        return next(iter(answers.values()))

    # --- whom to believe ---

    async def _vote(self) -> None:
        """Once: which chain it is."""
        if self._genesis is not None:
            return
        async with self._voting:
            if self._genesis is not None:
                return
            asking = [asyncio.create_task(self._learn_chain(seat)) for seat in self._seats]
            try:
                await asyncio.wait(asking, timeout=VOTE_S)
            finally:
                for task in asking:
                    task.cancel()
                await asyncio.gather(*asking, return_exceptions=True)
            self._genesis = chosen_chain([seat.health.genesis for seat in self._seats])
            for seat in self._seats:
                self._judge_chain(seat)

    async def _learn_chain(self, seat: _Seat) -> None:
        if seat.health.genesis is None:
            seat.health.genesis = str(await seat.asked.request("getGenesisHash", []))[:44]

    def _judge_chain(self, seat: _Seat) -> None:
        genesis = seat.health.genesis
        if genesis is None or self._genesis is None or genesis == self._genesis:
            return
        why = (
            f"The endpoint {seat.asked.name} serves another chain (genesis {genesis}) than the others "
            f"({self._genesis}): remove it from SOLANA_RPC_URL."
        )
        seat.health.failed(asyncio.get_running_loop().time(), why, down=False)
        seat.health.other_chain = True

    async def _verify_chain(self, seat: _Seat) -> None:
        """For those that didn't vote. Raises EndpointDown: another chain."""
        await self._learn_chain(seat)
        self._genesis = self._genesis or seat.health.genesis
        self._judge_chain(seat)
        if seat.health.other_chain:
            raise EndpointDown(f"The endpoint {seat.asked.name} serves another chain: remove it from SOLANA_RPC_URL.")

    async def _notice_stall(self, seat: _Seat, result: Json) -> None:
        """Compares with the others when an endpoint's slot stands still. Raises EndpointBehind: it is frozen."""
        slot, now = _slot(result), asyncio.get_running_loop().time()
        if slot is not None and now < self._agreed_until and slot < self._agreed_slot - MAX_LAG_SLOTS:
            why = f"The endpoint {seat.asked.name} is still at slot {slot}, others were at {self._agreed_slot} before."
            self.leave_out(seat.place, why)
            raise EndpointBehind(why)
        if slot is None or not seat.health.saw(slot, now) or now < self._compare_at:
            return
        self._compare_at = now + COMPARE_APART_S
        others = [other for other in self._seats if not other.health.gone(now)]
        answers, _ = await self._ask_all(others, "getSlot", [{"commitment": "confirmed"}])
        if seat.place in self._weigh({place: slot for place, slot in answers.items() if isinstance(slot, int)}):
            raise EndpointBehind(f"The endpoint {seat.asked.name} stands still at slot {slot}: another one is asked.")

    def _weigh(self, slots: dict[int, int]) -> frozenset[int]:
        """Leaves out those that are behind the others or far ahead of them."""
        odd = odd_slots(slots)
        for place in odd:
            others = max(slot for other, slot in slots.items() if other not in odd)
            name = self._seats[place].asked.name
            self.leave_out(place, f"The endpoint {name} is at slot {slots[place]}, others are at {others}.")
        if odd:
            self._agreed_slot = max(slot for place, slot in slots.items() if place not in odd)
            self._agreed_until = asyncio.get_running_loop().time() + AGREED_S
        return odd


def _slot(result: Json) -> int | None:
    slot = json_object(json_object(result).get("context")).get("slot")
    return slot if type(slot) is int else None


def _verify_slot(seat: _Seat, params: Sequence[Json], result: Json) -> None:
    """Raises EndpointBehind for an answer from before the slot that was asked for."""
    wanted = json_object(params[-1]).get("minContextSlot", 0) if params else 0
    slot = _slot(result)
    if slot is not None and slot < wanted:
        raise EndpointBehind(f"The endpoint {seat.asked.name} answers from slot {slot}, slot {wanted} was asked for.")
