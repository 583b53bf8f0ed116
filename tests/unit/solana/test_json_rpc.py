"""Answers of endpoints as plain JSON: errors first, whatever their code, with or without data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hypernode_worker.errors import ConfigError, EndpointDown
from hypernode_worker.solana.endpoint import endpoint_name
from hypernode_worker.solana.http_provider import BoundedHttpProvider, Busy, read_answer
from hypernode_worker.solana.network import derive_ws_url
from hypernode_worker.solana.transport import EndpointBehind, RpcRefused


def answer(**members: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 7, **members})


def read(text: str) -> Any:
    return read_answer(text, 7, "getSlot", "http://endpoint")


def test_a_result_is_handed_out_null_too() -> None:
    assert read(answer(result=5)) == 5
    assert read(answer(result=None)) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (429, Busy),
        (-32429, Busy),
        (-32000, EndpointDown),
        (-32005, EndpointDown),
        (-32016, EndpointBehind),
        (-32603, EndpointDown),
        (-32601, EndpointDown),
        (-32010, EndpointDown),
        (-1, EndpointDown),
        (123456, EndpointDown),
        (-32602, RpcRefused),
        (-32700, RpcRefused),
        (-32002, RpcRefused),
        (-32003, RpcRefused),
    ],
)
@pytest.mark.parametrize("data", [None, {"numSlotsBehind": 5}, "text"])
def test_each_code_is_an_exception_with_and_without_data(code: int, expected: type[Exception], data: Any) -> None:
    error = {"code": code, "message": "why"} | ({} if data is None else {"data": data})
    with pytest.raises(expected):
        read(answer(error=error))


def test_a_refusal_keeps_code_and_data() -> None:
    with pytest.raises(RpcRefused) as caught:
        read(answer(error={"code": -32002, "message": "m", "data": {"err": "AlreadyProcessed"}}))
    assert caught.value.code == -32002
    assert caught.value.data == {"err": "AlreadyProcessed"}


@pytest.mark.parametrize(
    "text",
    [
        "", "<html>", "[]", "5", "null", "{}", "[" * 100_000, answer(), answer(error={}), answer(error="no"),
        answer(error={"code": "x"}), json.dumps({"id": 8, "result": 5}), json.dumps({"result": 5}),
    ],
)  # fmt: skip
def test_nonsense_is_an_endpoint_that_is_down(text: str) -> None:
    with pytest.raises(EndpointDown, match="no Solana JSON-RPC answer"):
        read(text)


def test_an_endpoints_message_is_cut() -> None:
    with pytest.raises(EndpointDown) as caught:
        read(answer(error={"code": -1, "message": "x" * 10_000}))
    assert len(str(caught.value)) < 600


async def test_the_librarys_own_parsers_are_out_of_reach() -> None:
    provider = BoundedHttpProvider("http://127.0.0.1:9", timeout_s=1)
    with pytest.raises(NotImplementedError):
        await provider.make_request(None, int)  # pyright: ignore[reportArgumentType]
    await provider.close()


def test_the_name_of_an_endpoint_holds_no_key() -> None:
    assert endpoint_name("https://user:secret@rpc.example:8443/v1/key?api-key=x") == "https://rpc.example:8443"


@pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "https://", "http://h:99999"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        endpoint_name(url)


@pytest.mark.parametrize(
    ("rpc", "ws"),
    [
        ("http://127.0.0.1:8899", "ws://127.0.0.1:8900"),
        ("https://api.devnet.solana.com", "wss://api.devnet.solana.com"),
        ("https://host/v2/key?a=b", "wss://host/v2/key?a=b"),
        ("http://[::1]:8899", "ws://[::1]:8900"),
    ],
)
def test_the_websocket_url_follows_solanas_convention(rpc: str, ws: str) -> None:
    assert derive_ws_url(rpc) == ws
