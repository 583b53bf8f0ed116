"""The stake of a wallet's node in a market: what it is, more of it, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NATIVE_MINT, Market, Node, NodeState
from hypernode_worker.core.deadlines import due_withdrawal
from hypernode_worker.core.ports import Receipt
from hypernode_worker.core.ports.market import StakeChain
from hypernode_worker.core.stake import free_stake
from hypernode_worker.errors import AccountMissing, ConfigError, InsufficientFunds, PermanentError


@dataclass(frozen=True, slots=True)
class StakeView:
    """Where a wallet stands in a market; amounts in base units of the stake mint.

    Attributes:
        market: None once it was closed; a node's stake outlives it.
        node: None while the wallet isn't registered.
        mint: None where the market takes no stake.
        balance: of the wallet, of that mint.
        withdraw_in_s: seconds until what is asked back can be taken; None when nothing is.
    """

    market: Market | None
    node: Node | None
    mint: Pubkey | None
    decimals: int
    balance: int
    withdraw_in_s: int | None


class Staking:
    """One wallet's stake in one market. Amounts are base units of the market's stake mint."""

    def __init__(self, chain: StakeChain, market: Pubkey) -> None:
        self._chain = chain
        self._market = market

    async def show(self) -> StakeView:
        """How it stands. Raises AccountMissing where there is neither market nor node."""
        chain, node = self._chain, await self._chain.node_of(self._market, self._chain.wallet)
        try:
            market = await chain.market(self._market)
        except AccountMissing:
            if node is None:
                raise
            market = None
        mint = market.stake_mint if market else await chain.stake_mint(node) if node else NATIVE_MINT
        left = None
        if node and node.unstaking:
            left = max(0, node.unstake_at - (await chain.time()).unix_time)
        return StakeView(
            market=market,
            node=node,
            mint=None if mint == NATIVE_MINT else mint,
            decimals=0 if mint == NATIVE_MINT else await chain.decimals(mint),
            balance=0 if mint == NATIVE_MINT else await chain.token_balance(chain.wallet, mint),
            withdraw_in_s=left,
        )

    async def add(self, amount: int) -> Receipt:
        """Puts this much of the wallet's tokens into the stake of its node.

        Raises:
            ConfigError: zero, or the market takes no stake.
            AccountMissing: the wallet has no node there.
            InsufficientFunds: the wallet holds less.
        """
        if amount <= 0:
            raise ConfigError("A stake of zero changes nothing: name how many base units.")
        market = await self._chain.market(self._market)
        if market.stake_mint == NATIVE_MINT:
            raise ConfigError(f"The market {market.address} takes no stake: its nodes need none.")
        node = await self._node()
        held = await self._chain.token_balance(self._chain.wallet, market.stake_mint)
        if held < amount:
            raise InsufficientFunds(
                f"The wallet {self._chain.wallet} holds {held:,} base units of the stake mint {market.stake_mint}, and "
                f"{amount:,} are to be staked: get more of that token, or stake less."
            )
        return await self._chain.stake(market, node, amount)

    async def request(self, amount: int) -> Receipt:
        """Starts the cooldown of this much. All of it: the node is leaving, and claims nothing until it starts again.

        Raises:
            ConfigError: zero.
            PermanentError: more than is free, or an earlier request is ripe, whose cooldown would be thrown away.
        """
        if amount <= 0:
            raise ConfigError("A withdrawal of zero changes nothing: name how many base units.")
        node = await self._node()
        if due_withdrawal(node, await self._chain.time()):
            raise PermanentError(
                f"{node.unstaking:,} base units that were asked back earlier can be taken now: run 'hypernode-worker "
                "stake withdraw' without an amount, then ask for more."
            )
        if amount > free_stake(node):
            raise PermanentError(
                f"The node {node.address} has {node.staked:,} base units staked, of which open jobs lock "
                f"{node.locked:,}: at most {free_stake(node):,} can be asked back now."
            )
        if amount == node.staked and node.state is NodeState.ACTIVE:
            # Else a stranger could add a unit each time that it is empty, and keep the node from leaving.
            await self._chain.heartbeat_node(self._market, NodeState.DRAINING)
        return await self._chain.request_unstake(node, amount)

    async def take_back_request(self) -> Receipt:
        """What was asked back stays staked. Raises PermanentError when nothing was."""
        return await self._chain.request_unstake(await self._unstaking(), 0)

    async def collect(self) -> Receipt:
        """Brings what was asked back to the payout wallet, when its cooldown is over.

        Raises:
            PermanentError: nothing was asked back, or it isn't over yet.
        """
        node, now = await self._unstaking(), await self._chain.time()
        if not due_withdrawal(node, now):
            raise PermanentError(
                f"The cooldown of {node.unstaking:,} base units of stake ends in "
                f"{node.unstake_at - now.unix_time:,} s: run 'hypernode-worker stake withdraw' again then."
            )
        return await self._chain.withdraw_stake(node)

    async def _unstaking(self) -> Node:
        node = await self._node()
        if not node.unstaking:
            raise PermanentError(
                "No stake has been asked back: 'hypernode-worker stake withdraw AMOUNT' starts the cooldown of "
                f"{node.unstake_cooldown:,} s."
            )
        return node

    async def _node(self) -> Node:
        node = await self._chain.node_of(self._market, self._chain.wallet)
        if node is None:
            raise AccountMissing(
                f"The wallet {self._chain.wallet} has no node in market {self._market}: 'hypernode-worker start' "
                "registers it; it can run while you stake."
            )
        return node
