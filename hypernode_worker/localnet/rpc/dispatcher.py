"""From a JSON-RPC request to its answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import cast

from hypernode_worker.localnet.bank import Bank
from hypernode_worker.localnet.json_types import Json, JsonObject
from hypernode_worker.localnet.rpc import accounts, cluster, history, sending, tokens
from hypernode_worker.localnet.rpc.context import Context, Methods
from hypernode_worker.localnet.rpc.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RpcError,
)
from hypernode_worker.localnet.rpc.params import Params

_log = logging.getLogger(__name__)

_METHODS: Methods = {
    **accounts.METHODS,
    **cluster.METHODS,
    **history.METHODS,
    **sending.METHODS,
    **tokens.METHODS,
}
_MAX_BATCH = 1_000


class Rpc:
    """Solana's JSON-RPC methods over a bank. Synchronous; transactions execute before the answer.

    Args:
        airdrop_cap_lamports: the most that one requestAirdrop gives; None: all that the faucet has.
    """

    def __init__(self, bank: Bank, *, airdrop_cap_lamports: int | None = None) -> None:
        self._context = Context(bank, airdrop_cap_lamports)

    def handle(self, method: str, params: Sequence[object] | None = None) -> Json:
        """Calls one method. The params are what JSON can hold.

        Raises:
            RpcError: the answer is an error.
        """
        known = _METHODS.get(method)
        if known is None:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        return known.run(self._context, Params(cast(list[Json], list(params or ())), known.least, known.most))

    def answer(self, body: bytes | str) -> str:
        """Answers one request or a batch, as text. Never raises; the text is empty for notifications."""
        try:
            request = parse_json(body)
        except ValueError:
            return dump(error_answer(None, RpcError(PARSE_ERROR, "Parse error")))
        if isinstance(request, list):
            if len(request) > _MAX_BATCH:
                return dump(error_answer(None, RpcError(INVALID_REQUEST, "Too many requests in a batch")))
            answers = [answer for one in request if (answer := self._answer_one(one)) is not None]
            return dump(answers) if answers else ""
        answer = self._answer_one(request)
        return "" if answer is None else dump(answer)

    def _answer_one(self, request: Json) -> JsonObject | None:
        try:
            method, params, request_id, expects = read_request(request)
        except RpcError as error:
            request_id = request.get("id") if isinstance(request, dict) else None
            return error_answer(request_id, error)
        try:
            result = self.handle(method, params)
        except RpcError as error:
            return error_answer(request_id, error) if expects else None
        except Exception:  # noqa: BLE001
            # A fault of ours must not end the connection of a client that can go on.
            _log.exception("The method %s failed", method)
            return error_answer(request_id, RpcError(INTERNAL_ERROR, "Internal error"))
        return {"jsonrpc": "2.0", "result": result, "id": request_id} if expects else None


def read_request(request: Json) -> tuple[str, list[Json], Json, bool]:
    """Method, params, id, and whether an answer is expected.

    Raises:
        RpcError: no JSON-RPC request.
    """
    if not isinstance(request, dict):
        raise RpcError(PARSE_ERROR, "Parse error")
    if "jsonrpc" not in request:
        raise RpcError(INVALID_REQUEST, "Unsupported JSON-RPC protocol version")
    method, params = request.get("method"), request.get("params")
    if request["jsonrpc"] != "2.0" or not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "Invalid request")
    if params is None:
        params = []
    if not isinstance(params, list):
        raise RpcError(INVALID_PARAMS, "`params` should be an array")
    return method, params, request.get("id"), "id" in request


def parse_json(body: bytes | str) -> Json:
    """JSON as RFC 8259 has it. Raises ValueError, also for what only Python's reader takes (NaN, deep nesting)."""
    try:
        return cast(Json, json.loads(body, parse_constant=_no_constant))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def dump(value: Json | Sequence[Json] | Mapping[str, Json]) -> str:
    return json.dumps(value, separators=(",", ":"))


def error_answer(request_id: Json, error: RpcError) -> JsonObject:
    return {"jsonrpc": "2.0", "error": error.to_json(), "id": request_id}


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")
