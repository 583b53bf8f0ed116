"""The seam between the client and the wire: JSON-RPC requests and subscriptions, as a Protocol.

The network's side is `network.py`; tests put an in-process chain here, so that hours pass in virtual time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from hypernode_worker.core.ports import EndpointState
from hypernode_worker.errors import EndpointDown, PermanentError

Json = Any
"""What `json.loads` gave: strangers' input, whose shape is checked where it is read."""

JsonObject = dict[str, Any]

DEFAULT_MAX_BYTES = 1 << 20
"""Bound of an answer, where the caller expects nothing large."""


def json_object(value: Json) -> JsonObject:
    """The value when it is an object, else an empty one: absent members and no object are read alike."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


class RpcRefused(PermanentError):
    """The endpoint understood the request and refused it with a JSON-RPC error.

    Attributes:
        code: the JSON-RPC error code, also where no library knows it.
        data: what came with it (the transaction's error and logs, for a refused transaction), or None.
    """

    def __init__(self, message: str, *, code: int, data: Json = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class RpcFault(EndpointDown):
    """The endpoint answered with an error object that says nothing against the request: it may work later."""


class EndpointBehind(EndpointDown):
    """The endpoint hasn't reached the slot that the request asked for, or answers from an older one."""


class EndpointsDisagree(EndpointDown):
    """Endpoints contradict each other and nothing says who is right, or the one to compare with doesn't answer."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one of several endpoints answered; `endpoint` is its place in the operator's order."""

    endpoint: int
    result: Json


class Subscription(Protocol):
    """One confirmed subscription. It ends by an error or by `close`."""

    async def next(self) -> Json:
        """The next notification's result. Raises EndpointDown once the connection is lost; cancelling loses nothing."""
        ...

    def close(self) -> None:
        """Lets go of it. May be repeated."""
        ...


class Transport(Protocol):
    """JSON-RPC to one chain, over one endpoint or several."""

    @property
    def name(self) -> str:
        """The endpoint now in use, for people; no secrets of its URL."""
        ...

    @property
    def calls(self) -> Counter[str]:
        """Requests sent so far, by method; subscriptions count too."""
        ...

    @property
    def connected(self) -> bool:
        """The subscription connection stands."""
        ...

    async def request(self, method: str, params: Sequence[Json], *, max_bytes: int = DEFAULT_MAX_BYTES) -> Json:
        """The `result` of one request, its answer bounded to max_bytes.

        Raises RpcRefused, EndpointDown (EndpointBehind), RateLimited.
        """
        ...

    @property
    def several(self) -> bool:
        """There is more than one endpoint: `opinions` may bring more than `request`."""
        ...

    async def opinions(self, method: str, params: Sequence[Json], *, confirmed: bool = False) -> Sequence[Opinion]:
        """The same question to every endpoint of this chain; those that lag or run far ahead are left out.

        Raises what `request` raises when none answered. With `confirmed`, EndpointsDisagree when only one of several
        did, unless the others haven't answered for long.
        """
        ...

    def leave_out(self, endpoint: int | None, why: str) -> None:
        """Leaves an endpoint alone for a while, longer each time; None: the one now in use. A lone one goes on."""
        ...

    def renew(self, why: str) -> None:
        """Drops the subscription connection, which stands but tells nothing; another endpoint's comes first then."""
        ...

    def states(self) -> tuple[EndpointState, ...]:
        """How each endpoint is doing, in the operator's order."""
        ...

    async def subscribe(self, method: str, params: Sequence[Json]) -> Subscription:
        """Returns once the endpoint has confirmed. Raises RpcRefused, EndpointDown."""
        ...

    async def close(self) -> None:
        """Ends the connections; subscriptions end with EndpointDown. May be repeated."""
        ...
