"""solana-py, a client that nobody here wrote, over both chains."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solana.rpc.core import RPCException
from solana.rpc.models import MemcmpOpts, TokenAccountOpts, TxOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rpc.config import RpcTransactionLogsFilterMentions
from solders.rpc.responses import (
    AccountNotification,
    LogsNotification,
    ProgramNotification,
    SignatureNotification,
    SlotNotification,
)
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from tests.support.chains import RunningChain
from tests.support.transactions import (
    SOL,
    TOKEN_PROGRAM,
    make_mint,
    make_token_account,
    mint_to,
    pay,
    signed,
)

CONFIRM = TxOpts(skip_confirmation=False, preflight_commitment=Confirmed)
ANYWAY = TxOpts(skip_preflight=True, skip_confirmation=True)


async def blockhash(client: AsyncClient) -> Hash:
    return (await client.get_latest_blockhash()).value.blockhash


async def land(client: AsyncClient, transaction: VersionedTransaction, opts: TxOpts = CONFIRM) -> Signature:
    signature = (await client.send_transaction(transaction, opts)).value
    await client.confirm_transaction(signature, Confirmed, sleep_seconds=0.1)
    return signature


async def test_a_transfer_arrives_and_is_looked_up(client: AsyncClient, payer: Keypair) -> None:
    to = Pubkey.new_unique()
    signature = await land(client, pay(payer, to, SOL, await blockhash(client)))
    assert (await client.get_balance(to)).value == SOL
    assert (await client.get_balance(payer.pubkey())).value == 9 * SOL - 5_000
    found = (await client.get_transaction(signature, max_supported_transaction_version=0)).value
    assert found is not None
    meta = found.transaction.meta
    assert meta is not None
    assert (meta.err, meta.fee, meta.compute_units_consumed) == (None, 5_000, 150)
    assert meta.post_balances[1] == SOL
    history = (await client.get_signatures_for_address(to)).value
    assert [one.signature for one in history] == [signature]


@pytest.mark.parametrize("encoding", ["json", "jsonParsed", "base64", "base58"])
async def test_every_encoding_of_a_transaction_is_read(client: AsyncClient, payer: Keypair, encoding: str) -> None:
    signature = await land(client, pay(payer, Pubkey.new_unique(), SOL, await blockhash(client), legacy=True))
    found = (await client.get_transaction(signature, encoding)).value
    assert found is not None
    assert found.block_time is not None


async def test_a_failed_transaction_lands_with_its_error_and_logs(client: AsyncClient, payer: Keypair) -> None:
    transaction = pay(payer, Pubkey.new_unique(), 100 * SOL, await blockhash(client))
    signature = await land(client, transaction, ANYWAY)
    status = (await client.get_signature_statuses([signature])).value[0]
    assert status is not None
    assert "InstructionErrorCustom" in repr(status.err)
    found = (await client.get_transaction(signature, max_supported_transaction_version=0)).value
    assert found is not None
    meta = found.transaction.meta
    assert meta is not None
    assert meta.log_messages is not None
    assert meta.log_messages[1] == f"Transfer: insufficient lamports {10 * SOL - 5_000}, need {100 * SOL}"


async def test_preflight_tells_error_and_logs(client: AsyncClient, payer: Keypair) -> None:
    transaction = pay(payer, Pubkey.new_unique(), 100 * SOL, await blockhash(client))
    with pytest.raises(RPCException) as caught:
        await client.send_transaction(transaction, CONFIRM)
    failure: Any = caught.value.args[0]
    assert failure.message.endswith("Error processing Instruction 0: custom program error: 0x1")
    assert failure.data.logs
    assert "insufficient lamports" in failure.data.logs[1]


async def test_what_cannot_land_does_not(client: AsyncClient, payer: Keypair) -> None:
    stale = pay(payer, Pubkey.new_unique(), SOL, Hash.new_unique())
    landed = pay(payer, Pubkey.new_unique(), SOL, await blockhash(client))
    await land(client, landed)
    for transaction, message in (
        (stale, "Blockhash not found"),
        (landed, "This transaction has already been processed"),
    ):
        with pytest.raises(RPCException, match=message):
            await client.send_transaction(transaction, CONFIRM)
    signature = (await client.send_transaction(stale, ANYWAY)).value
    assert (await client.get_signature_statuses([signature])).value == (None,) or (
        await client.get_signature_statuses([signature])
    ).value == [None]
    assert not (await client.get_signatures_for_address(stale.message.account_keys[1])).value


async def test_simulation_and_fees(client: AsyncClient, payer: Keypair) -> None:
    to = Pubkey.new_unique()
    transaction = pay(payer, to, SOL, Hash.new_unique())
    simulated = await client.simulate_transaction(
        transaction, replace_recent_blockhash=True, accounts_addresses=[to], inner_instructions=True
    )
    value = simulated.value
    assert value.err is None
    assert value.units_consumed == 150
    assert value.accounts is not None
    assert value.accounts[0] is not None
    assert value.accounts[0].lamports == SOL
    message: Any = pay(payer, to, SOL, await blockhash(client), legacy=True).message
    assert (await client.get_fee_for_message(message)).value == 5_000


async def test_tokens_are_made_and_read(client: AsyncClient, payer: Keypair) -> None:
    mint, account, owner = Keypair(), Keypair(), Pubkey.new_unique()
    made = [
        *make_mint(payer, mint, 6),
        *make_token_account(payer, account, mint.pubkey(), owner),
        mint_to(payer, mint.pubkey(), account.pubkey(), 1_500_000),
    ]
    await land(client, signed(made, [payer, mint, account], await blockhash(client)))
    assert (await client.get_token_account_balance(account.pubkey())).value.ui_amount_string == "1.5"
    assert (await client.get_token_supply(mint.pubkey())).value.amount == "1500000"
    by_mint = await client.get_token_accounts_by_owner_json_parsed(owner, TokenAccountOpts(mint=mint.pubkey()))
    (found,) = by_mint.value
    assert found.pubkey == account.pubkey()
    parsed: Any = found.account.data.parsed
    assert parsed["info"]["tokenAmount"]["amount"] == "1500000"
    by_program = await client.get_token_accounts_by_owner(owner, TokenAccountOpts(program_id=TOKEN_PROGRAM))
    assert [one.pubkey for one in by_program.value] == [account.pubkey()]
    filters: list[Any] = [165, MemcmpOpts(offset=0, bytes=str(mint.pubkey()))]
    held = await client.get_program_accounts(TOKEN_PROGRAM, encoding="base64", filters=filters)
    assert [one.pubkey for one in held.value] == [account.pubkey()]


async def test_the_chain_tells_about_itself(client: AsyncClient) -> None:
    slot = (await client.get_slot()).value
    epoch = (await client.get_epoch_info()).value
    assert epoch.absolute_slot >= slot
    assert epoch.slots_in_epoch == 432_000
    latest = (await client.get_latest_blockhash()).value
    assert latest.last_valid_block_height - (await client.get_block_height()).value in range(140, 151)
    assert (await client.get_minimum_balance_for_rent_exemption(165)).value == 2_039_280
    assert (await client.get_genesis_hash()).value != Hash.default()
    assert await client.is_connected()
    version = (await client.get_version()).value.solana_core
    assert version.split(".")[0].isdigit()
    assert (await client.get_recent_prioritization_fees()).value


async def test_subscriptions_tell_what_happens(chain: RunningChain, client: AsyncClient, payer: Keypair) -> None:
    to = Pubkey.new_unique()
    transaction = pay(payer, to, SOL, await blockhash(client))
    kinds: dict[type, Any] = {}
    async with SolanaWsClient(chain.ws_url) as ws, asyncio.timeout(30):
        await ws.account_subscribe(pubkey=to, commitment=Confirmed, encoding="base64")
        mentions = RpcTransactionLogsFilterMentions(to)
        await ws.logs_subscribe(filter_=mentions, commitment=Confirmed)
        await ws.signature_subscribe(signature=transaction.signatures[0], commitment=Confirmed)
        slots = await ws.slot_subscribe()
        await client.send_transaction(transaction, CONFIRM)
        while len(kinds) < 4:
            told = await ws.recv()
            kinds.setdefault(type(told), told)
        await ws.unsubscribe(slots)
    assert kinds[AccountNotification].result.value.lamports == SOL
    assert kinds[LogsNotification].result.value.signature == transaction.signatures[0]
    assert kinds[SignatureNotification].result.value.err is None
    assert kinds[SlotNotification].result.slot > kinds[SlotNotification].result.parent


async def test_a_signature_that_has_landed_is_told_at_once(
    chain: RunningChain, client: AsyncClient, payer: Keypair
) -> None:
    # A success: solana-py 0.41 can't read the notification of a failure, the validator's neither.
    signature = await land(client, pay(payer, Pubkey.new_unique(), SOL, await blockhash(client)))
    async with SolanaWsClient(chain.ws_url) as ws, asyncio.timeout(10):
        await ws.signature_subscribe(signature=signature, commitment=Confirmed)
        told = await ws.recv()
    assert isinstance(told, SignatureNotification)
    assert told.result.value.err is None


async def test_a_program_tells_its_matching_accounts(chain: RunningChain, client: AsyncClient, payer: Keypair) -> None:
    mint, other = Keypair(), Keypair()
    filters: list[Any] = [82, MemcmpOpts(offset=4, bytes=str(payer.pubkey()))]
    made = [*make_mint(payer, mint, 6), *make_token_account(payer, other, mint.pubkey(), payer.pubkey())]
    async with SolanaWsClient(chain.ws_url) as ws, asyncio.timeout(30):
        await ws.program_subscribe(program_id=TOKEN_PROGRAM, commitment=Confirmed, encoding="base64", filters=filters)
        await client.send_transaction(signed(made, [payer, mint, other], await blockhash(client)), CONFIRM)
        told = await ws.recv()
    assert isinstance(told, ProgramNotification)
    assert told.result.value.pubkey == mint.pubkey()
    assert len(told.result.value.account.data) == 82
