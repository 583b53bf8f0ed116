"""The Transport over the network: one endpoint or several of one chain, each with a WebSocket of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from hypernode_worker.solana.endpoint import Endpoint, endpoint_name
from hypernode_worker.solana.failover import FailoverTransport
from hypernode_worker.solana.subscription import Socket

REMOTE_REQUESTS_PER_S = 10.0
"""Our own limit where the endpoint isn't on this machine; public endpoints ban addresses above 40 in 10 s."""
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


class NetworkTransport(FailoverTransport):
    """See transport.Transport.

    Args:
        ws_url: PubSub of the first endpoint; None derives it as Solana's tools do, as it is for the others.
    """

    def __init__(
        self,
        rpc_urls: Sequence[str],
        *,
        ws_url: str | None = None,
        timeout_s: float = 15.0,
        requests_per_s: float | None = None,
    ) -> None:
        calls: Counter[str] = Counter()
        ws_urls = [(ws_url if i == 0 else None) or derive_ws_url(url) for i, url in enumerate(rpc_urls)]
        super().__init__(
            [
                (
                    Endpoint(url, timeout_s=timeout_s, requests_per_s=_limit(url, requests_per_s), calls=calls),
                    Socket(ws, timeout_s=timeout_s, calls=calls),
                )
                for url, ws in zip(rpc_urls, ws_urls, strict=True)
            ],
            calls,
        )


def _limit(url: str, requests_per_s: float | None) -> float | None:
    if requests_per_s is not None:
        return requests_per_s
    return None if urlsplit(url).hostname in _LOOPBACK else REMOTE_REQUESTS_PER_S
