"""The localnet's HTTP and WebSocket server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection

from aiohttp import WSCloseCode, WSMsgType, web

from hypernode_worker.localnet.access import host_is_allowed, origin_is_allowed
from hypernode_worker.localnet.rpc.dispatcher import Rpc
from hypernode_worker.localnet.subscriptions import Subscriptions

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
"""The largest request; aiohttp's low-level server enforces it."""
MAX_CONNECTIONS = 1_000
"""WebSocket clients at the same time."""
MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""Messages that wait for one slow WebSocket client; past it the client is cut off."""
_MAX_WS_MESSAGE_BYTES = 256 * 1024
_HEARTBEAT_S = 30.0
_METHODS = "OPTIONS, POST"


class Server:
    """Answers HTTP requests by the Rpc and WebSocket messages by the Subscriptions.

    Args:
        allowed_hosts: host names, beside loopback, under which the server may be addressed and whose pages
            may call it.
    """

    def __init__(self, rpc: Rpc, subscriptions: Subscriptions, allowed_hosts: Collection[str] = ()) -> None:
        self._rpc = rpc
        self._subscriptions = subscriptions
        self._allowed = frozenset(name.lower() for name in allowed_hosts)
        self._sockets: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One HTTP request, or a whole WebSocket connection."""
        if not host_is_allowed(request.headers.get("Host"), self._allowed):
            return _refuse("This host name is not served: use 127.0.0.1 or localhost.")
        origin = request.headers.get("Origin")
        if not origin_is_allowed(origin, self._allowed):
            return _refuse("Pages of this origin may not use this chain.")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_socket(request)
        response = await self._serve_http(request)
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        return response

    async def close(self) -> None:
        """Says goodbye to every WebSocket client."""
        for socket in tuple(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the localnet stops")

    async def _serve_http(self, request: web.BaseRequest) -> web.Response:
        match request.method:
            case "POST":
                if request.content_type != "application/json":
                    text = "Supplied content type is not allowed. Content-Type: application/json is required\n"
                    return web.Response(status=415, text=text)
                try:
                    answer = self._rpc.answer(await request.read())
                except ConnectionError:  # a client that was killed: nobody is there to be answered
                    return web.Response(status=400)
                return web.Response(text=answer, content_type="application/json")
            case "OPTIONS":
                wanted = request.headers.get("Access-Control-Request-Headers", "content-type")
                headers = {
                    "Allow": _METHODS,
                    "Access-Control-Allow-Methods": _METHODS,
                    "Access-Control-Allow-Headers": wanted,
                    "Access-Control-Max-Age": "86400",
                }
                return web.Response(headers=headers)
            case "GET" if request.path == "/health":
                return web.Response(text="ok")
            case _:
                text = "Used HTTP Method is not allowed. POST or OPTIONS is required\n"
                return web.Response(status=405, text=text)

    async def _serve_socket(self, request: web.BaseRequest) -> web.StreamResponse:
        if len(self._sockets) >= MAX_CONNECTIONS:
            return web.Response(status=503, text=f"There are {MAX_CONNECTIONS} WebSocket clients already.\n")
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=_MAX_WS_MESSAGE_BYTES, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        transport = request.transport
        outbox = _Outbox(socket, transport.abort if transport is not None else lambda: None)
        connection = self._subscriptions.connect(outbox.put)
        sender = asyncio.create_task(outbox.run(), name="localnet-ws-sender")
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    connection.receive(message.data)
        finally:
            connection.close()
            self._sockets.discard(socket)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        return socket


class _Outbox:
    """Messages on their way to one WebSocket client. Bounded: a client that doesn't read is cut off.

    Args:
        abort: ends the connection at once.
    """

    def __init__(self, socket: web.WebSocketResponse, abort: Callable[[], None]) -> None:
        self._socket = socket
        self._abort = abort
        self._waiting: list[str] = []
        self._bytes = 0
        self._wake = asyncio.Event()

    def put(self, text: str) -> None:
        """Queues a message; never blocks."""
        if self._bytes > MAX_BACKLOG_BYTES:
            return
        self._bytes += len(text)
        if self._bytes > MAX_BACKLOG_BYTES:
            _log.warning("A WebSocket client left %d bytes unread and was cut off", self._bytes)
            self._waiting.clear()
            # It doesn't read, so no farewell would arrive.
            self._abort()
            return
        self._waiting.append(text)
        self._wake.set()

    async def run(self) -> None:
        """Sends what is queued, in order, until the client is gone."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self._wake.wait()
                self._wake.clear()
                texts, self._waiting = self._waiting, []
                for text in texts:
                    await self._socket.send_str(text)
                    self._bytes -= len(text)


def _refuse(text: str) -> web.Response:
    return web.Response(status=403, text=text + "\n")
