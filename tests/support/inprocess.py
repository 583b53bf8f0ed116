"""A whole chain inside the test's event loop: real program, real JSON-RPC, no sockets, the loop's (virtual) time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Self

from solders.keypair import Keypair

from hypernode_worker.errors import EndpointDown
from hypernode_worker.localnet import Bank, Rpc, RpcError, Subscriptions
from hypernode_worker.solana.artifact import program_elf
from hypernode_worker.solana.client import SolanaClient
from hypernode_worker.solana.http_provider import read_answer, read_error
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID, MarketsProgram
from hypernode_worker.solana.subscription import SocketSubscription
from hypernode_worker.solana.transport import DEFAULT_MAX_BYTES, Json

SLOT_S = 0.4
START = 1_700_000_000
NAME = "http://inprocess"


class InProcessTransport:
    """The Transport over a localnet's `Rpc` and `Subscriptions`. Answers pass through JSON, as on the wire.

    Attributes:
        down: requests and subscriptions fail while it is True; use `drop` to lose the standing ones too.
        push_down: subscriptions alone fail.
        intercept: called with each method and its params first; what it returns (not None) is the answer.
    """

    def __init__(self, rpc: Rpc, subscriptions: Subscriptions, *, delay_s: float = 0.0) -> None:
        self.down = False
        self.push_down = False
        self.intercept: Callable[[str, Sequence[Json]], Json] | None = None
        self._rpc = rpc
        self._all = subscriptions
        self._delay_s = delay_s
        self._calls: Counter[str] = Counter()
        self._connection = subscriptions.connect(self._receive)
        self._ids = 0
        self._answers: dict[int, tuple[asyncio.Future[int], SocketSubscription]] = {}
        self._open: dict[int, SocketSubscription] = {}

    @property
    def name(self) -> str:
        return NAME

    @property
    def calls(self) -> Counter[str]:
        return self._calls

    @property
    def connected(self) -> bool:
        return not (self.down or self.push_down)

    async def request(self, method: str, params: Sequence[Json], *, max_bytes: int = DEFAULT_MAX_BYTES) -> Json:
        self._calls[method] += 1
        await asyncio.sleep(self._delay_s)
        if self.down:
            raise EndpointDown(f"The endpoint {NAME} is down.")
        wire: list[Any] = json.loads(json.dumps(list(params)))
        answer = self.intercept(method, wire) if self.intercept is not None else None
        if answer is None:
            try:
                answer = self._rpc.handle(method, wire)
            except RpcError as error:
                raise read_error(error.to_json(), method, NAME) from error
        text = json.dumps({"id": 1, "result": answer})
        assert len(text) <= max_bytes, f"{method} answered with {len(text)} bytes"
        return read_answer(text, 1, method, NAME)

    async def subscribe(self, method: str, params: Sequence[Json]) -> SocketSubscription:
        self._calls[method] += 1
        if self.down or self.push_down:
            raise EndpointDown(f"The endpoint {NAME} takes no subscriptions.")
        subscription = SocketSubscription(self, method)
        self._ids += 1
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[self._ids] = (answer, subscription)
        self._ask(method, list(params))
        await answer
        return subscription

    def _ask(self, method: str, params: list[Json]) -> None:
        self._connection.receive(json.dumps({"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params}))

    def _receive(self, text: str) -> None:
        message = json.loads(text)
        if "method" in message:
            subscription = self._open.get(message["params"]["subscription"])
            if subscription is not None:
                subscription.put(message["params"]["result"])
            return
        answer, subscription = self._answers.pop(message["id"], (None, None))
        if answer is None or subscription is None:
            return
        if "error" in message:
            answer.set_exception(read_error(message["error"], "a subscription", NAME))
            return
        subscription.id = message["result"]
        self._open[message["result"]] = subscription
        answer.set_result(message["result"])

    def drop(self) -> None:
        """Loses all subscriptions, as a cut connection does."""
        self._connection.close()
        self._connection = self._all.connect(self._receive)
        for subscription in list(self._open.values()):
            subscription.end(EndpointDown(f"The endpoint {NAME} closed the connection."))
        self._open.clear()

    def forget(self, subscription: SocketSubscription, unsubscribe: str) -> None:
        if subscription.id is not None and self._open.pop(subscription.id, None) is not None:
            self._ids += 1
            self._ask(unsubscribe, [subscription.id])

    async def close(self) -> None:
        self.drop()


class InProcessChain:
    """A chain whose slots follow the event loop's time: `async with InProcessChain() as chain`.

    Under looptime hours of it pass in a moment.
    """

    def __init__(self) -> None:
        self.bank = Bank(programs={LOCALNET_PROGRAM_ID: program_elf()}, unix_time=START)
        self.rpc = Rpc(self.bank)
        self.subscriptions = Subscriptions(self.bank)
        self.ticking = True
        self._clients: list[SolanaClient] = []
        self._ticks: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._ticks = asyncio.create_task(self._tick(), name="slots")
        return self

    async def __aexit__(self, *exc: object) -> None:
        for client in self._clients:
            await client.close()
        if self._ticks is not None:
            self._ticks.cancel()
            await asyncio.gather(self._ticks, return_exceptions=True)
        self.subscriptions.detach()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(SLOT_S)
            if self.ticking:
                self.bank.advance(1, SLOT_S)

    def transport(self, *, delay_s: float = 0.0) -> InProcessTransport:
        return InProcessTransport(self.rpc, self.subscriptions, delay_s=delay_s)

    def client(
        self,
        *,
        lamports: int = 10_000_000_000,
        transport: InProcessTransport | None = None,
        key: Keypair | None = None,
        **more: Any,
    ) -> SolanaClient:
        """A client with a new wallet that has this much; with `key` a new client of that wallet."""
        wallet = key or Keypair()
        if lamports and key is None:
            self.bank.airdrop(wallet.pubkey(), lamports)
        client = SolanaClient(transport or self.transport(), MarketsProgram(), wallet, **more)
        self._clients.append(client)
        return client
