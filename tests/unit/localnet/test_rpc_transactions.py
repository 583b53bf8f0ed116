"""Sending, simulating and looking back, without sockets."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from solders.address_lookup_table_account import AddressLookupTable, AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import (
    TransferParams,
    create_lookup_table,
    extend_lookup_table,
    transfer,
)
from solders.transaction import VersionedTransaction

from hypernode_worker.localnet import Bank, Rpc, RpcError
from tests.support.transactions import SOL, as_base64, pay, signed

BASE64 = {"encoding": "base64"}
V0 = {"maxSupportedTransactionVersion": 0}


def call(rpc: Rpc, method: str, *params: Any) -> Any:
    return rpc.handle(method, params)


def test_a_sent_transaction_is_confirmed_at_once(rpc: Rpc, bank: Bank, payer: Keypair) -> None:
    sent = pay(payer, Pubkey.new_unique(), SOL, bank.latest_blockhash)
    signature = call(rpc, "sendTransaction", as_base64(sent), BASE64)
    assert signature == str(sent.signatures[0])
    answer = call(rpc, "getSignatureStatuses", [signature, str(Signature.default())])
    assert answer["value"] == [
        {
            "confirmationStatus": "finalized",
            "confirmations": None,
            "err": None,
            "slot": bank.slot,
            "status": {"Ok": None},
        },
        None,
    ]


def preflight(rpc: Rpc, transaction: VersionedTransaction) -> dict[str, Any]:
    with pytest.raises(RpcError) as caught:
        call(rpc, "sendTransaction", as_base64(transaction), BASE64)
    assert caught.value.code == -32002
    return caught.value.to_json()  # type: ignore[return-value]


def test_a_preflight_failure_tells_error_and_logs(rpc: Rpc, bank: Bank, payer: Keypair) -> None:
    error = preflight(rpc, pay(payer, Pubkey.new_unique(), 1_000 * SOL, bank.latest_blockhash))
    assert error["message"] == (
        "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1"
    )
    data = error["data"]
    assert data["err"] == {"InstructionError": [0, {"Custom": 1}]}
    assert data["logs"][0] == "Program 11111111111111111111111111111111 invoke [1]"
    assert (data["fee"], data["unitsConsumed"]) == (5_000, 150)
    assert bank.transaction_count == 1


@pytest.mark.parametrize(
    ("fault", "err", "message"),
    [
        ("hash", "BlockhashNotFound", "Blockhash not found"),
        ("signature", "SignatureFailure", "Transaction did not pass signature verification"),
        ("payer", "AccountNotFound", "Attempt to debit an account but found no record of a prior credit."),
        ("again", "AlreadyProcessed", "This transaction has already been processed"),
        (
            "rent",
            {"InsufficientFundsForRent": {"account_index": 1}},
            "Transaction results in an account (1) with insufficient funds for rent",
        ),
    ],
)
def test_what_preflight_refuses_is_dropped_without_it(
    rpc: Rpc, bank: Bank, payer: Keypair, fault: str, err: object, message: str
) -> None:
    to, blockhash = Pubkey.new_unique(), bank.latest_blockhash
    transaction = pay(payer, to, SOL, blockhash)
    match fault:
        case "hash":
            transaction = pay(payer, to, SOL, Hash.new_unique())
        case "signature":
            transaction = VersionedTransaction.populate(transaction.message, [Signature.new_unique()])
        case "payer":
            transaction = pay(Keypair(), to, SOL, blockhash)
        case "again":
            bank.send(transaction)
        case _:
            transaction = pay(payer, to, 1, blockhash)
    error = preflight(rpc, transaction)
    assert error["data"]["err"] == err
    assert error["message"] == f"Transaction simulation failed: {message}"
    before = bank.transaction_count
    call(rpc, "sendTransaction", as_base64(transaction), {**BASE64, "skipPreflight": True})
    # Only the one that breaks the rent rule can be executed, and lands as a failure.
    assert bank.transaction_count == before + (fault == "rent")


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("encoding", ["json", "jsonParsed", "base64", "base58"])
def test_a_transaction_is_shown(rpc: Rpc, bank: Bank, payer: Keypair, legacy: bool, encoding: str) -> None:
    sent = pay(payer, Pubkey.new_unique(), SOL, bank.latest_blockhash, legacy=legacy)
    signature = call(rpc, "sendTransaction", as_base64(sent), BASE64)
    shown = call(rpc, "getTransaction", signature, {**V0, "encoding": encoding})
    assert shown["slot"] == bank.slot
    assert shown["version"] == ("legacy" if legacy else 0)
    assert shown["meta"]["preBalances"][0] - shown["meta"]["postBalances"][0] == SOL + 5_000
    assert shown["meta"]["costUnits"] == 1_481
    body = shown["transaction"]
    if encoding == "base64":
        assert VersionedTransaction.from_bytes(base64.b64decode(body[0])) == sent
    elif encoding == "json":
        assert body["message"]["instructions"][0]["data"] == "3Bxs3zzLZLuLQEYX"
    elif encoding == "jsonParsed":
        parsed = body["message"]["instructions"][0]["parsed"]
        assert parsed["type"] == "transfer"
        assert parsed["info"]["lamports"] == SOL


def test_a_version_that_the_client_does_not_read_is_refused(rpc: Rpc, bank: Bank, payer: Keypair) -> None:
    landed = bank.send(pay(payer, Pubkey.new_unique(), SOL, bank.latest_blockhash))
    with pytest.raises(RpcError) as caught:
        call(rpc, "getTransaction", landed.signature)
    assert caught.value.code == -32015
    assert call(rpc, "getTransaction", str(Signature.new_unique())) is None


def test_signatures_of_an_address_are_paged(rpc: Rpc, bank: Bank, payer: Keypair) -> None:
    to = Pubkey.new_unique()
    sent = [bank.send(pay(payer, to, SOL + n, bank.latest_blockhash)).signature for n in range(6)]
    newest_first = sent[::-1]

    def page(**config: Any) -> list[str]:
        return [item["signature"] for item in call(rpc, "getSignaturesForAddress", str(to), config)]

    assert page() == newest_first
    assert page(limit=2) == newest_first[:2]
    assert page(before=sent[4], limit=2) == newest_first[2:4]
    assert page(before=sent[4], until=sent[1]) == newest_first[2:4]
    assert page(until=sent[0]) == newest_first[:5]
    assert page(before=str(Signature.new_unique())) == []


def test_blocks_hold_their_transactions(rpc: Rpc, bank: Bank, payer: Keypair) -> None:
    bank.advance()
    slot = bank.slot
    sent = [bank.send(pay(payer, Pubkey.new_unique(), SOL, bank.latest_blockhash)).signature for _ in range(3)]
    bank.advance()
    shown = call(rpc, "getBlock", slot, {"transactionDetails": "signatures", "rewards": False})
    assert shown["signatures"] == sent
    assert shown["parentSlot"] == slot - 1
    full = call(rpc, "getBlock", slot, V0)
    assert [one["transaction"]["signatures"][0] for one in full["transactions"]] == sent
    following = call(rpc, "getBlock", slot + 1, V0)
    assert following["previousBlockhash"] == shown["blockhash"]
    assert call(rpc, "getBlocks", slot, slot + 5) == [slot, slot + 1]
    assert call(rpc, "getBlocks", slot) == [slot, slot + 1]
    assert call(rpc, "getBlockTime", slot) == bank.time_of(slot)
    for missing, code in ((slot + 2, -32004), (0, -32001)):
        with pytest.raises(RpcError) as caught:
            call(rpc, "getBlock", missing, V0)
        assert caught.value.code == code


def test_a_simulation_shows_accounts_and_replaces_the_blockhash(rpc: Rpc, bank: Bank, payer: Keypair) -> None:
    to = Pubkey.new_unique()
    transaction = pay(payer, to, SOL, Hash.new_unique())
    unsigned = VersionedTransaction.populate(transaction.message, [Signature.default()])
    config = {
        **BASE64,
        "replaceRecentBlockhash": True,
        "accounts": {"encoding": "base64", "addresses": [str(to), str(Pubkey.new_unique())]},
    }
    value = call(rpc, "simulateTransaction", as_base64(unsigned), config)["value"]
    assert value["err"] is None
    assert value["accounts"][0]["lamports"] == SOL
    assert value["accounts"][1] is None
    assert value["replacementBlockhash"]["blockhash"] == str(bank.latest_blockhash)
    assert value["unitsConsumed"] == 150
    assert value["loadedAccountsDataSize"] == 142
    assert bank.account(to) is None
    plain = call(rpc, "simulateTransaction", as_base64(unsigned), BASE64)["value"]
    assert plain["err"] == "BlockhashNotFound"


def test_the_fee_of_a_message_counts_signatures_and_priority(rpc: Rpc, bank: Bank, payer: Keypair) -> None:
    other = Keypair()
    budget = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
    limit = Instruction(budget, b"\2" + (100_000).to_bytes(4, "little"), [])
    price = Instruction(budget, b"\3" + (2_000_000).to_bytes(8, "little"), [])
    move = transfer(TransferParams(from_pubkey=other.pubkey(), to_pubkey=payer.pubkey(), lamports=1))
    message = signed([limit, price, move], [payer, other], bank.latest_blockhash).message
    # MessageV0's bytes carry their version prefix only inside a transaction.
    text = base64.b64encode(b"\x80" + bytes(message).removeprefix(b"\x80")).decode()
    assert call(rpc, "getFeeForMessage", text)["value"] == 10_000 + 200_000
    bank.advance(151)
    assert call(rpc, "getFeeForMessage", text)["value"] is None


def test_lookup_tables_name_accounts_everywhere(rpc: Rpc, bank: Bank, payer: Keypair) -> None:
    key, to = payer.pubkey(), Pubkey.new_unique()
    make, table = create_lookup_table({"authority_address": key, "payer_address": key, "recent_slot": bank.slot})
    extend = extend_lookup_table(
        {
            "lookup_table_address": table,
            "authority_address": key,
            "payer_address": key,
            "new_addresses": [Pubkey.new_unique(), to],
        }
    )
    assert bank.send(signed([make, extend], [payer], bank.latest_blockhash)).err is None
    bank.advance()
    account = bank.account(table)
    assert account is not None
    addresses = AddressLookupTable.deserialize(account.data).addresses
    move = transfer(TransferParams(from_pubkey=key, to_pubkey=to, lamports=SOL))
    tables = [AddressLookupTableAccount(table, addresses)]
    landed = bank.send(signed([move], [payer], bank.latest_blockhash, tables=tables))
    assert landed.err is None
    shown = call(rpc, "getTransaction", landed.signature, {**V0, "encoding": "json"})
    assert shown["meta"]["loadedAddresses"] == {"readonly": [], "writable": [str(to)]}
    assert shown["meta"]["postBalances"][2] == SOL
    parsed = call(rpc, "getTransaction", landed.signature, {**V0, "encoding": "jsonParsed"})
    assert parsed["transaction"]["message"]["accountKeys"][2] == {
        "pubkey": str(to),
        "signer": False,
        "source": "lookupTable",
        "writable": True,
    }
    assert [one["signature"] for one in call(rpc, "getSignaturesForAddress", str(to))] == [landed.signature]
    info = call(rpc, "getAccountInfo", str(table), {"encoding": "jsonParsed"})["value"]["data"]["parsed"]
    assert info["info"]["addresses"][1] == str(to)
    missing = [AddressLookupTableAccount(Pubkey.new_unique(), addresses)]
    error = preflight(rpc, signed([move], [payer], bank.latest_blockhash, tables=missing))
    assert error["data"]["err"] == "AddressLookupTableNotFound"
