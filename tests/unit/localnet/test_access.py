"""Which hosts and origins the localnet serves."""

from __future__ import annotations

import pytest

from hypernode_worker.localnet.access import host_is_allowed, origin_is_allowed


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8899", "localhost:8899", "LOCALHOST", "[::1]:8899", "app.localhost:1", "127.9.9.9"],
)
def test_loopback_is_served(host: str) -> None:
    assert host_is_allowed(host, ())


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8899",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.0.1",
        "0.0.0.0",
        "[::1",
        "localhost@evil.example",
        "x:y:z",
    ],
)
def test_other_hosts_are_not(host: str | None) -> None:
    assert not host_is_allowed(host, ())


def test_hosts_are_served_when_named() -> None:
    assert host_is_allowed("chain.lan:8899", ("chain.lan",))
    assert origin_is_allowed("https://chain.lan", ("chain.lan",))


@pytest.mark.parametrize("origin", [None, "http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"])
def test_pages_of_this_machine_may_call(origin: str | None) -> None:
    assert origin_is_allowed(origin, ())


@pytest.mark.parametrize(
    "origin",
    ["null", "", "https://evil.example", "http://localhost.evil.example", "file://localhost", "http://[::1", "http://"],
)
def test_other_pages_may_not(origin: str) -> None:
    assert not origin_is_allowed(origin, ())
