"""A localnet with funded wallets and a mint, on which one client library of others acts."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, Market, MarketTerms, Node, Requirements
from hypernode_worker.localnet import Localnet, LocalnetConfig
from hypernode_worker.localnet.token import read_holding
from hypernode_worker.solana.addresses import create_token_account, token_address
from hypernode_worker.solana.artifact import program_elf
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID, MarketsProgram, error_message, error_name
from tests.support.foreign import Called, Foreign, Refused, foreign, plain, write_wallets
from tests.support.market_world import CID, DIGEST, RESULT, SPECS
from tests.support.transactions import SOL, make_mint, mint_to, signed

PROGRAM = MarketsProgram()
WALLETS = ("owner", "client", "operator", "payout", "fees", "arbiter")
HUGE = 2**64 - 1
"""Market id and nonce: no library may round a u64."""
TOKENS = 1_000_000_000
SIGNATURE_FEE = 5_000

Account = TypeVar("Account", Market, Node, Job)


class Stage:
    """Who acts is told by name, one of WALLETS."""

    def __init__(self, net: Localnet, actor: Foreign, wallets: dict[str, Pubkey], mint: Pubkey) -> None:
        self.bank = net.bank
        self.actor = actor
        self.wallets = wallets
        self.mint = mint
        self._signed = dict.fromkeys(wallets, 0)
        self._before = {name: self.lamports(key) for name, key in wallets.items()}

    async def act(self, by: str, instruction: Instruction) -> Called:
        """The call lands."""
        called = await self.actor.call(instruction, by)
        self._signed[by] += 1
        return called

    async def call(self, by: str, instruction: Instruction, event: str | None = None, **fields: object) -> Called:
        """The call lands, and logs this event alone with exactly these fields (None: no event)."""
        called = await self.act(by, instruction)
        assert called.events == ([] if event is None else [(event, plain(fields))])
        return called

    async def refuse(self, by: str, instruction: Instruction, name: str) -> None:
        """The library tells the error's code and sentence; its name stands in the log."""
        with pytest.raises(Refused) as caught:
            await self.actor.call(instruction, by)
        assert error_name(caught.value.code) == name
        assert caught.value.message == error_message(caught.value.code)
        assert f"Program log: Error: {name}" in caught.value.logs

    # --- what stands on the chain ---

    def lamports(self, key: Pubkey) -> int:
        account = self.bank.account(key)
        return account.lamports if account else 0

    def gained(self, who: str) -> int:
        """Lamports since the beginning, not counting the fees of the transactions that it signed."""
        return self.lamports(self.wallets[who]) - self._before[who] + self._signed[who] * SIGNATURE_FEE

    def tokens(self, who: str) -> int:
        account = self.bank.account(token_address(self.wallets[who], self.mint))
        holding = read_holding(account) if account else None
        assert holding is not None
        return holding.amount

    def read(self, kind: type[Account], address: Pubkey) -> Account:
        account = self.bank.account(address)
        assert account is not None
        found = PROGRAM.decode_account(address, account.data, account.owner)
        assert isinstance(found, kind)
        return found

    async def seen(self, kind: type[Account], address: Pubkey) -> Account:
        """An account that the library reads field for field as we do."""
        await self.actor.check_account(kind.__name__, address)
        return self.read(kind, address)

    # --- steps that both stories begin with ---

    async def open_market(self, *, paid_in_tokens: bool = False, **terms: int) -> Market:
        owner = self.wallets["owner"]
        chosen = dataclasses.replace(
            MarketTerms(arbiter=self.wallets["arbiter"], fee_receiver=self.wallets["fees"], min_price=1_000),
            **terms,  # pyright: ignore[reportArgumentType]
        )
        mints = {"stake_mint": self.mint} | ({"payment_mint": self.mint} if paid_in_tokens else {})
        made = PROGRAM.create_market(owner, HUGE, chosen, **mints)
        address = PROGRAM.market_address(owner, HUGE)
        await self.call("owner", made, "MarketCreated", market=address, authority=owner, market_id=HUGE)
        market = await self.seen(Market, address)
        assert market.terms == chosen
        return market

    async def register(self, market: Market) -> Pubkey:
        operator = self.wallets["operator"]
        made = PROGRAM.register_node(operator, market.address, SPECS, capacity=4, payout=self.wallets["payout"])
        node = PROGRAM.node_address(market.address, operator)
        await self.call("operator", made, "NodeRegistered", node=node, market=market.address, authority=operator)
        assert (await self.seen(Node, node)).specs == SPECS
        return node

    def offer(self, market: Market, *, price: int) -> tuple[Pubkey, Instruction]:
        """A job of a minute: its address, and what makes it."""
        client = self.wallets["client"]
        made = PROGRAM.create_job(
            client,
            market,
            nonce=HUGE,
            definition_cid=CID,
            price=price,
            timeout=60,
            requirements=Requirements(gpu_vendor=1, gpu_count=2, vram_mb=24_000),
        )
        return PROGRAM.job_address(market.address, client, HUGE), made

    async def stake(self, node: Pubkey, amount: int) -> None:
        made = PROGRAM.stake(self.wallets["operator"], self.read(Node, node), self.mint, amount)
        await self.call("operator", made, "NodeStaked", node=node, amount=amount, staked=amount)

    async def finish(self, job: Pubkey) -> tuple[Called, Job]:
        """The node posts a result with exit status -1."""
        build, operator = PROGRAM.finish_job, self.wallets["operator"]
        made = build(operator, self.read(Job, job), result_cid=RESULT, result_hash=DIGEST, exit_status=-1)
        return await self.act("operator", made), await self.seen(Job, job)


@contextlib.asynccontextmanager
async def stage(command: Sequence[str], folder: Path) -> AsyncGenerator[Stage]:
    """The client and the operator have TOKENS each; every wallet has SOL, and a token account where it may be paid."""
    keys, maker, mint = {name: Keypair() for name in WALLETS}, Keypair(), Keypair()
    wallets = write_wallets(folder / "wallets.json", keys)
    async with Localnet(LocalnetConfig(port=0, programs={LOCALNET_PROGRAM_ID: program_elf()})) as net:

        def send(instructions: list[Instruction], *signers: Keypair) -> None:
            assert net.bank.send(signed(instructions, signers, net.bank.latest_blockhash)).err is None

        for key in (maker, *keys.values()):
            net.bank.airdrop(key.pubkey(), 2 * SOL)
        send(make_mint(maker, mint, 6), maker, mint)
        for name in ("client", "operator", "payout", "fees"):
            owner, given = keys[name].pubkey(), TOKENS if name in ("client", "operator") else 0
            account = token_address(owner, mint.pubkey())
            made: list[Any] = [create_token_account(maker.pubkey(), owner, mint.pubkey())]
            send([*made, mint_to(maker, mint.pubkey(), account, given)], maker)
        async with foreign(command, net, wallets) as actor:
            yield Stage(net, actor, {name: key.pubkey() for name, key in keys.items()}, mint.pubkey())
