"""Base58, Zstandard frames and account encodings, against decoders that are not ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from solders.account_decoder import UiAccountEncoding
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rpc.responses import GetAccountInfoResp
from solders.signature import Signature

from hypernode_worker.localnet import Bank, Rpc, RpcError, base58
from hypernode_worker.localnet.accounts import ChainAccount

ADDRESS = Pubkey.new_unique()


@given(st.binary(max_size=200))
@example(b"")
@example(b"\0\0\1")
def test_base58_reads_back(data: bytes) -> None:
    assert base58.decode(base58.encode(data)) == data


@given(st.binary(min_size=64, max_size=64))
def test_base58_is_solanas(data: bytes) -> None:
    assert base58.encode(data) == str(Signature(data))
    assert base58.encode(data[:32]) == str(Hash(data[:32]))


@pytest.mark.parametrize("text", ["0", "abcO", "l", "é"])
def test_base58_refuses_other_characters(text: str) -> None:
    with pytest.raises(base58.Base58Error):
        base58.decode(text)


def decoded(data: bytes, encoding: UiAccountEncoding, name: str) -> bytes:
    bank = Bank(unix_time=0)
    bank.set_account(ADDRESS, ChainAccount(5, data, Pubkey.new_unique()))
    answer = Rpc(bank).answer(
        json.dumps(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "getAccountInfo",
                "params": [str(ADDRESS), {"encoding": name}],
            }
        )
    )
    seen = GetAccountInfoResp.from_json(answer)
    assert isinstance(seen, GetAccountInfoResp)
    assert seen.value is not None
    return seen.value.data


@pytest.mark.parametrize("size", [0, 1, 100, 128 * 1024 - 1, 128 * 1024, 300_001])
@pytest.mark.parametrize("pattern", [b"\0", b"ab"])
def test_zstd_frames_are_read_by_solders(size: int, pattern: bytes) -> None:
    data = (pattern * size)[:size]
    assert decoded(data, UiAccountEncoding.Base64Zstd, "base64+zstd") == data


@pytest.mark.parametrize("size", [0, 1, 128])
def test_small_accounts_are_read_by_solders(size: int) -> None:
    data = bytes(range(size))
    assert decoded(data, UiAccountEncoding.Base64, "base64") == data
    assert decoded(data, UiAccountEncoding.Base58, "base58") == data


@pytest.mark.parametrize("encoding", ["base58", "binary", None])
def test_base58_is_refused_for_larger_accounts(rpc: Rpc, bank: Bank, encoding: str | None) -> None:
    bank.set_account(ADDRESS, ChainAccount(5, bytes(129), Keypair().pubkey()))
    with pytest.raises(RpcError) as caught:
        rpc.handle("getAccountInfo", [str(ADDRESS), {"encoding": encoding}])
    assert caught.value.code == -32600
    assert "less than 128 bytes" in caught.value.message
    # A slice of it is fine.
    part = {"encoding": encoding, "dataSlice": {"offset": 1, "length": 128}}
    assert rpc.handle("getAccountInfo", [str(ADDRESS), part])
