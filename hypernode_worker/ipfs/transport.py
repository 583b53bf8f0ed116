"""HTTP as this package uses it: bounded answers, no redirects by itself, no decompression, our errors."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from hypernode_worker.errors import ConfigError, ContentTooLarge, EndpointDown, RateLimited

if TYPE_CHECKING:
    import httpx2

JSON_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 10.0
UPLOAD_IDLE_S = 120.0
"""An upload has no end by the clock; it ends when nothing moves for this long."""
_MAX_RETRY_AFTER_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server of the operator's choice. `url` has no credentials and no slash at its end; `label` is for people."""

    url: str
    label: str
    host: str
    authorization: str | None


def parse_endpoint(text: str, setting: str) -> Endpoint:
    """Reads an http(s) URL. Credentials in it become a header. Raises ConfigError, which doesn't repeat them."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise ConfigError(f"{setting} is not a URL that can be read; write it as https://HOST[:PORT].") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{setting} must be an http or https URL, such as https://HOST[:PORT].")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = basic(pair)
    return Endpoint(origin + parts.path.rstrip("/"), origin, parts.hostname, authorization)


def basic(pair: str) -> str:
    """The header's value for 'USER:PASSWORD'."""
    return "Basic " + base64.b64encode(pair.encode()).decode()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, no longer than was allowed. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def retry_after_s(self) -> float | None:
        """Retry-After in seconds, within reason; None when absent or a date."""
        text = self.headers.get("retry-after", "")
        return min(float(text), _MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() else None


class Transport:
    """One HTTP client, made at the first call (in a thread: it reads certificates)."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None
        self._making = asyncio.Lock()

    async def request(
        self,
        method: str,
        url: str,
        *,
        label: str,
        max_bytes: int,
        timeout_s: float | None,
        headers: Mapping[str, str] | None = None,
        content: AsyncIterable[bytes] | None = None,
        server_name: str | None = None,
    ) -> Reply:
        """One request, its answer read to the end.

        Args:
            label: the server's name in messages.
            timeout_s: for all of it; None: as long as bytes move (UPLOAD_IDLE_S).
            server_name: whom the certificate must name, where the URL holds an address.

        Raises:
            EndpointDown: it can't be reached, is slow, or doesn't speak HTTP.
            ContentTooLarge: the answer is longer than `max_bytes`.
        """
        client = await self._get()
        import httpx2

        extensions = {"sni_hostname": server_name} if server_name else {}
        try:
            async with asyncio.timeout(timeout_s):
                async with client.stream(
                    method, url, headers=dict(headers or {}), content=content, extensions=extensions
                ) as response:
                    body = await _bounded(response, label, max_bytes)
                    found = {name.lower(): value for name, value in response.headers.items()}
                    return Reply(response.status_code, found, body)
        except TimeoutError as error:
            raise EndpointDown(f"{label} didn't answer within {timeout_s:g} s; try again later.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, UnicodeError) as error:
            reason = str(error) or type(error).__name__
            raise EndpointDown(f"{label} can't be reached or breaks off ({reason[:200]}); check it.") from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _get(self) -> httpx2.AsyncClient:
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(_make_client)
            return self._client


def _make_client() -> httpx2.AsyncClient:
    import httpx2

    return httpx2.AsyncClient(
        follow_redirects=False,
        headers={"user-agent": "hypernode-worker", "accept-encoding": "identity"},
        timeout=httpx2.Timeout(UPLOAD_IDLE_S, connect=CONNECT_TIMEOUT_S),
        limits=httpx2.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=30.0),
    )


async def _bounded(response: httpx2.Response, label: str, max_bytes: int) -> bytes:
    """The body as it came over the wire: nothing is unpacked, so nothing can unfold."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise ContentTooLarge(f"{label} answered more than {max_bytes} bytes; the answer was dropped.")
    return bytes(body)


def refuse(reply: Reply, label: str, credentials: str) -> None:
    """Raises for the statuses that mean one thing everywhere. `credentials`: the setting that holds them."""
    if reply.status in (401, 403):
        raise ConfigError(f"{label} refuses the credentials (HTTP {reply.status}); check {credentials}.")
    if reply.status == 429:
        raise RateLimited(f"{label} asks for fewer requests (HTTP 429).", retry_after_s=reply.retry_after_s())
    if reply.status >= 500:
        raise EndpointDown(f"{label} has trouble (HTTP {reply.status}); try again later.")
