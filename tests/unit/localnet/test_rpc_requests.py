"""The envelope of JSON-RPC and what is wrong with requests. The messages are Agave's."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.localnet import Bank, Rpc, RpcError

KEY = str(Pubkey.new_unique())


def refused(rpc: Rpc, method: str, *params: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        rpc.handle(method, params)
    return caught.value


@pytest.mark.parametrize(
    ("body", "code", "request_id"),
    [
        ("{", -32700, None),
        ("5", -32700, None),
        ("[" * 100_000, -32700, None),
        (b"\xff\xfe", -32700, None),
        ('{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[NaN]}', -32700, None),
        ('{"id":1,"method":"getSlot"}', -32600, 1),
        ('{"jsonrpc":"1.0","id":"x","method":"getSlot"}', -32600, "x"),
        ('{"jsonrpc":"2.0","id":1}', -32600, 1),
        ('{"jsonrpc":"2.0","id":1,"method":7}', -32600, 1),
        ('{"jsonrpc":"2.0","id":1,"method":"getHealth","params":{"a":1}}', -32602, 1),
        ('{"jsonrpc":"2.0","id":1,"method":"nope"}', -32601, 1),
        ('{"jsonrpc":"2.0","id":1,"method":"__init__"}', -32601, 1),
    ],
)
def test_bad_requests_get_an_error(rpc: Rpc, body: str | bytes, code: int, request_id: object) -> None:
    answer = json.loads(rpc.answer(body))
    assert answer["error"]["code"] == code
    assert answer["id"] == request_id


def test_batches_are_answered_in_order_and_notifications_not_at_all(rpc: Rpc) -> None:
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "getHealth"},
        {"jsonrpc": "2.0", "method": "getHealth"},
        {"jsonrpc": "2.0", "id": None, "method": "getSlot", "params": None},
        {"jsonrpc": "2.0", "id": "b", "method": "nope"},
    ]
    answers = json.loads(rpc.answer(json.dumps(batch)))
    assert [answer["id"] for answer in answers] == [1, None, "b"]
    assert answers[0]["result"] == "ok"
    assert answers[2]["error"]["code"] == -32601
    assert rpc.answer("[]") == ""
    assert rpc.answer('{"jsonrpc":"2.0","method":"getSlot"}') == ""
    assert json.loads(rpc.answer(json.dumps([batch[0]] * 1_001)))["error"]["code"] == -32600


BAD_PARAMS: list[tuple[str, list[Any], str]] = [
    ("getAccountInfo", [], "`params` should have at least 1 argument(s)"),
    ("getAccountInfo", [KEY, None, None], "Invalid parameters: Expected from 1 to 2 parameters."),
    ("getGenesisHash", [1], "Invalid parameters: No parameters were expected"),
    ("getAccountInfo", [5], "Invalid params: invalid type: integer `5`, expected a string."),
    ("getAccountInfo", ["abc"], "Invalid param: WrongSize"),
    ("getAccountInfo", ["1" * 50], "Invalid param: WrongSize"),
    ("getAccountInfo", ["0" * 44], "Invalid param: Invalid"),
    ("getAccountInfo", [KEY, 7], "Invalid params: invalid type: integer `7`, expected a map."),
    ("getAccountInfo", [KEY, {"dataSlice": {"offset": 1}}], "Invalid params: missing field `length`."),
    ("getBalance", [KEY, {"minContextSlot": -1}], "Invalid params: invalid type: integer `-1`, expected u64."),
    ("getMultipleAccounts", [[KEY] * 101], "Too many inputs provided; max 100"),
    ("getSignatureStatuses", [["1" * 64] * 257], "Too many inputs provided; max 256"),
    ("getSignatureStatuses", [["xx"]], "Invalid param: WrongSize"),
    ("getSignaturesForAddress", [KEY, {"limit": 1_001}], "Invalid limit; max 1000"),
    (
        "getTransaction",
        ["1" * 64, {"commitment": "processed"}],
        "Method does not support commitment below `confirmed`",
    ),
    ("getProgramAccounts", [KEY, {"filters": [{"dataSize": 1}] * 5}], "Too many filters provided; max 4"),
    (
        "getProgramAccounts",
        [KEY, {"filters": [{"memcmp": {"offset": 0, "bytes": "1" * 129}}]}],
        "Invalid param: DataTooLarge",
    ),
    (
        "getProgramAccounts",
        [KEY, {"filters": [{"foo": 1}]}],
        "Invalid params: unknown variant `foo`, expected one of `dataSize`, `memcmp`, `tokenAccountState`.",
    ),
    (
        "getTokenAccountsByOwner",
        [KEY, {}],
        "Invalid params: invalid value: map, expected map with a single key.",
    ),
    ("getTokenAccountBalance", [KEY], "Invalid param: could not find account"),
    ("sendTransaction", ["aaaa", {"encoding": "json"}], "unsupported encoding: json. Supported"),
    ("sendTransaction", ["0OIl"], "invalid base58 encoding: InvalidCharacter { character: '0', index: 0 }"),
    ("sendTransaction", ["A" * 1_645, {"encoding": "base64"}], "base64 encoded solana_transaction"),
    ("sendTransaction", ["aGVsbG8=", {"encoding": "base64"}], "failed to deserialize solana_transaction"),
    ("isBlockhashValid", ["zz"], "WrongSize"),
    ("getMinimumBalanceForRentExemption", [2**63], "Invalid param: no account is as large"),
]


@pytest.mark.parametrize(
    ("method", "params", "message"),
    BAD_PARAMS,
)
def test_bad_params_are_told(rpc: Rpc, method: str, params: list[Any], message: str) -> None:
    error = refused(rpc, method, *params)
    assert error.code == -32602
    assert error.message.startswith(message)


def test_a_slot_that_is_not_reached_is_told(rpc: Rpc, bank: Bank) -> None:
    error = refused(rpc, "getBalance", KEY, {"minContextSlot": 10})
    assert (error.code, error.data) == (-32016, {"contextSlot": bank.slot})
    bank.advance(9)
    assert rpc.handle("getBalance", [KEY, {"minContextSlot": 10}])


def test_airdrops_are_capped(bank: Bank) -> None:
    rpc = Rpc(bank, airdrop_cap_lamports=10)
    assert "at most 0.00000001 SOL" in refused(rpc, "requestAirdrop", KEY, 11).message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50) | st.sampled_from([KEY, "base64", "all"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["encoding", "filters", "memcmp", "offset", "bytes", "commitment", "limit", "mint"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
METHODS = [
    "getAccountInfo",
    "getMultipleAccounts",
    "getProgramAccounts",
    "getTokenAccountsByOwner",
    "getSignaturesForAddress",
    "getTransaction",
    "getBlock",
    "getBlocks",
    "simulateTransaction",
    "sendTransaction",
    "getFeeForMessage",
    "getSlotLeaders",
    "requestAirdrop",
    "getSignatureStatuses",
]
SHARED_RPC = Rpc(Bank(unix_time=0))


@given(st.sampled_from(METHODS), st.lists(JSON, max_size=3))
@settings(max_examples=400, deadline=None)
def test_no_params_break_a_method(method: str, params: list[Any]) -> None:
    """A fault of ours would be an exception of another class."""
    with contextlib.suppress(RpcError):
        SHARED_RPC.handle(method, params)


def test_a_fault_of_ours_is_an_internal_error(rpc: Rpc, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_address: Pubkey) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(bank, "account", broken)
    body = {"jsonrpc": "2.0", "id": 1, "method": "getBalance", "params": [str(Keypair().pubkey())]}
    assert json.loads(rpc.answer(json.dumps(body)))["error"] == {"code": -32603, "message": "Internal error"}
