"""An endpoint between a worker and a chain that fails now and then, by a seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

SHARE = 0.06
"""Of all requests."""
SLOW_S = 1.5


class FaultyEndpoint:
    """Passes JSON-RPC on to a chain. `faults` counts what it did instead; `url` is where it listens."""

    def __init__(self, rpc_url: str, seed: int) -> None:
        self._rpc_url = rpc_url
        self._chance = random.Random(seed)
        self._http: aiohttp.ClientSession
        self.faults: Counter[str] = Counter()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except ConnectionError:  # of a worker that was killed
            return web.Response(status=400)
        if self._chance.random() < SHARE:
            kind = self._chance.choice(("429", "503", "slow", "cut off", "answered and cut off"))
            self.faults[kind] += 1
            match kind:
                case "429":
                    return web.Response(status=429, headers={"Retry-After": "1"})
                case "503":
                    return web.Response(status=503)
                case "slow":
                    await asyncio.sleep(SLOW_S)
                case "answered and cut off":  # what was sent may have landed
                    await self._ask(body)
                    return self._cut(request)
                case _:
                    return self._cut(request)
        return web.Response(body=await self._ask(body), content_type="application/json")

    async def _ask(self, body: bytes) -> bytes:
        async with self._http.post(self._rpc_url, data=body, headers={"Content-Type": "application/json"}) as said:
            return await said.read()

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[FaultyEndpoint]:
        app = web.Application()
        app.router.add_post("/", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        async with aiohttp.ClientSession() as self._http:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                await runner.cleanup()
