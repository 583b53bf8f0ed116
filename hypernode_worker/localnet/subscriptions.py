"""Solana's PubSub over a bank, without sockets: who wants to hear what, and the messages for each change."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from solders.pubkey import Pubkey

from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.localnet.bank import Bank, Changes
from hypernode_worker.localnet.json_types import Json, JsonObject
from hypernode_worker.localnet.landed import Landed
from hypernode_worker.localnet.rpc.dispatcher import dump, error_answer, parse_json, read_request
from hypernode_worker.localnet.rpc.encoding import AccountView
from hypernode_worker.localnet.rpc.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RpcError,
    invalid_params,
)
from hypernode_worker.localnet.rpc.filters import AccountFilter
from hypernode_worker.localnet.rpc.params import Params, parse_pubkey, parse_signature

MAX_SUBSCRIPTIONS_PER_CONNECTION = 10_000
MAX_SUBSCRIPTIONS = 100_000

_ROOT_LAG_SLOTS = 31
_NO_ACCOUNT = ChainAccount(0, b"", Pubkey.default())

Topic: TypeAlias = tuple[str, "Pubkey | str | None"]
"""What a subscription listens to: a kind, and an address, program or signature."""


@dataclass(frozen=True, slots=True)
class _Subscription:
    """One subscription of one connection."""

    id: int
    topic: Topic
    connection: Connection
    view: AccountView
    wanted: AccountFilter


class Subscriptions:
    """All subscriptions of a chain.

    A change costs as much as its accounts and their subscribers, whatever else there is.
    """

    def __init__(self, bank: Bank, *, limit: int = MAX_SUBSCRIPTIONS) -> None:
        self.bank = bank
        self._limit = limit
        self._ids = itertools.count(1)
        self._by_id: dict[int, _Subscription] = {}
        self._by_topic: defaultdict[Topic, dict[int, _Subscription]] = defaultdict(dict)
        bank.on_change.append(self._changed)
        bank.on_slot.append(self._advanced)

    def __len__(self) -> int:
        return len(self._by_id)

    def connect(self, send: Callable[[str], None], *, limit: int = MAX_SUBSCRIPTIONS_PER_CONNECTION) -> Connection:
        """A new client. `send` gets each message for it as JSON text; it must neither block nor raise."""
        return Connection(self, send, limit)

    def detach(self) -> None:
        """Stops listening to the bank."""
        self.bank.on_change.remove(self._changed)
        self.bank.on_slot.remove(self._advanced)

    def add(self, connection: Connection, topic: Topic, view: AccountView, wanted: AccountFilter) -> int:
        """Adds a subscription and gives its id; raises RpcError when there are too many."""
        if len(self._by_id) >= self._limit:
            raise RpcError(INTERNAL_ERROR, "Internal Error: Subscription refused. Node subscription limit reached")
        subscription = _Subscription(next(self._ids), topic, connection, view, wanted)
        self._by_id[subscription.id] = subscription
        self._by_topic[topic][subscription.id] = subscription
        return subscription.id

    def remove(self, subscription_id: int) -> None:
        """Removes it. May be repeated."""
        subscription = self._by_id.pop(subscription_id, None)
        if subscription is None:
            return
        subscription.connection.forget(subscription_id)
        listeners = self._by_topic[subscription.topic]
        del listeners[subscription_id]
        if not listeners:
            del self._by_topic[subscription.topic]

    def notify_landed(self, landed: Landed) -> None:
        """Tells the signature's subscribers; each hears it once and is done."""
        for subscription in self._listeners("signature", landed.signature):
            self._notify(subscription, "signatureNotification", {"err": landed.err})
            self.remove(subscription.id)

    def _listeners(self, kind: str, of: Pubkey | str | None = None) -> Iterable[_Subscription]:
        listeners = self._by_topic.get((kind, of))
        return tuple(listeners.values()) if listeners else ()

    def _changed(self, changes: Changes, landed: Landed | None) -> None:
        if not self._by_id:
            return
        for address, account in changes.items():
            for subscription in self._listeners("account", address):
                shown = self._show(subscription, address, account or _NO_ACCOUNT)
                self._notify(subscription, "accountNotification", shown)
            if account is None:
                continue
            for subscription in self._listeners("program", account.owner):
                if subscription.wanted.matches(account):
                    value: Json = {
                        "pubkey": str(address),
                        "account": self._show(subscription, address, account),
                    }
                    self._notify(subscription, "programNotification", value)
        if landed is not None:
            self._notify_logs(landed)
            self.notify_landed(landed)

    def _notify_logs(self, landed: Landed) -> None:
        listening = [*self._listeners("logs")]
        for key in landed.keys:
            listening += self._listeners("logs", key)
        if listening:
            value: Json = {"signature": landed.signature, "err": landed.err, "logs": landed.logs()}
            for subscription in listening:
                self._notify(subscription, "logsNotification", value)

    def _advanced(self, slot: int) -> None:
        root = max(0, slot - _ROOT_LAG_SLOTS)
        for subscription in self._listeners("slot"):
            self._send(subscription, "slotNotification", {"slot": slot, "parent": slot - 1, "root": root})
        for subscription in self._listeners("root"):
            self._send(subscription, "rootNotification", root)

    def _show(self, subscription: _Subscription, address: Pubkey, account: ChainAccount) -> Json:
        try:
            return subscription.view.to_json(address, account, self.bank.account)
        except RpcError as error:
            # As Agave: a notification can't fail, so the data says why it isn't there.
            view = AccountView("base64", (0, 0))
            shown = view.to_json(address, account, self.bank.account)
            shown["data"] = f"error: {error.message}"
            return shown

    def _notify(self, subscription: _Subscription, method: str, value: Json) -> None:
        self._send(subscription, method, {"context": {"slot": self.bank.slot}, "value": value})

    @staticmethod
    def _send(subscription: _Subscription, method: str, result: Json) -> None:
        params: JsonObject = {"result": result, "subscription": subscription.id}
        subscription.connection.send(dump({"jsonrpc": "2.0", "method": method, "params": params}))


class Connection:
    """One PubSub client. Give its messages to `receive`; close it when it is gone."""

    def __init__(self, subscriptions: Subscriptions, send: Callable[[str], None], limit: int) -> None:
        self._all = subscriptions
        self._limit = limit
        self._ids: set[int] = set()
        self.send = send

    def receive(self, text: str | bytes) -> None:
        """Serves one request or a batch; every answer goes through `send`. Never raises."""
        try:
            request = parse_json(text)
        except ValueError:
            self.send(dump(error_answer(None, RpcError(PARSE_ERROR, "Parse error"))))
            return
        for one in request if isinstance(request, list) else [request]:
            self._serve(one)

    def close(self) -> None:
        """Ends all of the client's subscriptions. May be repeated."""
        for subscription_id in tuple(self._ids):
            self._all.remove(subscription_id)

    def forget(self, subscription_id: int) -> None:
        """The subscription ended."""
        self._ids.discard(subscription_id)

    def _serve(self, request: Json) -> None:
        try:
            method, params, request_id, expects = read_request(request)
        except RpcError as error:
            # Some clients keep the connection alive with a `ping` without an id: no answer is due.
            request_id = request.get("id") if isinstance(request, dict) else None
            self.send(dump(error_answer(request_id, error)))
            return
        if not expects:
            return
        try:
            result = self._call(method, params)
        except RpcError as error:
            self.send(dump(error_answer(request_id, error)))
            return
        self.send(dump({"jsonrpc": "2.0", "result": result, "id": request_id}))
        if method == "signatureSubscribe":
            landed = self._all.bank.landed(parse_signature(params[0]))
            if landed is not None:
                self._all.notify_landed(landed)

    def _call(self, method: str, values: list[Json]) -> Json:
        kind = method.removesuffix("Unsubscribe")
        if kind != method and kind in _READERS:
            return self._unsubscribe(Params(values, 1, 1).integer(0))
        kind = method.removesuffix("Subscribe")
        reader = _READERS.get(kind) if kind != method else None
        if reader is None:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        if len(self._ids) >= self._limit:
            raise RpcError(INTERNAL_ERROR, f"Subscription refused. One connection may have {self._limit} subscriptions")
        least, most, read = reader
        topic, view, wanted = read(Params(values, least, most))
        subscription_id = self._all.add(self, topic, view, wanted)
        self._ids.add(subscription_id)
        return subscription_id

    def _unsubscribe(self, subscription_id: int) -> bool:
        if subscription_id not in self._ids:
            raise RpcError(INVALID_PARAMS, "Invalid subscription id.")
        self._all.remove(subscription_id)
        return True


_Reading = tuple[Topic, AccountView, AccountFilter]
_PLAIN = AccountView("base64", None)
_EVERYTHING = AccountFilter()


def _read_account(params: Params) -> _Reading:
    return ("account", params.pubkey(0)), AccountView.of(params.config(1)), _EVERYTHING


def _read_program(params: Params) -> _Reading:
    config = params.config(1)
    return ("program", params.pubkey(0)), AccountView.of(config), AccountFilter.of(config)


def _read_signature(params: Params) -> _Reading:
    params.config(1).flag("enableReceivedNotification")
    return ("signature", params.signature(0)), _PLAIN, _EVERYTHING


def _read_logs(params: Params) -> _Reading:
    params.config(1)
    match params.raw(0):
        case "all" | "allWithVotes":
            return ("logs", None), _PLAIN, _EVERYTHING
        case {"mentions": [address]}:
            return ("logs", parse_pubkey(address)), _PLAIN, _EVERYTHING
        case {"mentions": list()}:
            raise invalid_params("Invalid Request: Only 1 address supported")
        case _:
            raise invalid_params("Invalid params: give `all`, `allWithVotes` or an object with `mentions`.")


_READERS: dict[str, tuple[int, int, Callable[[Params], _Reading]]] = {
    "account": (1, 2, _read_account),
    "program": (1, 2, _read_program),
    "signature": (1, 2, _read_signature),
    "logs": (1, 2, _read_logs),
    "slot": (0, 0, lambda _: (("slot", None), _PLAIN, _EVERYTHING)),
    "root": (0, 0, lambda _: (("root", None), _PLAIN, _EVERYTHING)),
}
