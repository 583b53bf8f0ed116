"""PubSub without sockets: who hears what, in which order, at what cost."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.localnet import Bank, Subscriptions
from hypernode_worker.localnet.accounts import ChainAccount
from tests.support.transactions import SOL, pay

OWNER = Pubkey.new_unique()
BASE64 = {"encoding": "base64"}


class Client:
    """A PubSub client whose messages lie in a list."""

    def __init__(self, subscriptions: Subscriptions, limit: int = 100) -> None:
        self.messages: list[dict[str, Any]] = []
        self.connection = subscriptions.connect(lambda text: self.messages.append(json.loads(text)), limit=limit)

    def ask(self, method: str, *params: Any) -> dict[str, Any]:
        """Sends a request; gives its answer, which comes before any notification that it causes."""
        before = len(self.messages)
        body = {"jsonrpc": "2.0", "id": 9, "method": method, "params": list(params)}
        self.connection.receive(json.dumps(body))
        answer = self.messages[before]
        assert answer["id"] == 9
        return answer

    def subscribe(self, method: str, *params: Any) -> int:
        return self.ask(method, *params)["result"]

    def heard(self) -> list[tuple[str, int, Any]]:
        """The notifications since the last call: method, subscription and value."""
        told = [message for message in self.messages if "id" not in message]
        self.messages.clear()
        return [(one["method"], one["params"]["subscription"], one["params"]["result"]) for one in told]


@pytest.fixture
def subscriptions(bank: Bank) -> Subscriptions:
    return Subscriptions(bank)


@pytest.fixture
def client(subscriptions: Subscriptions) -> Client:
    return Client(subscriptions)


def test_an_account_is_followed_to_its_end(bank: Bank, payer: Keypair, client: Client) -> None:
    to = Pubkey.new_unique()
    number = client.subscribe("accountSubscribe", str(to), BASE64)
    bank.send(pay(payer, to, SOL, bank.latest_blockhash))
    bank.send(pay(payer, Pubkey.new_unique(), SOL, bank.latest_blockhash))
    bank.set_account(to, None)
    (first, second) = client.heard()
    assert first[:2] == ("accountNotification", number)
    assert first[2]["context"] == {"slot": bank.slot}
    assert first[2]["value"]["lamports"] == SOL
    assert second[2]["value"]["lamports"] == 0


def test_a_program_tells_matching_accounts_only(bank: Bank, client: Client) -> None:
    filters = [{"dataSize": 4}, {"memcmp": {"offset": 0, "bytes": [1]}}]
    client.subscribe("programSubscribe", str(OWNER), {**BASE64, "filters": filters})
    matching = Pubkey.new_unique()
    for address, data, owner in (
        (matching, b"\1abc", OWNER),
        (Pubkey.new_unique(), b"\2abc", OWNER),
        (Pubkey.new_unique(), b"\1abcd", OWNER),
        (Pubkey.new_unique(), b"\1abc", Pubkey.new_unique()),
    ):
        bank.set_account(address, ChainAccount(SOL, data, owner))
    # It leaves the filter, and then is gone: neither is told.
    bank.set_account(matching, ChainAccount(SOL, b"\2abc", OWNER))
    bank.set_account(matching, None)
    ((_, _, result),) = client.heard()
    assert result["value"]["pubkey"] == str(matching)
    assert base64.b64decode(result["value"]["account"]["data"][0]) == b"\1abc"


def test_a_notification_costs_its_accounts_not_the_programs(
    bank: Bank, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(500):
        bank.set_account(Pubkey.new_unique(), ChainAccount(SOL, bytes(4), OWNER))
    client.subscribe("programSubscribe", str(OWNER), BASE64)

    def scan(_owner: Pubkey) -> None:
        raise AssertionError("a change must not scan the program's accounts")

    monkeypatch.setattr(bank, "owned_by", scan)
    bank.set_account(Pubkey.new_unique(), ChainAccount(SOL, bytes(4), OWNER))
    assert len(client.heard()) == 1


def test_a_signature_is_told_once_before_or_after_it_landed(
    bank: Bank, payer: Keypair, client: Client, subscriptions: Subscriptions
) -> None:
    transaction = pay(payer, Pubkey.new_unique(), SOL, bank.latest_blockhash)
    signature = str(transaction.signatures[0])
    early = client.subscribe("signatureSubscribe", signature)
    bank.send(transaction)
    assert client.heard() == [
        ("signatureNotification", early, {"context": {"slot": bank.slot}, "value": {"err": None}})
    ]
    late = client.subscribe("signatureSubscribe", signature, {"commitment": "confirmed"})
    assert [told[:2] for told in client.heard()] == [("signatureNotification", late)]
    assert len(subscriptions) == 0
    assert client.ask("signatureUnsubscribe", late)["error"]["message"] == "Invalid subscription id."


def test_a_failure_is_told_with_its_error(bank: Bank, payer: Keypair, client: Client) -> None:
    transaction = pay(payer, Pubkey.new_unique(), 1_000 * SOL, bank.latest_blockhash)
    client.subscribe("signatureSubscribe", str(transaction.signatures[0]))
    client.subscribe("logsSubscribe", {"mentions": [str(payer.pubkey())]})
    client.subscribe("logsSubscribe", {"mentions": [str(OWNER)]})
    client.subscribe("logsSubscribe", "all")
    bank.send(transaction)
    heard = client.heard()
    assert [method for method, _, _ in heard] == ["logsNotification"] * 2 + ["signatureNotification"]
    err = {"InstructionError": [0, {"Custom": 1}]}
    assert heard[0][2]["value"]["err"] == heard[2][2]["value"]["err"] == err
    assert "insufficient lamports" in heard[0][2]["value"]["logs"][1]


def test_slots_and_roots_are_told(bank: Bank, client: Client) -> None:
    slots, roots = client.subscribe("slotSubscribe"), client.subscribe("rootSubscribe")
    bank.advance(100)
    slot = bank.slot
    assert client.heard() == [
        ("slotNotification", slots, {"slot": slot, "parent": slot - 1, "root": slot - 31}),
        ("rootNotification", roots, slot - 31),
    ]


def test_nothing_is_told_after_unsubscribing_or_closing(
    bank: Bank, client: Client, subscriptions: Subscriptions
) -> None:
    kept, ended = client.subscribe("slotSubscribe"), client.subscribe("slotSubscribe")
    assert client.ask("slotUnsubscribe", ended)["result"] is True
    bank.advance()
    assert [number for _, number, _ in client.heard()] == [kept]
    client.connection.close()
    client.connection.close()
    bank.advance()
    assert client.heard() == []
    assert len(subscriptions) == 0


def test_one_client_cannot_end_anothers_subscription(client: Client, subscriptions: Subscriptions) -> None:
    number = client.subscribe("slotSubscribe")
    other = Client(subscriptions)
    assert other.ask("slotUnsubscribe", number)["error"]["code"] == -32602
    assert len(subscriptions) == 1


def test_subscriptions_are_bounded(bank: Bank) -> None:
    subscriptions = Subscriptions(bank, limit=5)
    first, second = Client(subscriptions, limit=3), Client(subscriptions, limit=3)
    for _ in range(3):
        first.subscribe("slotSubscribe")
    assert "may have 3" in first.ask("slotSubscribe")["error"]["message"]
    second.subscribe("slotSubscribe")
    second.subscribe("slotSubscribe")
    assert "limit reached" in second.ask("slotSubscribe")["error"]["message"]
    first.connection.close()
    second.subscribe("slotSubscribe")


BAD_REQUESTS: list[tuple[str, list[Any], int]] = [
    ("blockSubscribe", ["all"], -32601),
    ("getSlot", [], -32601),
    ("Subscribe", [], -32601),
    ("accountSubscribe", [], -32602),
    ("accountSubscribe", ["nope"], -32602),
    ("accountSubscribe", [str(OWNER), {"encoding": "hex"}], -32602),
    ("signatureSubscribe", ["nope"], -32602),
    ("logsSubscribe", [{"mentions": []}], -32602),
    ("logsSubscribe", [{"mentions": [str(OWNER), str(OWNER)]}], -32602),
    ("logsSubscribe", ["some"], -32602),
    ("slotUnsubscribe", ["x"], -32602),
    ("slotUnsubscribe", [77], -32602),
]


@pytest.mark.parametrize(
    ("method", "params", "code"),
    BAD_REQUESTS,
)
def test_bad_requests_are_told(
    client: Client, subscriptions: Subscriptions, method: str, params: list[Any], code: int
) -> None:
    assert client.ask(method, *params)["error"]["code"] == code
    assert len(subscriptions) == 0


def test_messages_that_are_no_requests(client: Client) -> None:
    # Some clients keep the connection alive like this.
    client.connection.receive('{"jsonrpc":"2.0","method":"ping"}')
    assert client.messages == []
    client.connection.receive("{")
    client.connection.receive(b"\xff")
    assert [message["error"]["code"] for message in client.messages] == [-32700, -32700]
    client.messages.clear()
    client.connection.receive('[{"jsonrpc":"2.0","id":1,"method":"slotSubscribe"},5]')
    assert [("result" in message) for message in client.messages] == [True, False]


def test_data_too_long_for_base58_is_said_in_its_place(bank: Bank, client: Client) -> None:
    address = Pubkey.new_unique()
    client.subscribe("accountSubscribe", str(address))
    bank.set_account(address, ChainAccount(SOL, bytes(200), OWNER))
    ((_, _, result),) = client.heard()
    assert result["value"]["data"].startswith("error: Encoded binary")
