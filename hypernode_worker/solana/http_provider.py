"""solana-py's HTTP provider, made fit for endpoints that are slow, busy, broken or hostile.

What is wrong with the original for a worker that runs for months, and what is done about it here:
- its parsers turn unknown error codes into ints and panic on some errors without data: answers are read as plain JSON,
  `error` first (`read_answer`);
- it reads whatever it is sent: bodies are bounded while they stream, and only accepted uncompressed;
- it repeats a request after a transport error, so that a timeout doubles: it is told not to;
- HTTP 429 is an error like others to it: here it is `Busy`, with what Retry-After says.
"""

from __future__ import annotations

import email.utils
import json
import time
from dataclasses import dataclass
from typing import Any

import httpx2
from solana.rpc.async_http_provider import AsyncHTTPProvider
from solana.rpc.jsonrpc import JsonRpcRequestSerializer
from solders.rpc.requests import Body

from hypernode_worker.errors import EndpointDown
from hypernode_worker.solana.transport import DEFAULT_MAX_BYTES, EndpointBehind, Json, RpcFault, RpcRefused, json_object

KEEPALIVE_S = 20.0
MAX_RETRY_AFTER_S = 3600.0

_HTTP_OK, _HTTP_TOO_MANY = 200, 429
_TOO_MANY = (429, -32429)
_BEHIND = -32016
_UNHEALTHY = -32005
_NOT_OFFERED = (-32601, -32010)
_SENDER_READS = (-32002, -32003)


class Busy(Exception):
    """The endpoint asked for fewer requests; retry_after_s is None where it didn't say for how long."""

    def __init__(self, retry_after_s: float | None = None) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


class Refused(Exception):
    """An HTTP status that means neither an answer nor 'later'."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class TooLarge(Exception):
    """The answer is longer than the caller allowed."""


@dataclass(frozen=True, slots=True)
class RpcRequest:
    """One JSON-RPC 2.0 request, with the bound of its answer."""

    id: int
    method: str
    params: tuple[Json, ...]
    max_bytes: int = DEFAULT_MAX_BYTES

    def to_json(self) -> str:
        return json.dumps({"jsonrpc": "2.0", "id": self.id, "method": self.method, "params": self.params})


class BoundedHttpProvider(AsyncHTTPProvider):
    """Posts a request once and reads a bounded answer. Raises Busy, Refused, TooLarge and httpx2's errors."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        # HTTP/1.1: a worker has a handful of requests a minute, and HTTP/2 costs memory.
        super().__init__(
            url,
            timeout=timeout_s,
            http2=False,
            max_transport_retries=0,
            keepalive_expiry=KEEPALIVE_S,
            max_connections=16,
        )

    async def make_request(self, body: Body, parser: type[Any]) -> Any:
        """Not offered: solders' parsers raise PanicException, a BaseException, on some errors."""
        raise NotImplementedError("use make_request_unparsed")

    async def make_request_unparsed(self, body: JsonRpcRequestSerializer) -> str:
        limit = body.max_bytes if isinstance(body, RpcRequest) else DEFAULT_MAX_BYTES
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        async with self.session.stream("POST", self.endpoint_uri, content=body.to_json(), headers=headers) as response:
            if response.status_code == _HTTP_TOO_MANY:
                raise Busy(_retry_after_s(response))
            data = await _read_bounded(response, limit)
        # Some endpoints answer JSON-RPC errors with a 4xx or 5xx status: their body says more than the status.
        if response.status_code != _HTTP_OK and not data.lstrip().startswith(b"{"):
            raise Refused(response.status_code)
        return data.decode("utf-8", "replace")


async def _read_bounded(response: httpx2.Response, limit: int) -> bytes:
    # A compressed answer may grow a thousandfold in one step; we said that we accept none.
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise TooLarge
    if int(response.headers.get("Content-Length", "0")) > limit:
        raise TooLarge
    data = bytearray()
    async for chunk in response.aiter_raw(1 << 16):
        data += chunk
        if len(data) > limit:
            raise TooLarge
    return bytes(data)


def _retry_after_s(response: httpx2.Response) -> float | None:
    """Seconds or an HTTP date; None where it is missing or nonsense."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if seconds == seconds else None


def read_answer(text: str | bytes, request_id: int, method: str, endpoint: str) -> Json:
    """The `result` of a JSON-RPC answer.

    Raises:
        Busy, RpcRefused, EndpointDown: an error object, or nonsense.
    """
    try:
        answer = json_object(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise nonsense(endpoint, method) from error
    if answer.get("error") is not None:
        raise read_error(answer["error"], method, endpoint)
    if answer.get("id") != request_id or "result" not in answer:
        raise nonsense(endpoint, method)
    return answer["result"]


def nonsense(endpoint: str, method: str) -> EndpointDown:
    """The error for an answer that isn't what Solana's JSON-RPC says."""
    return EndpointDown(
        f"The endpoint {endpoint} answered {method} with something that is no Solana JSON-RPC answer: "
        "check SOLANA_RPC_URL or use another endpoint."
    )


def read_error(error: Json, method: str, endpoint: str) -> Exception:
    """The exception for a JSON-RPC error object. Looks at the code alone: `data` may be missing with any of them."""
    error = json_object(error)
    code = error.get("code")
    if not isinstance(code, int):
        return nonsense(endpoint, method)
    text = str(error.get("message", ""))[:300].rstrip(". ")
    data = error.get("data")
    if code in _TOO_MANY:
        return Busy(None)
    if code == _BEHIND:
        return EndpointBehind(f"The endpoint {endpoint} is behind the chain ({text}): it is asked again later.")
    if code == _UNHEALTHY:
        return EndpointDown(
            f"The endpoint {endpoint} says that it is unhealthy ({text}): use another one if this lasts."
        )
    if code in _NOT_OFFERED:
        return RpcFault(f"The endpoint {endpoint} doesn't offer {method} ({text}): use an endpoint that does.")
    if code in _SENDER_READS or (-32700 <= code <= -32600 and code != -32603):
        return RpcRefused(f"The endpoint {endpoint} refused {method}: {text}.", code=code, data=data)
    return RpcFault(f"The endpoint {endpoint} failed at {method} with error {code} ({text}): it may work later.")
