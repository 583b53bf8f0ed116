"""Who may talk to the localnet over HTTP.

A page in the operator's browser can send requests to loopback, also under a name that it has resolved to
127.0.0.1. So the Host must be loopback (or allowed by name), and so must the Origin where there is one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit


def host_is_allowed(host: str | None, allowed: Collection[str]) -> bool:
    """Whether the Host header names loopback or one of the allowed hosts."""
    if not host:
        return False
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and (is_loopback(name) or name in allowed)


def origin_is_allowed(origin: str | None, allowed: Collection[str]) -> bool:
    """Whether a browser's Origin is a page of this machine or of an allowed host; no Origin is no browser."""
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or name is None:
        return False
    return is_loopback(name) or name in allowed


def is_loopback(name: str) -> bool:
    """Whether the host name means this machine only."""
    name = name.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
