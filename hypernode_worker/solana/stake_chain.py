"""What moves a node's stake: core.ports.market.StakeChain beside its reads."""

from __future__ import annotations

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Market, Node
from hypernode_worker.core.ports import Receipt
from hypernode_worker.errors import AccountInvalid
from hypernode_worker.solana.addresses import TOKEN_PROGRAM, create_token_account
from hypernode_worker.solana.failure import Intent
from hypernode_worker.solana.wallet import WalletActions

_MINT_BYTES, _DECIMALS_OFFSET = 82, 44


class StakeActions(WalletActions):
    """One transaction for each method; see core.ports.market.StakeChain."""

    async def decimals(self, mint: Pubkey) -> int:
        info = (await self._rpc.account(mint))[0]
        if info is None or info.owner != TOKEN_PROGRAM or len(info.data) != _MINT_BYTES:
            raise AccountInvalid(f"{mint} is no SPL Token mint on this chain: check the market and SOLANA_RPC_URL.")
        return info.data[_DECIMALS_OFFSET]

    async def stake(self, market: Market, node: Node, amount: int) -> Receipt:
        instruction = self._program.stake(self.wallet, node, market.stake_mint, amount)
        intent = Intent(
            f"stake {amount} for the node {node.address}",
            f"{amount} base units of {market.stake_mint}, and about 0.002 SOL of rent for a node's first stake",
            {
                "StakeNotSupported": "it takes no stake, and asks for none",
                "WrongMarket": "it was closed and made again: take the stake back ('stake withdraw'), run "
                "'hypernode-worker node deregister' and start again",
            },
        )
        return await self._sender.send([instruction], intent)

    async def request_unstake(self, node: Node, amount: int) -> Receipt:
        instruction = self._program.request_unstake(node, amount, owner=self.wallet)
        intent = Intent(
            f"ask {amount} of the stake of node {node.address} back",
            advice={
                "NotEnoughStake": "'hypernode-worker stake show' tells what is free; what open jobs lock is free when "
                "they end",
                "WrongAuthority": f"its wallets are {node.authority} and {node.payout}: name a key with --keypair",
            },
        )
        return await self._sender.send([instruction], intent)

    async def withdraw_stake(self, node: Node) -> Receipt:
        mint = await self.stake_mint(node)
        instructions = [self._program.withdraw_stake(node, mint)]
        # A stranger, who only keeps the market clean, isn't to pay rent for the operator.
        if self.wallet in (node.authority, node.payout) and await self._lacks_account(node.payout, mint):
            instructions.insert(0, create_token_account(self.wallet, node.payout, mint))
        intent = Intent(
            f"withdraw the stake of node {node.address}",
            advice={
                "NothingUnstaking": "'hypernode-worker stake withdraw AMOUNT' asks for it",
                "CooldownNotOver": "'hypernode-worker stake show' tells when it is",
                "WrongTokenAccount": f"the payout wallet {node.payout} has no account of {mint}: its own "
                "'hypernode-worker stake withdraw' makes one",
            },
        )
        return await self._sender.send(instructions, intent)
