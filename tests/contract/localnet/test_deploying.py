"""The packaged program deployed as `programs/README.md` tells: what it costs, that it is the one, that it works."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from solana.rpc.async_api import AsyncClient
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer

from hypernode_worker.core.accounts import JobState
from hypernode_worker.solana.artifact import build_record, program_elf
from hypernode_worker.solana.client import SolanaClient, open_chain
from hypernode_worker.solana.deployment import Deployment
from tests.support.chains import RunningChain
from tests.support.solana_flow import open_market, post
from tests.support.transactions import SOL
from tests.support.upgradeable_loader import PROGRAM_BYTES, PROGRAM_DATA_HEADER, Loader, data_address

SIGNATURE_FEE = 5_000
PAGE = (Path(__file__).parents[3] / "programs" / "README.md").read_text()


def test_the_page_names_the_packaged_programs_length_and_version() -> None:
    elf = program_elf()
    assert f"head -c {len(elf)} dump.so" in PAGE
    assert f"tail -c +{len(elf) + 1} dump.so" in PAGE
    flags = int.from_bytes(elf[48:52], "little")
    assert f"The packaged program is SBPFv{flags}." in PAGE


async def test_deployed_verified_used_upgraded_handed_over(
    chain: RunningChain, client: AsyncClient, payer: Keypair
) -> None:
    elf, program = program_elf(), Keypair()
    key = program.pubkey()
    before = (await client.get_balance(payer.pubkey())).value
    loader = Loader(client, payer)
    await loader.deploy(await loader.write_buffer(elf), program, len(elf))

    rents = [
        (await client.get_minimum_balance_for_rent_exemption(size)).value
        for size in (PROGRAM_BYTES, PROGRAM_DATA_HEADER + len(elf))
    ]
    spent = before - (await client.get_balance(payer.pubkey())).value
    assert spent == sum(rents) + loader.signatures * SIGNATURE_FEE
    for told in (f"{spent:,} lamports", f"is {sum(rents):,} ({len(elf):,} bytes", f"{loader.signatures} signatures"):
        assert told in PAGE
    stored = (await client.get_account_info(data_address(key), encoding="base64")).value
    assert stored is not None
    code = stored.data[PROGRAM_DATA_HEADER:]
    assert hashlib.sha256(code).hexdigest() == build_record().sha256

    async with open_chain(chain.rpc_url, ws_url=chain.ws_url, program_id=key, wallet=payer) as worker:
        assert await worker.checks.program() == Deployment(key, True, payer.pubkey())
        await _next_slot(worker)
        market = await open_market(worker)
        job = await post(worker, market)
        assert job.state == JobState.QUEUED

        await loader.upgrade(await loader.write_buffer(elf), key)
        await _next_slot(worker)
        await worker.cancel_job(job)
        assert (await worker.job(job.address)).state == JobState.CANCELLED

        heir = Keypair()
        await loader.hand_over(key, heir)
        assert await worker.checks.program() == Deployment(key, True, heir.pubkey())
        move = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=heir.pubkey(), lamports=SOL)
        await loader.send([transfer(move)])
        await Loader(client, heir).make_final(key)
        assert await worker.checks.program() == Deployment(key, True, None)


async def _next_slot(worker: SolanaClient) -> None:
    """A program that was deployed in this slot can't be called in it."""
    slot = (await worker.time()).slot
    while (await worker.time()).slot <= slot + 1:  # noqa: ASYNC110 -- the chain tells it by no event
        await asyncio.sleep(0.1)
