"""The JSON-RPC methods that are used here, typed: explicit commitment, checked shapes, slots that never go back.

Read-your-writes: `after(slot)` makes every later read ask for at least that slot, and no answer from an older one is
believed.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.errors import EndpointDown
from hypernode_worker.solana.http_provider import nonsense
from hypernode_worker.solana.transport import EndpointBehind, Json, Subscription, Transport

T = TypeVar("T")

SCAN_MAX_BYTES = 64 << 20
BEHIND_TIMEOUT_S = 8.0
BEHIND_PAUSE_S = 0.3
MAX_SLOTS_BACK = 150
"""Endpoints behind one name may differ by some slots; more than a minute back is another chain or a frozen one."""

_LEVELS = {"processed": 0, "confirmed": 1, "finalized": 2}


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """An account as an endpoint tells it, in one slot."""

    address: Pubkey
    owner: Pubkey
    lamports: int
    data: bytes
    executable: bool


@dataclass(frozen=True, slots=True)
class Blockhash:
    """A recent blockhash as text, and the last block height at which a transaction with it can land."""

    text: str
    last_valid_block_height: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """What simulateTransaction said; err is the transaction error's JSON, None: it would succeed."""

    err: Json
    logs: tuple[str, ...]
    units: int | None
    fee_lamports: int | None
    blockhash: Blockhash | None


@dataclass(frozen=True, slots=True)
class SignatureStatus:
    """A transaction that is in a block; `confirmed`: at the commitment asked for."""

    slot: int
    err: Json
    confirmed: bool


class Rpc:
    """Typed requests at one commitment.

    Attributes:
        last_slot: the slot that the latest answer or notification came from.
    """

    def __init__(self, transport: Transport, *, commitment: str = "confirmed") -> None:
        if commitment not in _LEVELS:
            raise ValueError(f"{commitment!r} is no commitment")
        self.transport = transport
        self.commitment = commitment
        self.last_slot = 0
        self._floor = 0
        # By endpoint: one that lies about a slot far ahead must not make the others look frozen.
        self._slots: dict[str, int] = {}

    def after(self, slot: int) -> None:
        """Reads from now on see at least this slot: ours is the write that landed in it."""
        self._floor = max(self._floor, slot)

    # --- reads ---

    async def account(self, address: Pubkey) -> tuple[AccountInfo | None, int]:
        """The account or None, and the slot of the answer."""
        config = self._config(encoding="base64")
        return await self._in_context(
            "getAccountInfo", [str(address), config], lambda value: None if value is None else _account(address, value)
        )

    async def account_head(self, address: Pubkey, length: int) -> AccountInfo | None:
        """The account with the first `length` bytes of its data, for those of any size."""
        config = self._config(encoding="base64", **_slice(range(length)))
        return (
            await self._in_context(
                "getAccountInfo", [str(address), config], lambda v: None if v is None else _account(address, v)
            )
        )[0]

    async def balance(self, address: Pubkey) -> int:
        return (await self._in_context("getBalance", [str(address), self._config()], integer))[0]

    async def program_accounts(
        self, program: Pubkey, filters: Sequence[Json], *, part: range | None = None, max_bytes: int = SCAN_MAX_BYTES
    ) -> tuple[list[AccountInfo], int]:
        """The program's accounts that match, whole or these bytes of each, and the slot of the answer."""
        config = self._config(encoding="base64", filters=list(filters), withContext=True, **_slice(part))
        return await self._in_context(
            "getProgramAccounts",
            [str(program), config],
            lambda value: [_account(Pubkey.from_string(item["pubkey"]), item["account"]) for item in _list(value)],
            max_bytes=max_bytes,
        )

    async def rent(self, size: int) -> int:
        params = [size, {"commitment": self.commitment}]
        return await self._request("getMinimumBalanceForRentExemption", params, integer)

    async def genesis_hash(self) -> str:
        return await self._request("getGenesisHash", [], _text)

    async def version(self) -> str:
        return await self._request("getVersion", [], lambda value: _text(value["solana-core"]))

    async def block_height(self) -> int:
        return await self._request("getBlockHeight", [{"commitment": self.commitment}], integer)

    async def prioritization_fees(self, addresses: Sequence[Pubkey]) -> list[int]:
        """Micro-lamports a compute unit, of recent slots in which these accounts were written."""
        params = [[str(a) for a in addresses]]
        return await self._request(
            "getRecentPrioritizationFees", params, lambda v: [integer(i["prioritizationFee"]) for i in _list(v)]
        )

    # --- transactions ---

    async def blockhash(self) -> Blockhash:
        return (await self._in_context("getLatestBlockhash", [self._config()], _blockhash))[0]

    async def simulate(self, transaction: bytes, *, newest: bool = False) -> Simulation:
        """Runs it on the endpoint, unsigned and with a fresh blockhash, which comes with the answer.

        Args:
            newest: on the state of the latest block, confirmed or not; its blockhash may be of a block that is dropped.
        """
        config = self._config(encoding="base64", sigVerify=False, replaceRecentBlockhash=True)
        if newest:
            config["commitment"] = "processed"
        return (await self._in_context("simulateTransaction", [_base64(transaction), config], _simulation))[0]

    async def send(self, transaction: bytes) -> Signature:
        """Broadcasts it as it is: it has been simulated, and the sender repeats it itself."""
        config = {"encoding": "base64", "skipPreflight": True, "preflightCommitment": self.commitment, "maxRetries": 0}
        return await self._request("sendTransaction", [_base64(transaction), config], _signature)

    async def signature_status(self, signature: Signature, *, history: bool) -> SignatureStatus | None:
        """None when the endpoint knows nothing of it; with `history` it looks into its archive too."""
        params = [[str(signature)], {"searchTransactionHistory": history}]

        def parse(value: Json) -> SignatureStatus | None:
            (status,) = _list(value)
            if status is None:
                return None
            level = _LEVELS.get(status.get("confirmationStatus") or "finalized", -1)
            return SignatureStatus(integer(status["slot"]), status["err"], level >= _LEVELS[self.commitment])

        return (await self._in_context("getSignatureStatuses", params, parse))[0]

    async def airdrop(self, address: Pubkey, lamports: int) -> Signature:
        params = [str(address), lamports, {"commitment": self.commitment}]
        return await self._request("requestAirdrop", params, _signature)

    # --- subscriptions ---

    async def subscribe_signature(self, signature: Signature) -> Subscription:
        return await self.transport.subscribe("signatureSubscribe", [str(signature), {"commitment": self.commitment}])

    async def subscribe_account(self, address: Pubkey) -> Subscription:
        config = {"commitment": self.commitment, "encoding": "base64"}
        return await self.transport.subscribe("accountSubscribe", [str(address), config])

    async def subscribe_program(self, program: Pubkey, filters: Sequence[Json], *, length: int) -> Subscription:
        config = {
            "commitment": self.commitment,
            "encoding": "base64",
            "filters": list(filters),
            **_slice(range(length)),
        }
        return await self.transport.subscribe("programSubscribe", [str(program), config])

    def read_notification(self, result: Json, parser: Callable[[Json], T]) -> tuple[T, int]:
        """The parsed value of a notification and its slot. Raises EndpointDown for nonsense."""
        return self._parse("a notification", result, lambda r: (parser(r["value"]), self._seen(r, "notifications")))

    # --- how ---

    def _config(self, **more: Json) -> dict[str, Json]:
        config: dict[str, Json] = {"commitment": self.commitment, **more}
        if self._floor:
            config["minContextSlot"] = self._floor
        return config

    async def _in_context(
        self, method: str, params: list[Json], parser: Callable[[Json], T], max_bytes: int | None = None
    ) -> tuple[T, int]:
        """One request whose answer bears a slot. Waits a little for an endpoint that is behind our own writes."""
        give_up = asyncio.get_running_loop().time() + BEHIND_TIMEOUT_S
        while True:
            try:
                return await self._request(
                    method, params, lambda answer: (parser(answer["value"]), self._fresh(answer)), max_bytes
                )
            except EndpointBehind:
                if asyncio.get_running_loop().time() + BEHIND_PAUSE_S > give_up:
                    raise
                await asyncio.sleep(BEHIND_PAUSE_S)

    async def _request(
        self, method: str, params: list[Json], parser: Callable[[Json], T], max_bytes: int | None = None
    ) -> T:
        bound = {} if max_bytes is None else {"max_bytes": max_bytes}
        return self._parse(method, await self.transport.request(method, params, **bound), parser)

    def _parse(self, method: str, answer: Json, parser: Callable[[Json], T]) -> T:
        try:
            return parser(answer)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise nonsense(self.transport.name, method) from error

    def _fresh(self, answer: Json) -> int:
        slot = self._seen(answer, self.transport.name)
        if slot < self._floor:
            raise EndpointBehind(
                f"The endpoint {self.transport.name} answers from slot {slot}, before slot {self._floor} in which our "
                "own transaction landed: its answers aren't trusted until it has caught up."
            )
        return slot

    def _seen(self, answer: Json, source: str) -> int:
        slot = integer(answer["context"]["slot"])
        before = self._slots.get(source, 0)
        if slot < before - MAX_SLOTS_BACK:
            raise EndpointDown(
                f"The endpoint {self.transport.name} went back from slot {before} to {slot}: it is frozen or "
                "serves another chain; use another endpoint, or start again if the local chain was reset."
            )
        self._slots[source] = max(before, slot)
        self.last_slot = slot
        return slot


def integer(value: Json) -> int:
    """Raises TypeError for what is no whole number, or a negative one."""
    if type(value) is not int or value < 0:
        raise TypeError("not a whole number")
    return value


def _text(value: Json) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise TypeError("not a short text")
    return value


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value  # pyright: ignore[reportUnknownVariableType]


def _account(address: Pubkey, value: Json) -> AccountInfo:
    text, encoding = value["data"]
    if encoding != "base64":
        raise ValueError("another encoding than asked for")
    return AccountInfo(
        address=address,
        owner=Pubkey.from_string(_text(value["owner"])),
        lamports=integer(value["lamports"]),
        data=base64.b64decode(text, validate=True),
        executable=value["executable"] is True,
    )


def account_reader(address: Pubkey) -> Callable[[Json], AccountInfo]:
    """Reads an accountSubscribe notification's value."""
    return lambda value: _account(address, value)


def program_account(value: Json) -> AccountInfo:
    """Reads a programSubscribe notification's value."""
    return _account(Pubkey.from_string(value["pubkey"]), value["account"])


def _blockhash(value: Json) -> Blockhash:
    return Blockhash(_text(value["blockhash"]), integer(value["lastValidBlockHeight"]))


def _simulation(value: Json) -> Simulation:
    logs = _list(value.get("logs") or [])
    units, fee, replacement = value.get("unitsConsumed"), value.get("fee"), value.get("replacementBlockhash")
    return Simulation(
        err=value["err"],
        logs=tuple(str(line)[:500] for line in logs[:200]),
        units=None if units is None else integer(units),
        fee_lamports=None if fee is None else integer(fee),
        blockhash=None if replacement is None else _blockhash(replacement),
    )


def _signature(value: Json) -> Signature:
    return Signature.from_string(_text(value))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _slice(part: range | None) -> dict[str, Json]:
    return {} if part is None else {"dataSlice": {"offset": part.start, "length": len(part)}}
