"""Solana's PubSub over one shared WebSocket: opened when first needed, watched by pings, reopened by the next use.

solana-py's own WebSocket client isn't used: it never reconnects, parses every notification into solders' objects, and
panics on some errors. Here notifications stay plain JSON, bounded in size and in number.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from hypernode_worker.errors import EndpointDown
from hypernode_worker.solana.endpoint import endpoint_name
from hypernode_worker.solana.http_provider import Busy, read_answer
from hypernode_worker.solana.pace import jittered
from hypernode_worker.solana.transport import Json, json_object

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

PING_INTERVAL_S = 8.0
PING_TIMEOUT_S = 8.0
"""A dead connection is noticed after at most the two together."""
MAX_MESSAGE_BYTES = 1 << 18
MAX_WAITING = 2048
_ONE_SHOT = "signatureSubscribe"
FIRST_RETRY_S = 1.0
MAX_RETRY_S = 30.0


class Connection(Protocol):
    """What subscriptions come over."""

    def forget(self, subscription: SocketSubscription, unsubscribe: str) -> None:
        """Ends a subscription at the endpoint too, without waiting for its answer."""
        ...


class SocketSubscription:
    """Notifications of one subscription, in order. See transport.Subscription."""

    def __init__(self, connection: Connection, method: str) -> None:
        self.id: int | None = None
        self._connection = connection
        self.method = method
        self._waiting: deque[Json] = deque()
        self._ready = asyncio.Event()
        self._ended: EndpointDown | None = None

    async def next(self) -> Json:
        while not self._waiting:
            if self._ended is not None:
                raise self._ended
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()

    def put(self, result: Json) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.clear()
            self.end(EndpointDown(f"More than {MAX_WAITING} notifications of {self.method} waited: it begins anew."))
            self.close()
            return
        self._waiting.append(result)
        self._ready.set()

    def end(self, error: EndpointDown) -> None:
        self._ended = self._ended or error
        self._ready.set()

    def close(self) -> None:
        self.end(EndpointDown(f"The subscription by {self.method} was closed."))
        self._connection.forget(self, self.method.replace("Subscribe", "Unsubscribe"))


class Socket:
    """Many subscriptions over one WebSocket connection."""

    def __init__(self, url: str, *, timeout_s: float, calls: Counter[str]) -> None:
        self.name = endpoint_name(url)
        self._url = url
        self._timeout_s = timeout_s
        self._calls = calls
        self._ids = itertools.count(1)
        self._connecting = asyncio.Lock()
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: dict[int, tuple[asyncio.Future[Json], SocketSubscription]] = {}
        self._subscriptions: dict[int, SocketSubscription] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._retry_s = FIRST_RETRY_S
        self._not_before = 0.0
        self._trouble = "isn't connected"
        self._closed = False

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def subscribe(self, method: str, params: Sequence[Json]) -> SocketSubscription:
        """See Transport.subscribe."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._subscribe(method, params)
        except TimeoutError as error:
            raise self._down(f"didn't confirm {method} within {self._timeout_s:g} s") from error

    async def _subscribe(self, method: str, params: Sequence[Json]) -> SocketSubscription:
        connection = await self._connect()
        subscription = SocketSubscription(self, method)
        request_id = next(self._ids)
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = (answer, subscription)
        self._calls[method] += 1
        try:
            await self._send(connection, {"jsonrpc": "2.0", "id": request_id, "method": method, "params": list(params)})
            await answer
        except BaseException:
            subscription.close()
            raise
        finally:
            self._answers.pop(request_id, None)
        return subscription

    async def _send(self, connection: ClientConnection, message: Json) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await connection.send(json.dumps(message))
        except ConnectionClosed as error:
            raise self._down("closed the connection") from error

    async def _connect(self) -> ClientConnection:
        async with self._connecting:
            if self._connection is not None:
                return self._connection
            now = asyncio.get_running_loop().time()
            if self._closed or now < self._not_before:
                raise self._down(self._trouble)
            # Set first: a connection that can't be made, or is lost at once, isn't tried again in a tight loop.
            self._not_before = now + jittered(self._retry_s)
            self._retry_s = min(self._retry_s * 2, MAX_RETRY_S)
            self._connection = await self._open()
            self._reader = asyncio.create_task(self._read(self._connection), name=f"read {self.name}")
            return self._connection

    async def _open(self) -> ClientConnection:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        try:
            return await connect(
                self._url,
                open_timeout=self._timeout_s,
                close_timeout=1.0,
                ping_interval=PING_INTERVAL_S,
                ping_timeout=PING_TIMEOUT_S,
                max_size=MAX_MESSAGE_BYTES,
                compression=None,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            self._trouble = f"can't be reached ({type(error).__name__})"
            raise self._down(self._trouble) from error

    async def _read(self, connection: ClientConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            async for message in connection:
                self._retry_s = FIRST_RETRY_S
                if not self._dispatch(message):
                    break
        except ConnectionClosed:
            pass  # by the endpoint, the network or the missing answer to a ping
        finally:
            if self._connection is connection:
                self._trouble = "closed the connection or fell silent"
                self._lose(self._down(self._trouble))
            with contextlib.suppress(Exception):
                await connection.close()

    def _dispatch(self, message: str | bytes) -> bool:
        """Hands one message on; False for nonsense, after which nothing on this connection is trusted."""
        try:
            envelope = json.loads(message)
        except (ValueError, RecursionError):
            return False
        envelope = json_object(envelope)
        if not envelope:
            return False
        if "method" in envelope:
            return self._notify(envelope.get("params"))
        request_id = envelope.get("id")
        waiting = self._answers.get(request_id) if isinstance(request_id, int) else None
        if waiting is None or not isinstance(request_id, int):
            return True  # the answer to an unsubscribe, or to a request given up
        answer, subscription = waiting
        if answer.done():
            return True
        try:
            result = read_answer(message, request_id, "a subscription", self.name)
        except Busy:
            answer.set_exception(self._down("allows no more subscriptions"))
        except Exception as error:  # noqa: BLE001 -- every refusal goes to the one who asked
            answer.set_exception(error)
        else:
            if not isinstance(result, int):
                return False
            # Registered here and not by the waiter: the next message may already be its first notification.
            subscription.id = result
            self._subscriptions[result] = subscription
            answer.set_result(result)
        return True

    def _notify(self, params: Json) -> bool:
        params = json_object(params)
        subscription_id = params.get("subscription")
        if "result" not in params or not isinstance(subscription_id, int):
            return False
        subscription = self._subscriptions.get(subscription_id)
        if subscription is not None:
            subscription.put(params["result"])
            if subscription.method == _ONE_SHOT:
                del self._subscriptions[subscription_id]  # the endpoint ends these itself
        return True

    def _lose(self, error: EndpointDown) -> None:
        self._connection = None
        for answer, _ in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        for subscription in list(self._subscriptions.values()):
            subscription.end(error)
        self._subscriptions.clear()

    def drop(self, why: str) -> None:
        """Ends the connection and all its subscriptions; the next use opens another."""
        reader, self._reader = self._reader, None
        if self._connection is None or reader is None:
            return
        self._trouble = why
        self._lose(self._down(why))
        # The reader closes the connection on its way out; a slow goodbye must not hold anyone up.
        reader.cancel()
        self._telling.add(reader)
        reader.add_done_callback(self._telling.discard)

    def forget(self, subscription: SocketSubscription, unsubscribe: str) -> None:
        """See Connection."""
        if (
            subscription.id is None
            or self._subscriptions.pop(subscription.id, None) is None
            or self._connection is None
        ):
            return
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": unsubscribe, "params": [subscription.id]}
        task = asyncio.create_task(self._tell(self._connection, message), name=unsubscribe)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, connection: ClientConnection, message: Json) -> None:
        with contextlib.suppress(EndpointDown):
            await self._send(connection, message)

    def _down(self, what: str) -> EndpointDown:
        return EndpointDown(f"The endpoint {self.name} {what}: check the WebSocket URL and the network.")

    async def close(self) -> None:
        self._closed = True
        reader, self._reader = self._reader, None
        for task in (*self._telling, *((reader,) if reader else ())):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
