# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""anchorpy3: calls any instruction of the IDL, tells its events and errors, reads any account.

Runs in an environment of its own (requirements.txt). One JSON request a line on standard input, one JSON answer a line
on output. Arguments: RPC URL, WebSocket URL (not used), path of the IDL, path of a JSON object of secret keys by name.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from anchorpy import Context, EventParser, Idl, Program, Provider, Wallet
from anchorpy.error import ProgramError
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solana.rpc.core import RPCException
from solana.rpc.types import TxOpts
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

OPTIONS = TxOpts(skip_confirmation=False, preflight_commitment=Confirmed)
RPC_URL, _, IDL_PATH, WALLETS_PATH = sys.argv[1:]
IDL_TEXT = Path(IDL_PATH).read_text()
RAW = json.loads(IDL_TEXT)
WALLETS = {
    name: Wallet(Keypair.from_bytes(bytes(key))) for name, key in json.loads(Path(WALLETS_PATH).read_text()).items()
}
INSTRUCTIONS = {one["name"]: one for one in RAW["instructions"]}
TYPES = {one["name"]: one["type"]["fields"] for one in RAW["types"]}
ERRORS = {one["code"]: one["msg"] for one in RAW["errors"]}
PROGRAM_ID = Pubkey.from_string(RAW["address"])


def typed(kind: Any, value: Any) -> Any:
    if kind == "pubkey":
        return Pubkey.from_string(value)
    if kind in ("u64", "i64"):
        return int(value)
    if isinstance(kind, dict) and "defined" in kind:
        # A dict, not program.type[name](...): anchorpy copies dataclasses deeply, which a Pubkey can't be.
        return {field["name"]: typed(field["type"], value[field["name"]]) for field in TYPES[kind["defined"]["name"]]}
    return value


def plain(value: Any) -> Any:
    if isinstance(value, Pubkey):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple, bytes)):
        return [plain(item) for item in value]
    return value


def instruction(program: Program, request: dict[str, Any]) -> Instruction:
    name = request["call"]
    args = [typed(arg["type"], request["args"][arg["name"]]) for arg in INSTRUCTIONS[name]["args"]]
    keys = {role: None if key is None else Pubkey.from_string(key) for role, key in request["accounts"].items()}
    made = program.instruction[name](
        *args, ctx=Context(accounts={role: key or PROGRAM_ID for role, key in keys.items()})
    )
    # An optional account that isn't given is the program; anchorpy knows of none, and would have the program sign.
    metas = [AccountMeta(PROGRAM_ID, False, False) if m.pubkey == PROGRAM_ID else m for m in made.accounts]
    return Instruction(PROGRAM_ID, made.data, metas)


async def call(program: Program, request: dict[str, Any]) -> dict[str, Any]:
    provider = program.provider
    blockhash = (await provider.connection.get_latest_blockhash()).value.blockhash
    wallet = provider.wallet.payer
    message = Message.new_with_blockhash([instruction(program, request)], wallet.pubkey(), blockhash)
    try:
        signature = await provider.send(VersionedTransaction(message, [wallet]))
    except RPCException as refusal:
        error = ProgramError.parse(refusal.args[0], ERRORS, PROGRAM_ID)
        if error is None:
            raise
        return {"refused": {"code": error.code, "message": error.msg, "logs": error.logs}}
    seen = await provider.connection.get_transaction(signature, max_supported_transaction_version=0)
    events: list[Any] = []
    EventParser(PROGRAM_ID, program.coder).parse_logs(seen.value.transaction.meta.log_messages, events.append)
    return {
        "signature": str(signature),
        "events": [{"name": event.name, "fields": plain(event.data)} for event in events],
    }


async def main() -> None:
    idl = Idl.from_json(IDL_TEXT)
    async with AsyncClient(RPC_URL, commitment=Confirmed) as client:
        programs = {
            name: Program(idl, PROGRAM_ID, Provider(client, wallet, OPTIONS)) for name, wallet in WALLETS.items()
        }
        anyone = next(iter(programs.values()))
        while line := await asyncio.to_thread(sys.stdin.readline):
            request = json.loads(line)
            if "call" in request:
                answer = await call(programs[request["signer"]], request)
            else:
                answer = plain(await anyone.account[request["fetch"]].fetch(Pubkey.from_string(request["address"])))
            print(json.dumps(answer), flush=True)


asyncio.run(main())
