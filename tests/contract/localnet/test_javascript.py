"""The JavaScript clients of Solana, over both chains."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from solana.rpc.async_api import AsyncClient
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.idl_file import idl_path
from hypernode_worker.solana.program import MarketsProgram
from tests.support.transactions import SOL

pytestmark = pytest.mark.node
RunJs = Callable[..., Coroutine[Any, Any, str]]


async def test_web3_js(run_js: RunJs) -> None:
    assert json.loads(await run_js("web3.mjs")) == {
        "balance": 2 * SOL,
        "history": 3,
        "version": 0,
        "fee": 5_000,
        "parsed": SOL,
        "preflight": "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1",
        "failure": {"InstructionError": [0, {"Custom": 1}]},
        "heard": {"account": True, "logs": True, "slot": True},
        "epoch": 432_000,
        "version_ok": True,
        "supply": True,
    }


async def test_kit(run_js: RunJs) -> None:
    assert json.loads(await run_js("kit.mjs")) == {"balance": SOL, "fee": 5_000, "err": None}


async def test_anchor_makes_a_market_and_a_job_that_we_read(run_js: RunJs, client: AsyncClient) -> None:
    seen = json.loads(await run_js("anchor.mjs", str(idl_path())))
    assert seen["too_cheap"] == "PriceTooLow"
    assert (seen["price"], seen["deposit"], seen["min_price"]) == (2_000, 120_000, 1_000)
    assert seen["jobs"] == [seen["job"]]
    assert seen["job"] in seen["told"]
    assert seen["events"] == ["jobCreated"]
    program = MarketsProgram()
    market = await _read(client, program, seen["market"])
    assert isinstance(market, Market)
    assert market.market_id == 7
    assert market.authority == Pubkey.from_string(seen["payer"])
    job = await _read(client, program, seen["job"])
    assert isinstance(job, Job)
    assert job.state == JobState.QUEUED == seen["state"]
    assert job.definition_cid == Cid(0x55, bytes([9] * 32))
    assert (job.price, job.deposit, job.timeout) == (2_000, 120_000, 60)


async def _read(client: AsyncClient, program: MarketsProgram, address: str) -> object:
    key = Pubkey.from_string(address)
    account = (await client.get_account_info(key, encoding="base64")).value
    assert account is not None
    return program.decode_account(key, account.data, account.owner)
