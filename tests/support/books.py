"""Where every lamport and token of a few wallets went, asked from the chain itself over JSON-RPC."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.solana.addresses import create_token_account, token_address
from tests.support.transactions import as_base64, make_mint, mint_to, signed

CONFIRMED = {"commitment": "confirmed"}


def ask(rpc_url: str, method: str, *params: object) -> Any:
    """One JSON-RPC call's result."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(rpc_url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        said = json.load(answer)
    assert "result" in said, f"{method}: {said}"
    return said["result"]


def lamports(rpc_url: str, address: str | Pubkey) -> int:
    return int(ask(rpc_url, "getBalance", str(address), CONFIRMED)["value"])


def tokens(rpc_url: str, wallet: str, mint: Pubkey) -> int:
    """Base units in a wallet's associated token account, which must be there."""
    account = token_address(Pubkey.from_string(wallet), mint)
    return int(ask(rpc_url, "getTokenAccountBalance", str(account), CONFIRMED)["value"]["amount"])


def fees_paid(rpc_url: str, wallets: Sequence[str]) -> int:
    """Lamports of network fees in all transactions for which one of the wallets paid."""
    total = 0
    signatures = {
        row["signature"] for wallet in wallets for row in ask(rpc_url, "getSignaturesForAddress", wallet, CONFIRMED)
    }
    options = {**CONFIRMED, "maxSupportedTransactionVersion": 0, "encoding": "json"}
    for signature in signatures:
        seen = ask(rpc_url, "getTransaction", signature, options)
        if seen["transaction"]["message"]["accountKeys"][0] in wallets:
            total += seen["meta"]["fee"]
    return total


def send(rpc_url: str, payer: Keypair, instructions: Sequence[Instruction], *signers: Keypair) -> None:
    """Sends a transaction, again each second (a busy validator drops some), until it is confirmed: a minute at most."""
    blockhash = Hash.from_string(ask(rpc_url, "getLatestBlockhash", CONFIRMED)["value"]["blockhash"])
    transaction = signed(instructions, [payer, *signers], blockhash)
    options: dict[str, object] = {"encoding": "base64", "preflightCommitment": "confirmed"}
    deadline = time.monotonic() + 60
    signature = ""
    while time.monotonic() < deadline:
        signature = ask(rpc_url, "sendTransaction", as_base64(transaction), options)
        # Once it has landed, a simulation of it fails.
        options["skipPreflight"] = True
        for _ in range(10):
            (seen,) = ask(rpc_url, "getSignatureStatuses", [signature])["value"]
            if seen is not None and seen["confirmationStatus"] in ("confirmed", "finalized"):
                assert seen["err"] is None, seen
                return
            time.sleep(0.1)
    raise AssertionError(f"{signature} wasn't confirmed")


def new_token(rpc_url: str, payer: Keypair, holders: Mapping[str, int], decimals: int = 6) -> Pubkey:
    """A new SPL mint, and associated token accounts that hold some of it."""
    mint = Keypair()
    instructions = make_mint(payer, mint, decimals)
    for wallet, amount in holders.items():
        owner = Pubkey.from_string(wallet)
        instructions.append(create_token_account(payer.pubkey(), owner, mint.pubkey()))
        instructions.append(mint_to(payer, mint.pubkey(), token_address(owner, mint.pubkey()), amount))
    send(rpc_url, payer, instructions, mint)
    return mint.pubkey()
