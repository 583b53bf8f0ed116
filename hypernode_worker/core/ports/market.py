"""What keeping a market takes of the chain, beside core.ports: a node's stake, and the exits that are due to anyone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, Market, Node, NodeState
from hypernode_worker.core.deadlines import Standing
from hypernode_worker.core.ports.chain import ChainReader, Receipt


class StakeChain(ChainReader, Protocol):
    """What an operator's wallet signs; errors as for core.ports.NodeChain."""

    @property
    def wallet(self) -> Pubkey: ...

    async def decimals(self, mint: Pubkey) -> int:
        """Decimal places in which people write amounts of an SPL mint. Raises AccountInvalid when it is none."""
        ...

    async def stake_mint(self, node: Node) -> Pubkey:
        """The mint of the node's stake; the zero key when it never had any."""
        ...

    async def stake(self, market: Market, node: Node, amount: int) -> Receipt:
        """From this wallet's token account. Not to be repeated blindly: it adds."""
        ...

    async def request_unstake(self, node: Node, amount: int) -> Receipt:
        """Starts the cooldown, instead of an earlier request; 0 takes that back."""
        ...

    async def heartbeat_node(self, market: Pubkey, state: NodeState) -> Receipt:
        """Draining: claims nothing, and only the node's own wallets may add to its stake."""
        ...

    async def withdraw_stake(self, node: Node) -> Receipt:
        """To the payout wallet, after the cooldown; its token account is made where it is missing and ours to make."""
        ...


class UpkeepChain(ChainReader, Protocol):
    """What anyone's wallet may do once it is due. A scan asks the endpoint for every job: for commands, not loops."""

    async def standings(self, market: Pubkey | None) -> Sequence[tuple[Pubkey, Standing]]:
        """All jobs of a market (None: of all), each by what decides whether an exit is due."""
        ...

    async def unstaking(self, market: Pubkey | None) -> Sequence[Pubkey]:
        """Nodes that have asked stake back."""
        ...

    async def timeout_job(self, job: Job) -> Receipt: ...

    async def settle_job(self, job: Job) -> Receipt: ...

    async def close_job(self, job: Job) -> Receipt: ...

    async def withdraw_stake(self, node: Node) -> Receipt: ...
