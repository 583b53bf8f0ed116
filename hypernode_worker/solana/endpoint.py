"""One JSON-RPC endpoint over HTTP: paced, timed, counted, its troubles told in one sentence each."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx2

from hypernode_worker.errors import ConfigError, EndpointDown, RateLimited
from hypernode_worker.solana.http_provider import (
    BoundedHttpProvider,
    Busy,
    Refused,
    RpcRequest,
    TooLarge,
    read_answer,
)
from hypernode_worker.solana.pace import Pace, jittered
from hypernode_worker.solana.transport import DEFAULT_MAX_BYTES, Json

FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0


def endpoint_name(url: str) -> str:
    """Scheme, host and port: the rest of an endpoint's URL often holds a key.

    Raises:
        ConfigError: not a URL of http, https, ws or wss.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"The RPC URL with host {parts.hostname!r} has an invalid port: correct it.") from error
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ConfigError(
            "The RPC URL is no http, https, ws or wss address: set it to one like https://api.devnet.solana.com."
        )
    return f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")


class Endpoint:
    """Requests to one URL.

    Args:
        timeout_s: bound of one request altogether: pauses asked for by the endpoint and repeats included.
        requests_per_s: None for no limit of ours.
    """

    def __init__(self, url: str, *, timeout_s: float, requests_per_s: float | None, calls: Counter[str]) -> None:
        self.name = endpoint_name(url)
        self._provider = BoundedHttpProvider(url, timeout_s=timeout_s)
        self._timeout_s = timeout_s
        self._pace = Pace(requests_per_s)
        self._calls = calls
        self._ids = itertools.count(1)

    async def request(self, method: str, params: Sequence[Json], *, max_bytes: int = DEFAULT_MAX_BYTES) -> Json:
        """See Transport.request."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        pause_s = FIRST_PAUSE_S
        stale = False
        while True:
            await self._wait_turn(deadline)
            request = RpcRequest(next(self._ids), method, tuple(params), max_bytes)
            try:
                return read_answer(await self._post(request, deadline), request.id, method, self.name)
            except Busy as busy:
                self._pause(busy.retry_after_s if busy.retry_after_s is not None else jittered(pause_s))
                pause_s = min(pause_s * 2, MAX_PAUSE_S)
            except (httpx2.RemoteProtocolError, httpx2.ReadError) as error:
                # A kept-alive connection that the endpoint closed meanwhile: once more on a fresh one.
                if stale:
                    raise self._down(method, error) from error
                stale = True

    async def _wait_turn(self, deadline: float) -> None:
        now = asyncio.get_running_loop().time()
        wait_s = self._pace.wait_s(now)
        if now + wait_s > deadline:
            self._pace.give_back()
            raise RateLimited(
                f"The endpoint {self.name} allows no more requests for {wait_s:.0f} s: "
                "wait, or use one with a higher limit.",
                retry_after_s=wait_s,
            )
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _pause(self, seconds: float) -> None:
        self._pace.pause_until(asyncio.get_running_loop().time() + seconds)

    async def _post(self, request: RpcRequest, deadline: float) -> str:
        self._calls[request.method] += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await self._provider.make_request_unparsed(request)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise EndpointDown(
                f"The endpoint {self.name} didn't answer {request.method} within {self._timeout_s:g} s: "
                "check the network or use another endpoint."
            ) from error
        except Refused as error:
            raise EndpointDown(
                f"The endpoint {self.name} answered {request.method} with HTTP status {error.status}: "
                "check SOLANA_RPC_URL and its key, or use another endpoint."
            ) from error
        except TooLarge as error:
            raise EndpointDown(
                f"The endpoint {self.name} answered {request.method} with more than {request.max_bytes} bytes, or "
                "compressed: its answer was dropped; use another endpoint."
            ) from error
        except (httpx2.RemoteProtocolError, httpx2.ReadError):
            raise
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise self._down(request.method, error) from error

    def _down(self, method: str, error: Exception) -> EndpointDown:
        return EndpointDown(
            f"The endpoint {self.name} can't be reached for {method} ({type(error).__name__}): "
            "check SOLANA_RPC_URL and the network."
        )

    async def close(self) -> None:
        await self._provider.close()
