"""The Transport over the network: one endpoint or several of one chain, and one WebSocket."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from hypernode_worker.errors import ConfigError, EndpointDown, RateLimited
from hypernode_worker.solana.endpoint import Endpoint, endpoint_name
from hypernode_worker.solana.subscription import Socket
from hypernode_worker.solana.transport import DEFAULT_MAX_BYTES, Json, Subscription

REMOTE_REQUESTS_PER_S = 10.0
"""Our own limit where the endpoint isn't on this machine; public endpoints ban addresses above 40 in 10 s."""
BACK_TO_FIRST_S = 60.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def derive_ws_url(rpc_url: str) -> str:
    """The WebSocket URL that goes with an RPC URL by Solana's convention: the next port where one is given."""
    endpoint_name(rpc_url)
    parts = urlsplit(rpc_url)
    host = parts.netloc
    if parts.port is not None:
        host = host[: host.rindex(":")] + f":{parts.port + 1}"
    scheme = "wss" if parts.scheme in ("https", "wss") else "ws"
    return urlunsplit((scheme, host, parts.path, parts.query, ""))


class NetworkTransport:
    """See transport.Transport.

    The first endpoint is the preferred one. When it fails the others are asked in order, and the one that answered is
    kept for a minute. An endpoint of another chain than the first's is never used: its genesis hash is asked for once.
    """

    def __init__(
        self,
        rpc_urls: Sequence[str],
        *,
        ws_url: str | None = None,
        timeout_s: float = 15.0,
        requests_per_s: float | None = None,
    ) -> None:
        if not rpc_urls:
            raise ConfigError("There is no RPC URL: set SOLANA_RPC_URL.")
        self._calls: Counter[str] = Counter()
        self._endpoints = [
            Endpoint(url, timeout_s=timeout_s, requests_per_s=_limit(url, requests_per_s), calls=self._calls)
            for url in rpc_urls
        ]
        self._socket = Socket(ws_url or derive_ws_url(rpc_urls[0]), timeout_s=timeout_s, calls=self._calls)
        self._current = 0
        self._back_at = 0.0
        self._genesis: dict[int, str] = {}

    @property
    def name(self) -> str:
        return self._endpoints[self._current].name

    @property
    def calls(self) -> Counter[str]:
        return self._calls

    @property
    def connected(self) -> bool:
        return self._socket.connected

    async def request(self, method: str, params: Sequence[Json], *, max_bytes: int = DEFAULT_MAX_BYTES) -> Json:
        now = asyncio.get_running_loop().time()
        if self._current and now >= self._back_at:
            self._current = 0
        count = len(self._endpoints)
        first: EndpointDown | RateLimited | None = None
        for step in range(count):
            index = (self._current + step) % count
            try:
                if count > 1:
                    await self._verify_chain(index)
                result = await self._endpoints[index].request(method, params, max_bytes=max_bytes)
            except (EndpointDown, RateLimited) as error:
                first = first or error
                continue
            if step:
                self._current, self._back_at = index, asyncio.get_running_loop().time() + BACK_TO_FIRST_S
            return result
        assert first is not None
        raise first

    async def _verify_chain(self, index: int) -> None:
        """Refuses an endpoint of another chain than the first that was seen."""
        if index not in self._genesis:
            self._genesis[index] = str(await self._endpoints[index].request("getGenesisHash", []))
        seen = next(iter(self._genesis.values()))
        if self._genesis[index] != seen:
            raise EndpointDown(
                f"The endpoint {self._endpoints[index].name} serves another chain (genesis "
                f"{self._genesis[index][:44]}) than the others ({seen[:44]}): remove it from SOLANA_RPC_URL."
            )

    async def subscribe(self, method: str, params: Sequence[Json]) -> Subscription:
        return await self._socket.subscribe(method, params)

    async def close(self) -> None:
        await self._socket.close()
        for endpoint in self._endpoints:
            await endpoint.close()


def _limit(url: str, requests_per_s: float | None) -> float | None:
    if requests_per_s is not None:
        return requests_per_s
    return None if urlsplit(url).hostname in _LOOPBACK else REMOTE_REQUESTS_PER_S
