"""Trustless gateways: one block a request, each byte verified, no faith in anything they say."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, urljoin, urlsplit

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ContentInvalid, ContentNotFound, ContentTooLarge, EndpointDown, RateLimited
from hypernode_worker.ipfs.dagpb import MAX_BLOCK_BYTES
from hypernode_worker.ipfs.source import verify_block
from hypernode_worker.ipfs.transport import Reply, Transport, parse_endpoint

MAX_REDIRECTS = 3
CHECK_TIMEOUT_S = 5.0
RAW_TYPE = "application/vnd.ipld.raw"
_REDIRECTS = (301, 302, 303, 307, 308)
_PROBE = "bafkqaaa"  # the empty block inside its own CID
_RATE_LIMIT_S = 30.0  # where a gateway gives no Retry-After
# Ranges that lead to IPv4 inside: Python calls them global.
_WRAPPED = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))

Resolve = Callable[[str], Awaitable[list[str]]]


async def resolve(host: str) -> list[str]:
    """The addresses of a host, as the system knows them. Raises OSError or UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Gateway:
    """A BlockSource over `GET /ipfs/CID?format=raw`.

    The operator may name a gateway on this machine or network. Where a redirect leads is the gateway's choice, so it
    may lead back to the host that was named, and elsewhere only to public addresses: the address is looked up,
    checked, and then used as checked. A gateway named by a private address may lead anywhere.
    """

    def __init__(self, url: str, *, timeout_s: float, transport: Transport, resolve: Resolve = resolve) -> None:
        """The transport stays its owner's. Raises ConfigError when the URL isn't http(s)."""
        self._endpoint = parse_endpoint(url, "IPFS_GATEWAY")
        self._base = self._endpoint.url.removesuffix("/ipfs")
        self._timeout_s = timeout_s
        self._transport = transport
        self._resolve = resolve
        self._quiet_until = 0.0

    @property
    def label(self) -> str:
        return self._endpoint.label

    async def block(self, cid: Cid) -> bytes:
        now = asyncio.get_running_loop().time()
        if now < self._quiet_until:
            raise RateLimited(f"{self.label} asked for fewer requests.", retry_after_s=self._quiet_until - now)
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._get(f"{self._base}/ipfs/{cid}?format=raw")
        except TimeoutError as error:
            raise EndpointDown(f"{self.label} gave no whole block within {self._timeout_s:g} s.") from error
        except ContentTooLarge as error:
            raise ContentInvalid(f"{self.label} answered more for {cid} than a block may have.") from error
        if reply.status == 200:
            if reply.headers.get("content-encoding", "identity").lower() != "identity":
                raise EndpointDown(f"{self.label} packs its answers though it was asked not to.")
            return verify_block(cid, reply.body, self.label)
        raise self._failure(cid, reply)

    async def check(self) -> None:
        """Asks for the empty block, which every gateway has. Raises EndpointDown, RateLimited."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                reply = await self._get(f"{self._base}/ipfs/{_PROBE}?format=raw")
        except TimeoutError as error:
            raise EndpointDown(f"{self.label} didn't answer within {CHECK_TIMEOUT_S:g} s.") from error
        except ContentTooLarge as error:
            raise EndpointDown(f"{self.label} answers more than it was asked for.") from error
        if reply.status != 200 or reply.body:
            raise EndpointDown(f"{self.label} serves no raw blocks (HTTP {reply.status}); name a trustless gateway.")

    def _failure(self, cid: Cid, reply: Reply) -> ContentNotFound | RateLimited | EndpointDown:
        if reply.status == 429:
            wait = reply.retry_after_s() or _RATE_LIMIT_S
            self._quiet_until = asyncio.get_running_loop().time() + wait
            return RateLimited(f"{self.label} asked for fewer requests (HTTP 429).", retry_after_s=wait)
        if reply.status in (404, 410):
            return ContentNotFound(f"{self.label} hasn't got {cid} (HTTP {reply.status}).")
        return EndpointDown(f"{self.label} didn't give {cid} (HTTP {reply.status}).")

    async def _get(self, url: str) -> Reply:
        headers = {"accept": RAW_TYPE}
        if self._endpoint.authorization:
            headers["authorization"] = self._endpoint.authorization
        server_name: str | None = None
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._transport.request(
                "GET",
                url,
                label=self.label,
                max_bytes=MAX_BLOCK_BYTES,
                timeout_s=None,
                headers=headers,
                server_name=server_name,
            )
            if reply.status not in _REDIRECTS:
                return reply
            shown = _join(_shown(url, headers.get("host")), reply.headers.get("location", ""))
            # Credentials are for the gateway that the operator named, not for where it points.
            headers = {"accept": RAW_TYPE}
            url, host, server_name = await self._follow(shown)
            if host is not None:
                headers["host"] = host
        raise EndpointDown(f"{self.label} redirects more than {MAX_REDIRECTS} times.")

    async def _follow(self, url: str) -> tuple[str, str | None, str | None]:
        """URL to ask, Host header and TLS name of a redirect's target; the latter two None when asked as it stands."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port  # both may raise
        except ValueError as error:
            raise EndpointDown(f"{self.label} redirects to something that isn't a URL.") from error
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise EndpointDown(f"{self.label} redirects to something that isn't a plain http(s) URL.")
        if host == self._endpoint.host:
            return url, None, None
        if _is_private_name(self._endpoint.host):
            # Kubo on localhost leads to CID.ipfs.localhost, a name for this machine that not every resolver knows.
            return _at("127.0.0.1", parts) if host.endswith(".localhost") else (url, None, None)
        addresses = await self._addresses(host)
        if not all(_is_global(address) for address in addresses):
            raise EndpointDown(f"{self.label} redirects to a private address, which is refused.")
        return _at(addresses[0], parts)

    async def _addresses(self, host: str) -> list[str]:
        try:
            found = await self._resolve(host)
        except (OSError, UnicodeError) as error:
            raise EndpointDown(f"{self.label} redirects to a host that has no address.") from error
        if not found:
            raise EndpointDown(f"{self.label} redirects to a host that has no address.")
        return found


def _at(address: str, parts: SplitResult) -> tuple[str, str, str]:
    """The same URL at this address, with the Host header and TLS name of its host."""
    port = "" if parts.port is None else f":{parts.port}"
    host = parts.hostname or ""
    at = f"[{address}]" if ":" in address else address
    return parts._replace(netloc=at + port).geturl(), (f"[{host}]" if ":" in host else host) + port, host


def _shown(url: str, host: str | None) -> str:
    return url if host is None else urlsplit(url)._replace(netloc=host).geturl()


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _is_private_name(host: str) -> bool:
    """By what the operator wrote, not by what a name server says: that one may be the gateway's own."""
    try:
        return not _is_global(host)
    except ValueError:
        return host == "localhost"


def _is_global(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in net for net in _WRAPPED):
            return False
    return ip.is_global and not ip.is_multicast
