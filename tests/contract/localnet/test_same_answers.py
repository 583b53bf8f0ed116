"""The localnet's raw answers beside the real validator's: the same shape, and for errors the same words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import aiohttp
import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from tests.support.chains import RunningChain
from tests.support.transactions import SOL, as_base64, make_mint, make_token_account, mint_to, pay, signed

pytestmark = pytest.mark.validator

CONFIRMED = {"commitment": "confirmed"}
BASE64 = {**CONFIRMED, "encoding": "base64"}
NOBODY = str(Pubkey.from_string("Nobody1111111111111111111111111111111111111"))
CLOCK = "SysvarC1ock11111111111111111111111111111111"
TOKENS = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
OPEN = {"confirmationStatus", "confirmations", "gossip", "rpc", "pubsub", "tpu", "clientId"}
"""Fields that differ on purpose: everything is final at once here, and there is no network of validators."""


class Party:
    """One chain with a payer, a mint, a token account and three landed transactions."""

    def __init__(self, chain: RunningChain, http: aiohttp.ClientSession) -> None:
        self.chain, self.http = chain, http
        self.payer, self.mint, self.holding, self.to = Keypair(), Keypair(), Keypair(), Pubkey.new_unique()
        self.signatures: list[str] = []
        self.blockhash = Hash.default()

    async def prepare(self) -> Party:
        async with AsyncClient(self.chain.rpc_url, commitment=Confirmed) as client:
            airdrop = (await client.request_airdrop(self.payer.pubkey(), 10 * SOL)).value
            await client.confirm_transaction(airdrop, Confirmed, sleep_seconds=0.1)
            self.blockhash = (await client.get_latest_blockhash()).value.blockhash
            made = [
                *make_mint(self.payer, self.mint, 6),
                *make_token_account(self.payer, self.holding, self.mint.pubkey(), self.to),
                mint_to(self.payer, self.mint.pubkey(), self.holding.pubkey(), 1_500_000),
            ]
            for transaction in (
                pay(self.payer, self.to, SOL, self.blockhash, legacy=True),
                pay(self.payer, self.to, 100 * SOL, self.blockhash),
                signed(made, [self.payer, self.mint, self.holding], self.blockhash),
            ):
                sent = await self.call("sendTransaction", as_base64(transaction), {**BASE64, "skipPreflight": True})
                self.signatures.append(sent["result"])
                # One after the other: the order within a slot is the validator's choice.
                await client.confirm_transaction(Signature.from_string(sent["result"]), Confirmed, sleep_seconds=0.1)
        return self

    async def call(self, method: str, *params: Any) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        async with self.http.post(self.chain.rpc_url, json=body) as response:
            return json.loads(await response.text())


Request = tuple[str, Callable[[Party], list[Any]]]


def _sent(make: Callable[[Party], VersionedTransaction]) -> Callable[[Party], list[Any]]:
    return lambda party: [as_base64(make(party)), {**BASE64, "preflightCommitment": "confirmed"}]


def _forged(party: Party) -> VersionedTransaction:
    good = pay(party.payer, party.to, 7, party.blockhash)
    return VersionedTransaction.populate(good.message, [Signature.new_unique()])


SENT: dict[str, Callable[[Party], VersionedTransaction]] = {
    "fails": lambda p: pay(p.payer, p.to, 100 * SOL + 1, p.blockhash),
    "stranger pays": lambda p: pay(Keypair(), p.to, 1, p.blockhash),
    "rent": lambda p: pay(p.payer, Pubkey.new_unique(), 1, p.blockhash),
    "unknown blockhash": lambda p: pay(p.payer, p.to, 1, Hash.new_unique()),
    "forged": _forged,
    "again": lambda p: pay(p.payer, p.to, SOL, p.blockhash, legacy=True),
}

BAD_PARAMS: list[tuple[str, list[Any]]] = [
    ("getAccountInfo", []),
    ("getAccountInfo", [5]),
    ("getAccountInfo", ["abc"]),
    ("getAccountInfo", ["1" * 50]),
    ("getAccountInfo", ["0" * 44]),
    ("getAccountInfo", [NOBODY, None, None]),
    ("getMultipleAccounts", [[NOBODY] * 101]),
    ("getProgramAccounts", [NOBODY, {"filters": [{"dataSize": 1}] * 5}]),
    ("getProgramAccounts", [NOBODY, {"filters": [{"foo": 1}]}]),
    ("getProgramAccounts", [NOBODY, {"filters": [{"memcmp": {"offset": 0, "bytes": "0O"}}]}]),
    ("getProgramAccounts", [NOBODY, {"filters": [{"memcmp": {"offset": 0, "bytes": "1" * 200}}]}]),
    ("getSignaturesForAddress", [NOBODY, {"limit": 1_001}]),
    ("getSignatureStatuses", [["xx"]]),
    ("getSignatureStatuses", [[str(Signature.default())] * 257]),
    ("getTokenAccountsByOwner", [NOBODY, {}]),
    ("isBlockhashValid", ["zz"]),
    ("sendTransaction", ["0OIl"]),
    ("sendTransaction", ["aaaa", {"encoding": "json"}]),
    ("sendTransaction", ["A" * 2_668, {"encoding": "base64"}]),
]

REQUESTS: dict[str, Request] = {
    **{f"send: {name}": ("sendTransaction", _sent(make)) for name, make in SENT.items()},
    **{
        f"simulate: {name}": (
            "simulateTransaction",
            lambda p, make=make: [as_base64(make(p)), {**BASE64, "sigVerify": True}],
        )
        for name, make in SENT.items()
    },
    "simulate with a contradiction": (
        "simulateTransaction",
        lambda p: [
            as_base64(pay(p.payer, p.to, 5, p.blockhash)),
            {**BASE64, "sigVerify": True, "replaceRecentBlockhash": True},
        ],
    ),
    "simulate": (
        "simulateTransaction",
        lambda p: [
            as_base64(pay(p.payer, p.to, 5, Hash.new_unique())),
            {
                **BASE64,
                "replaceRecentBlockhash": True,
                "innerInstructions": True,
                "accounts": {"encoding": "base64", "addresses": [str(p.to)]},
            },
        ],
    ),
    **{
        f"transaction {n} {encoding}": (
            "getTransaction",
            lambda p, n=n, encoding=encoding: [
                p.signatures[n],
                {**CONFIRMED, "encoding": encoding, "maxSupportedTransactionVersion": 0},
            ],
        )
        for n in range(3)
        for encoding in ("json", "jsonParsed", "base64")
    },
    "transaction without a version": ("getTransaction", lambda p: [p.signatures[2], CONFIRMED]),
    "transaction processed": ("getTransaction", lambda p: [p.signatures[0], {"commitment": "processed"}]),
    "statuses": ("getSignatureStatuses", lambda p: [[*p.signatures, str(Signature.default())]]),
    "history": ("getSignaturesForAddress", lambda p: [str(p.to), {**CONFIRMED, "limit": 2}]),
    **{
        f"account {encoding}": (
            "getAccountInfo",
            lambda p, encoding=encoding: [str(p.to), {**CONFIRMED, "encoding": encoding}],
        )
        for encoding in ("base58", "base64", "jsonParsed", "nonsense")
    },
    "mint": ("getAccountInfo", lambda p: [str(p.mint.pubkey()), {**CONFIRMED, "encoding": "jsonParsed"}]),
    "holding": ("getAccountInfo", lambda p: [str(p.holding.pubkey()), {**CONFIRMED, "encoding": "jsonParsed"}]),
    "long base58": ("getAccountInfo", lambda p: [str(p.holding.pubkey()), CONFIRMED]),
    "program": ("getAccountInfo", lambda _: [TOKENS, {**CONFIRMED, "encoding": "base64"}]),
    "clock": ("getAccountInfo", lambda _: [CLOCK, {**BASE64, "dataSlice": {"offset": 0, "length": 8}}]),
    "no account": ("getAccountInfo", lambda _: [NOBODY, CONFIRMED]),
    "accounts": ("getMultipleAccounts", lambda p: [[str(p.to), NOBODY], CONFIRMED]),
    "program accounts": (
        "getProgramAccounts",
        lambda p: [
            TOKENS,
            {**BASE64, "filters": [{"dataSize": 165}, {"memcmp": {"offset": 0, "bytes": str(p.mint.pubkey())}}]},
        ],
    ),
    "token balance": ("getTokenAccountBalance", lambda p: [str(p.holding.pubkey()), CONFIRMED]),
    "token balance of a wallet": ("getTokenAccountBalance", lambda p: [str(p.to), CONFIRMED]),
    "token supply": ("getTokenSupply", lambda p: [str(p.mint.pubkey()), CONFIRMED]),
    "token supply of nothing": ("getTokenSupply", lambda _: [NOBODY, CONFIRMED]),
    "token accounts": (
        "getTokenAccountsByOwner",
        lambda p: [str(p.to), {"mint": str(p.mint.pubkey())}, {**CONFIRMED, "encoding": "jsonParsed"}],
    ),
    "token accounts of no mint": ("getTokenAccountsByOwner", lambda p: [str(p.to), {"mint": str(p.to)}, CONFIRMED]),
    "token accounts of no program": (
        "getTokenAccountsByOwner",
        lambda p: [str(p.to), {"programId": NOBODY}, CONFIRMED],
    ),
    "largest": ("getTokenLargestAccounts", lambda p: [str(p.mint.pubkey()), CONFIRMED]),
    "balance": ("getBalance", lambda p: [str(p.to), CONFIRMED]),
    "blockhash": ("getLatestBlockhash", lambda _: [CONFIRMED]),
    "valid blockhash": ("isBlockhashValid", lambda p: [str(p.blockhash), CONFIRMED]),
    "invalid blockhash": ("isBlockhashValid", lambda _: [NOBODY, CONFIRMED]),
    "rent": ("getMinimumBalanceForRentExemption", lambda _: [768]),
    "epoch": ("getEpochInfo", lambda _: [CONFIRMED]),
    "schedule": ("getEpochSchedule", lambda _: []),
    "identity": ("getIdentity", lambda _: []),
    "leader": ("getSlotLeader", lambda _: []),
    "version": ("getVersion", lambda _: []),
    "health": ("getHealth", lambda _: []),
    "genesis": ("getGenesisHash", lambda _: []),
    "unknown method": ("fooBar", lambda _: []),
    "too late slot": ("getBalance", lambda p: [str(p.to), {"minContextSlot": 10**9}]),
    "future block": ("getBlockTime", lambda _: [10**9]),
    **{
        f"bad params {n}": (method, lambda _, params=params: list(params))
        for n, (method, params) in enumerate(BAD_PARAMS)
    },
}


def shape(value: Any, name: str = "") -> Any:
    """The answer without what differs from chain to chain: keys and types, and the words of errors and logs."""
    if isinstance(value, dict):
        items = cast(dict[str, Any], value)
        return {key: shape(inner, key) for key, inner in sorted(items.items()) if key not in OPEN}
    if isinstance(value, list):
        return [shape(inner, name) for inner in cast(list[Any], value)]
    if isinstance(value, str) and name in ("message", "err", "state", "type", "program", "uiAmountString", "version"):
        return value
    if name in ("code", "fee", "computeUnitsConsumed", "unitsConsumed", "space", "costUnits", "decimals", "Custom"):
        return value
    return type(value).__name__


async def test_answers_are_alike(localnet_chain: RunningChain, validator_chain: RunningChain) -> None:
    async with aiohttp.ClientSession() as http:
        ours = await Party(localnet_chain, http).prepare()
        real = await Party(validator_chain, http).prepare()
        different: dict[str, Any] = {}
        for name, (method, params) in REQUESTS.items():
            here = shape(await ours.call(method, *params(ours)))
            there = shape(await real.call(method, *params(real)))
            if here != there:
                different[name] = {"localnet": here, "validator": there}
    assert not different, json.dumps(different, indent=1)
