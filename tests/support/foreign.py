"""A Solana client library of others in a process of its own, which calls our program by nothing but its IDL.

Instructions are told by name, arguments and accounts; the library encodes, signs and sends them, and tells what it
decodes. Here it is checked that what landed, and what it read, is what our own client says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.types import CID_BYTES, Cid
from hypernode_worker.localnet import Localnet
from hypernode_worker.solana.codec import codec
from hypernode_worker.solana.idl_file import idl_path
from hypernode_worker.solana.logs import events_from_logs
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID

_ANSWER_S = 60.0

ToldEvent = tuple[str, dict[str, Any]]


class Refused(Exception):
    """The program refused the call; all of it as the library tells it."""

    def __init__(self, code: int, message: str, logs: list[str]) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.logs = logs


@dataclass(frozen=True, slots=True)
class Called:
    """A call that landed: its events, and by how many lamports the balance of each account changed."""

    events: list[ToldEvent]
    lamports: dict[Pubkey, int]


class Foreign:
    """Calls and reads by one library. `wallets` sign and pay by their names."""

    def __init__(self, process: asyncio.subprocess.Process, net: Localnet) -> None:
        self._process = process
        self._net = net

    async def call(self, instruction: Instruction, signer: str) -> Called:
        """Raises Refused."""
        name, args = codec().decode_instruction(bytes(instruction.data))
        answer = await self._ask(
            {"call": name, "args": _nested(name, args), "accounts": _accounts(name, instruction), "signer": signer}
        )
        if "refused" in answer:
            raise Refused(**answer["refused"])
        landed = self._net.bank.landed(answer["signature"])
        assert landed is not None
        assert landed.err is None
        (sent,) = landed.transaction().message.instructions
        assert sent.data == instruction.data
        assert [landed.keys[index] for index in sent.accounts] == [meta.pubkey for meta in instruction.accounts]
        meta: dict[str, Any] = landed.meta_of()
        events = [(event["name"], event["fields"]) for event in answer["events"]]
        ours = events_from_logs(LOCALNET_PROGRAM_ID, meta["logs"])
        assert events == [(event.name, plain(event.fields)) for event in ours]
        balances = zip(landed.keys, meta["pre_balances"], meta["post_balances"], strict=True)
        return Called(events, {key: after - before for key, before, after in balances if after != before})

    async def check_account(self, kind: str, address: Pubkey) -> None:
        """It reads the account, field for field, as we do."""
        account = self._net.bank.account(address)
        assert account is not None
        told = await self._ask({"fetch": kind, "address": str(address)})
        ours = plain(codec().decode_account(kind, account.data))
        assert told == ours, {key: (told.get(key), value) for key, value in ours.items() if told.get(key) != value}

    async def _ask(self, request: dict[str, Any]) -> Any:
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(_ANSWER_S):
            line = await stdout.readline()
        assert line, (await stderr.read()).decode()[-3_000:]
        return _numbers(json.loads(line))


@contextlib.asynccontextmanager
async def foreign(command: Sequence[str], net: Localnet, wallets: Path) -> AsyncGenerator[Foreign]:
    """Runs a library's script against the localnet; `wallets` is the file of secret keys. Ends it with the block."""
    process = await asyncio.create_subprocess_exec(
        *command,
        *(net.rpc_url, net.ws_url, str(idl_path()), str(wallets)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    try:
        yield Foreign(process, net)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def write_wallets(file: Path, wallets: Mapping[str, Keypair]) -> Path:
    file.write_text(json.dumps({name: list(bytes(key)) for name, key in wallets.items()}))
    return file


def plain(value: object) -> Any:
    """As JSON has it: keys in base58, bytes as lists, an absent CID as zeros."""
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case Pubkey():
            return str(value)
        case Cid():
            return list(value.to_bytes())
        case bytes():
            return list(value)
        case None:
            return [0] * CID_BYTES
        case _:
            return value


def _nested(name: str, flat: Mapping[str, object]) -> dict[str, Any]:
    """Arguments with their structs, integers that JavaScript can't hold as text."""
    idl = codec().idl

    def text(value: Any) -> Any:
        return str(value) if isinstance(value, int) and value >= 1 << 53 else value

    values = {key: text(value) for key, value in plain(flat).items()}
    return {
        arg.name: {f.name: values[f.name] for f in idl.types[arg.type]} if arg.type in idl.types else values[arg.name]
        for arg in idl.instructions[name].args
    }


def _accounts(name: str, instruction: Instruction) -> dict[str, str | None]:
    """Accounts by the IDL's names; None for an optional one that isn't given (then it is the program)."""
    specs = codec().idl.instructions[name].accounts
    keys = [meta.pubkey for meta in instruction.accounts]
    return {
        spec.name: None if spec.optional and key == instruction.program_id else str(key)
        for spec, key in zip(specs, keys, strict=True)
    }


def _numbers(value: Any) -> Any:
    """Integers that came as text are integers again."""
    match value:
        case dict():
            return {key: _numbers(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list():
            return [_numbers(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case str() if len(value) <= 20 and value.lstrip("-").isdigit():  # a key of digits alone is longer
            return int(value)
        case _:
            return value
