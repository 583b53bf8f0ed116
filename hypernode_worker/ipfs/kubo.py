"""Kubo's RPC: blocks in as one CAR, pinned and confirmed; blocks out one by one, verified. GET is 405 there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator
from typing import cast
from urllib.parse import urlencode

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, ContentNotFound, ContentTooLarge, EndpointDown
from hypernode_worker.ipfs import car
from hypernode_worker.ipfs.dagpb import MAX_BLOCK_BYTES
from hypernode_worker.ipfs.source import BlockSource, verify_block
from hypernode_worker.ipfs.transport import JSON_BYTES, Reply, Transport, basic, parse_endpoint, refuse

_BOUNDARY = "hypernode-worker-7d1f0c8a52e94b3f"
_PIN_TIMEOUT_S = 30.0
_SLACK_S = 2.0  # Kubo's own timeout comes first, so that it says what it misses


class KuboStore:
    """Publisher and BlockSource over a Kubo node's RPC."""

    def __init__(self, url: str, *, auth: str | None = None, block_timeout_s: float, transport: Transport) -> None:
        """`auth`: 'bearer:TOKEN' or 'basic:USER:PASSWORD'. Raises ConfigError."""
        self._endpoint = parse_endpoint(url, "IPFS_API_URL")
        self._base = self._endpoint.url.removesuffix("/api/v0")
        self._authorization = _authorization(auth) if auth else self._endpoint.authorization
        self._block_timeout_s = block_timeout_s
        self._transport = transport

    @property
    def label(self) -> str:
        return f"Kubo at {self._endpoint.label}"

    async def block(self, cid: Cid) -> bytes:
        seconds = self._block_timeout_s
        try:
            reply = await self._post(
                "block/get",
                {"arg": str(cid), "timeout": f"{seconds:g}s"},
                max_bytes=MAX_BLOCK_BYTES,
                timeout_s=seconds + _SLACK_S,
            )
        except ContentTooLarge as error:
            raise ContentInvalid(f"{self.label} answered more for {cid} than a block may have.") from error
        if reply.status == 200:
            return verify_block(cid, reply.body, self.label)
        message = _message(reply)
        if reply.status == 500 and ("not found" in message or "could not find" in message or "deadline" in message):
            raise ContentNotFound(f"{self.label} hasn't got {cid} and found nobody who has.")
        raise self._trouble("block/get", reply)

    async def publish(self, root: Cid, blocks: BlockSource) -> None:
        reply = await self._post(
            "dag/import",
            {"pin-roots": "true"},
            max_bytes=JSON_BYTES,
            timeout_s=None,
            content=_multipart(car.stream(root, blocks)),
        )
        if reply.status != 200:
            raise self._trouble("dag/import", reply)
        _check_import(reply, root, self.label)
        if not await self.holds(root):
            raise EndpointDown(f"{self.label} took {root} but doesn't list its pin; try again, then check its log.")

    async def holds(self, root: Cid) -> bool:
        reply = await self._post(
            "pin/ls", {"arg": str(root), "type": "recursive"}, max_bytes=JSON_BYTES, timeout_s=_PIN_TIMEOUT_S
        )
        if reply.status == 200:
            return str(root) in cast("dict[str, object]", _json(reply.body).get("Keys") or {})
        if reply.status == 500 and "not pinned" in _message(reply):
            return False
        raise self._trouble("pin/ls", reply)

    async def _post(
        self,
        command: str,
        arguments: dict[str, str],
        *,
        max_bytes: int,
        timeout_s: float | None,
        content: AsyncIterable[bytes] | None = None,
    ) -> Reply:
        headers = {} if content is None else {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
        if self._authorization:
            headers["authorization"] = self._authorization
        return await self._transport.request(
            "POST",
            f"{self._base}/api/v0/{command}?{urlencode(arguments)}",
            label=self.label,
            max_bytes=max_bytes,
            timeout_s=timeout_s,
            headers=headers,
            content=content,
        )

    def _trouble(self, command: str, reply: Reply) -> EndpointDown:
        if reply.status != 500:
            refuse(reply, self.label, "the credentials of IPFS_API_URL")
        detail = _message(reply) or "no message"
        return EndpointDown(
            f"{self.label} refused {command} (HTTP {reply.status}: {detail[:200]}); check that IPFS_API_URL is its RPC."
        )


def _authorization(auth: str) -> str:
    scheme, _, secret = auth.partition(":")
    if scheme == "bearer" and secret:
        return f"Bearer {secret}"
    if scheme == "basic" and ":" in secret:
        return basic(secret)
    raise ConfigError("The credentials of IPFS_API_URL must be 'bearer:TOKEN' or 'basic:USER:PASSWORD'.")


def _check_import(reply: Reply, root: Cid, label: str) -> None:
    """Kubo answers a line of JSON for each root, and may fail after it has said 200."""
    for line in reply.body.splitlines():
        found = cast("dict[str, object]", _json(line).get("Root") or {})
        if cast("dict[str, str]", found.get("Cid") or {}).get("/") == str(root):
            problem = found.get("PinErrorMsg")
            if not problem:
                return
            raise EndpointDown(f"{label} couldn't pin {root} ({str(problem)[:200]}); check its disk and log.")
    detail = reply.headers.get("x-stream-error") or _message(reply) or "no reason given"
    raise EndpointDown(f"{label} didn't confirm {root} ({detail[:200]}); check its disk and log.")


async def _multipart(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="dag.car"\r\n'
        "Content-Type: application/vnd.ipld.car\r\n\r\n"
    ).encode()
    async for chunk in body:
        yield chunk
    yield f"\r\n--{_BOUNDARY}--\r\n".encode()


def _message(reply: Reply) -> str:
    return str(_json(reply.body).get("Message") or "")


def _json(data: bytes) -> dict[str, object]:
    try:
        value: object = json.loads(data)
    except ValueError:
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
