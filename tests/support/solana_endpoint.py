"""An RPC endpoint over real sockets with a real chain behind it, that can be told to misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from aiohttp import WSMsgType, web

from hypernode_worker.localnet import Bank, Rpc, Subscriptions
from hypernode_worker.solana.artifact import program_elf
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID

START = 1_700_000_000

Reply = web.StreamResponse | dict[str, Any]
Fault = Callable[[dict[str, Any]], "Reply | None"]


class Endpoint:
    """HTTP and WebSocket on one port of loopback.

    Attributes:
        fault: sees each request first; what it returns (not None) is the answer: a response, or a JSON-RPC envelope.
        rewrite: changes the real answer's envelope before it is sent.
        delay_s: before each HTTP answer.
        silent: WebSocket connections neither answer pings nor send anything.
        requests: what was asked over HTTP, in order.
    """

    def __init__(self, bank: Bank | None = None) -> None:
        self.bank = bank or Bank(programs={LOCALNET_PROGRAM_ID: program_elf()}, unix_time=START)
        self.fault: Fault | None = None
        self.rewrite: Callable[[str, dict[str, Any]], None] | None = None
        self.delay_s = 0.0
        self.silent = False
        self.refuse_sockets = False
        self.requests: list[dict[str, Any]] = []
        self._rpc = Rpc(self.bank)
        self._subscriptions = Subscriptions(self.bank)
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1/secret-api-key"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/v1/secret-api-key"

    def asked(self, method: str) -> int:
        return sum(request["method"] == method for request in self.requests)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
        self._subscriptions.detach()

    async def start(self) -> None:
        """Listens; after `stop` on the same port again."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Closes the port and all connections."""
        await self.drop_sockets()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def drop_sockets(self) -> None:
        for socket in tuple(self._sockets):
            await socket.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_socket(request)
        body = await request.read()
        asked: dict[str, Any] = json.loads(body)
        self.requests.append(asked)
        await asyncio.sleep(self.delay_s)
        reply = self.fault(asked) if self.fault is not None else None
        if isinstance(reply, web.StreamResponse):
            return reply
        if reply is None:
            reply = json.loads(self._rpc.answer(body))
            assert reply is not None
            if self.rewrite is not None:
                self.rewrite(asked["method"], reply)
        return web.json_response(reply)

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_sockets:
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=not self.silent)
        await socket.prepare(request)
        self._sockets.add(socket)
        outbox: asyncio.Queue[str] = asyncio.Queue()
        connection = self._subscriptions.connect(outbox.put_nowait)
        sender = asyncio.create_task(self._send(socket, outbox))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    connection.receive(message.data)
        finally:
            connection.close()
            self._sockets.discard(socket)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        return socket

    @staticmethod
    async def _send(socket: web.WebSocketResponse, outbox: asyncio.Queue[str]) -> None:
        while True:
            await socket.send_str(await outbox.get())


def failed(request: dict[str, Any], code: int, message: str = "no", data: Any = None) -> dict[str, Any]:
    """A JSON-RPC error envelope, without `data` where it is None."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": request["id"], "error": error}
