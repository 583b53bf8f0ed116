"""A market and a job made and read through solana-py, over both chains."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solana.rpc.core import RPCException
from solana.rpc.models import DataSliceOpts, MemcmpOpts, TxOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rpc.responses import ProgramNotification

from hypernode_worker.core.accounts import Job, JobState, Market, MarketTerms, Requirements
from hypernode_worker.core.types import Cid
from hypernode_worker.localnet import base58
from hypernode_worker.solana.program import MarketsProgram
from tests.support.chains import RunningChain
from tests.support.transactions import signed

PROGRAM = MarketsProgram()
CID = Cid.of(b"a definition")
CONFIRM = TxOpts(skip_confirmation=False, preflight_commitment=Confirmed)


async def send(client: AsyncClient, payer: Keypair, instruction: Instruction) -> None:
    latest = (await client.get_latest_blockhash()).value.blockhash
    signature = (await client.send_transaction(signed([instruction], [payer], latest), CONFIRM)).value
    status = (await client.get_signature_statuses([signature])).value[0]
    assert status is not None
    assert status.err is None


async def read(client: AsyncClient, address: Pubkey) -> Any:
    account = (await client.get_account_info(address, encoding="base64")).value
    assert account is not None
    return PROGRAM.decode_account(address, account.data, account.owner)


async def make_market(client: AsyncClient, payer: Keypair) -> Market:
    terms = MarketTerms(min_price=1_000, fee_receiver=payer.pubkey(), arbiter=payer.pubkey())
    await send(client, payer, PROGRAM.create_market(payer.pubkey(), 1, terms))
    market = await read(client, PROGRAM.market_address(payer.pubkey(), 1))
    assert isinstance(market, Market)
    assert market.terms == terms
    return market


def create_job(market: Market, payer: Keypair, *, price: int) -> Instruction:
    return PROGRAM.create_job(
        payer.pubkey(),
        market,
        nonce=5,
        definition_cid=CID,
        price=price,
        timeout=60,
        requirements=Requirements(),
    )


async def test_a_market_and_a_job(chain: RunningChain, client: AsyncClient, payer: Keypair) -> None:
    market = await make_market(client, payer)
    address = PROGRAM.job_address(market.address, payer.pubkey(), 5)
    queued = bytes([JobState.QUEUED]) + bytes(market.address)
    filters: list[Any] = [768, MemcmpOpts(offset=15, bytes=base58_text(queued))]
    head = DataSliceOpts(offset=0, length=192)
    async with SolanaWsClient(chain.ws_url) as ws, asyncio.timeout(30):
        await ws.program_subscribe(
            program_id=PROGRAM.id, commitment=Confirmed, encoding="base64", filters=filters, data_slice=head
        )
        await send(client, payer, create_job(market, payer, price=1_000))
        told = await ws.recv()
    assert isinstance(told, ProgramNotification)
    assert PROGRAM.decode_queued(told.result.value.pubkey, told.result.value.account.data).address == address
    job = await read(client, address)
    assert isinstance(job, Job)
    assert (job.state, job.deposit, job.definition_cid) == (JobState.QUEUED, 60_000, CID)
    found = await client.get_program_accounts(PROGRAM.id, encoding="base64", data_slice=head, filters=filters)
    assert [one.pubkey for one in found.value] == [address]
    rent = (await client.get_minimum_balance_for_rent_exemption(768)).value
    assert (await client.get_balance(address)).value == rent + 60_000


async def test_the_programs_own_error_is_told(client: AsyncClient, payer: Keypair) -> None:
    market = await make_market(client, payer)
    with pytest.raises(RPCException, match="custom program error: 0x"):
        await send(client, payer, create_job(market, payer, price=999))


def base58_text(data: bytes) -> str:
    """Base58 of filter bytes, which solana-py wants."""
    return base58.encode(data)
