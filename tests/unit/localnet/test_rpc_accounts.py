"""Reading accounts, by address, by owner, by filter, and tokens in words."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.localnet import Bank, Rpc, base58
from hypernode_worker.localnet.accounts import ChainAccount
from tests.support.transactions import (
    ACCOUNT_RENT,
    TOKEN_PROGRAM,
    make_mint,
    make_token_account,
    mint_to,
    signed,
)

OWNER = Pubkey.new_unique()


def call(rpc: Rpc, method: str, *params: Any) -> Any:
    return rpc.handle(method, params)


def fill(bank: Bank, count: int, size: int = 40) -> list[Pubkey]:
    """Accounts of OWNER whose data begins with their number in two bytes."""
    addresses = [Pubkey.new_unique() for _ in range(count)]
    for number, address in enumerate(addresses):
        data = number.to_bytes(2, "little") + bytes(size - 2)
        bank.set_account(address, ChainAccount(10**6 + number, data, OWNER))
    return addresses


def test_program_accounts_are_filtered(rpc: Rpc, bank: Bank) -> None:
    addresses = fill(bank, 300)
    bank.set_account(Pubkey.new_unique(), ChainAccount(5, bytes(39), OWNER))

    def found(*filters: Any) -> set[str]:
        config = {"encoding": "base64", "filters": list(filters)}
        return {item["pubkey"] for item in call(rpc, "getProgramAccounts", str(OWNER), config)}

    seven = b"\x07\x00"
    assert len(found()) == 301
    assert len(found({"dataSize": 40})) == 300
    assert len(found({"dataSize": 40}, {"dataSize": 41})) == 0
    only = {str(addresses[7])}
    assert found({"memcmp": {"offset": 0, "bytes": base58.encode(seven)}}) == only
    assert found({"memcmp": {"offset": 0, "bytes": base64.b64encode(seven).decode(), "encoding": "base64"}}) == only
    assert found({"memcmp": {"offset": 0, "bytes": [7, 0]}}) == only
    assert found({"memcmp": {"offset": 0, "bytes": [7, 0]}}, {"dataSize": 39}) == set()
    assert found({"memcmp": {"offset": 39, "bytes": [0, 0]}}) == set()
    assert found({"memcmp": {"offset": 2**63, "bytes": []}}) == set()
    assert len(found({"memcmp": {"offset": 1, "bytes": [1]}})) == 300 - 256


def test_program_accounts_are_sliced_and_may_carry_a_context(rpc: Rpc, bank: Bank) -> None:
    fill(bank, 3)
    config = {"encoding": "base64", "dataSlice": {"offset": 0, "length": 2}, "withContext": True}
    answer = call(rpc, "getProgramAccounts", str(OWNER), config)
    assert answer["context"]["slot"] == bank.slot
    datas = sorted(base64.b64decode(item["account"]["data"][0]) for item in answer["value"])
    assert datas == [b"\0\0", b"\1\0", b"\2\0"]
    assert answer["value"][0]["account"]["space"] == 40


def test_a_filtered_read_among_20_000_accounts_is_quick(rpc: Rpc, bank: Bank) -> None:
    fill(bank, 20_000, 768)
    config = {"encoding": "base64", "filters": [{"dataSize": 768}, {"memcmp": {"offset": 0, "bytes": [7, 7]}}]}
    began = time.perf_counter()
    assert len(call(rpc, "getProgramAccounts", str(OWNER), config)) == 1
    # Measured: 4 ms. A scan that copied or decoded every account would take 20 times as long.
    assert time.perf_counter() - began < 0.25


def test_genesis_programs_and_sysvars_are_there(rpc: Rpc, bank: Bank) -> None:
    loader = "BPFLoaderUpgradeab1e11111111111111111111111"
    programs = call(rpc, "getProgramAccounts", loader, {"encoding": "base64", "dataSlice": {"offset": 0, "length": 0}})
    assert str(TOKEN_PROGRAM) in {item["pubkey"] for item in programs}
    bank.advance(5)
    clock = call(rpc, "getAccountInfo", "SysvarC1ock11111111111111111111111111111111", {"encoding": "base64"})
    assert base64.b64decode(clock["value"]["data"][0])[:8] == bank.slot.to_bytes(8, "little")
    shown = call(rpc, "getAccountInfo", str(TOKEN_PROGRAM), {"encoding": "jsonParsed"})["value"]
    assert shown["executable"] is True
    assert shown["data"]["parsed"]["type"] == "program"


@pytest.fixture
def holding(bank: Bank, payer: Keypair) -> tuple[Pubkey, Pubkey, Pubkey]:
    """A mint of six decimals, an account of it with 1.5, and its owner."""
    mint, account, owner = Keypair(), Keypair(), Pubkey.new_unique()
    made = [
        *make_mint(payer, mint, 6),
        *make_token_account(payer, account, mint.pubkey(), owner),
        mint_to(payer, mint.pubkey(), account.pubkey(), 1_500_000),
    ]
    landed = bank.send(signed(made, [payer, mint, account], bank.latest_blockhash))
    assert landed.err is None
    assert landed.meta_of()["pre_tokens"] == []
    (after,) = landed.meta_of()["post_tokens"]  # type: ignore[misc]
    assert after["uiTokenAmount"]["uiAmountString"] == "1.5"  # type: ignore[index]
    return mint.pubkey(), account.pubkey(), owner


AMOUNT = {"amount": "1500000", "decimals": 6, "uiAmount": 1.5, "uiAmountString": "1.5"}


def test_tokens_are_counted(rpc: Rpc, holding: tuple[Pubkey, Pubkey, Pubkey]) -> None:
    mint, account, _ = holding
    assert call(rpc, "getTokenAccountBalance", str(account))["value"] == AMOUNT
    assert call(rpc, "getTokenSupply", str(mint))["value"] == AMOUNT
    assert call(rpc, "getTokenLargestAccounts", str(mint))["value"] == [{"address": str(account), **AMOUNT}]


def test_token_accounts_are_found_by_owner(
    rpc: Rpc, bank: Bank, payer: Keypair, holding: tuple[Pubkey, Pubkey, Pubkey]
) -> None:
    mint, account, owner = holding
    for selection in ({"mint": str(mint)}, {"programId": str(TOKEN_PROGRAM)}):
        answer = call(rpc, "getTokenAccountsByOwner", str(owner), selection, {"encoding": "jsonParsed"})
        (item,) = answer["value"]
        assert item["pubkey"] == str(account)
        assert item["account"]["data"]["parsed"] == {
            "info": {
                "isNative": False,
                "mint": str(mint),
                "owner": str(owner),
                "state": "initialized",
                "tokenAmount": AMOUNT,
            },
            "type": "account",
        }
    # The mint stands in the account too, but doesn't own it.
    by_mint = call(rpc, "getTokenAccountsByOwner", str(mint), {"programId": str(TOKEN_PROGRAM)})
    assert by_mint["value"] == []
    by_delegate = call(rpc, "getTokenAccountsByDelegate", str(owner), {"programId": str(TOKEN_PROGRAM)})
    assert by_delegate["value"] == []


def test_a_mint_is_shown_in_words(rpc: Rpc, payer: Keypair, holding: tuple[Pubkey, Pubkey, Pubkey]) -> None:
    mint, account, _ = holding
    shown = call(rpc, "getMultipleAccounts", [str(mint), str(account), str(OWNER)], {"encoding": "jsonParsed"})
    parsed = shown["value"][0]["data"]
    assert parsed["program"] == "spl-token"
    assert parsed["parsed"] == {
        "info": {
            "decimals": 6,
            "freezeAuthority": None,
            "isInitialized": True,
            "mintAuthority": str(payer.pubkey()),
            "supply": "1500000",
        },
        "type": "mint",
    }
    assert shown["value"][1]["lamports"] == ACCOUNT_RENT
    assert shown["value"][2] is None


def test_what_has_no_parser_stays_base64(rpc: Rpc, bank: Bank) -> None:
    address = fill(bank, 1)[0]
    shown = call(rpc, "getAccountInfo", str(address), {"encoding": "jsonParsed"})["value"]
    assert shown["data"] == [base64.b64encode(bytes(40)).decode(), "base64"]
