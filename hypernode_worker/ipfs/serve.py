"""The embedded blocks as a trustless gateway on loopback: blocks by their CID, nothing else."""

from __future__ import annotations

import asyncio
import ipaddress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError
from hypernode_worker.ipfs.blocks import EmbeddedStore

if TYPE_CHECKING:
    from aiohttp import web

RAW_TYPE = "application/vnd.ipld.raw"
_PROBE = "bafkqaaa"  # the empty block inside its own CID, by which gateways are tried
_IMMUTABLE = "public, max-age=29030400, immutable"


class BlockGateway:
    """`async with BlockGateway(store, "127.0.0.1", 0) as gateway: gateway.url`. Port 0: any free one.

    GET and HEAD of /ipfs/CID with ?format=raw or that Accept header; 406 for anything else than a raw block. Requests
    that name another host than loopback are refused, so that no web page can read here through a name of its own.
    """

    def __init__(self, store: EmbeddedStore, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises ConfigError when `host` isn't a loopback address."""
        if host != "localhost" and not _is_loopback(host):
            raise ConfigError(f"The gateway serves loopback only, and {host} isn't; use 127.0.0.1.")
        self._store = store
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens; after it has started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def __aenter__(self) -> Self:
        """Raises ConfigError when the port is taken."""
        from aiohttp import web

        app = web.Application()
        app.router.add_get("/ipfs/{cid}", self._get)  # adds HEAD as well
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(f"Port {self._port} for the gateway is taken; choose another.") from error
        self._runner = runner
        self._port = int(runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _get(self, request: web.Request) -> web.Response:
        from aiohttp import web

        if not _is_local_host(request.host):
            return web.Response(status=403, text="This gateway is for this machine only.\n")
        wanted = request.query.get("format")
        accepts = request.headers.get("Accept", "").split(",")
        if wanted != "raw" and (wanted is not None or RAW_TYPE not in [part.split(";")[0].strip() for part in accepts]):
            return web.Response(status=406, text="Only raw blocks are served: add ?format=raw.\n")
        text = request.match_info["cid"]
        if text == _PROBE:
            return _block_response(text, b"")
        try:
            cid = Cid.parse(text)
        except ValueError:
            return web.Response(status=400, text="Not a CID of raw or dag-pb over sha2-256.\n")
        block = await asyncio.to_thread(self._store.get, cid)
        if block is None:
            return web.Response(status=404, text="This block isn't here.\n")
        return _block_response(str(cid), block)


def _block_response(name: str, block: bytes) -> web.Response:
    from aiohttp import web

    headers = {
        "Content-Type": RAW_TYPE,
        "Content-Disposition": f'attachment; filename="{name}.bin"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": _IMMUTABLE,
        "ETag": f'"{name}.raw"',
        "X-Ipfs-Path": f"/ipfs/{name}",
    }
    return web.Response(body=block, headers=headers)


def _is_local_host(header: str) -> bool:
    """'127.0.0.1:8080', 'localhost', '[::1]:8080'."""
    host = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() and not header.endswith("]") else header
    return host == "localhost" or _is_loopback(host.strip("[]"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
