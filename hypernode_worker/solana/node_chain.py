"""What a node's wallet signs: core.ports.NodeChain beside its watches."""

from __future__ import annotations

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, NodeSpecs, NodeState, QueuedJob, Reason
from hypernode_worker.core.ports import Receipt
from hypernode_worker.core.transactions import TransactionLog
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError
from hypernode_worker.solana.addresses import create_token_account
from hypernode_worker.solana.failure import Intent
from hypernode_worker.solana.wallet import WalletActions


class NodeActions(WalletActions):
    """One transaction for each method; see core.ports.NodeChain."""

    def log_transactions(self, journal: TransactionLog | None) -> None:
        self._sender.keep_log(journal)

    def may_land(self, job: Pubkey) -> bool:
        return self._sender.may_land(job)

    async def follow_up(self) -> None:
        await self._sender.follow_up()

    async def register_node(self, market: Pubkey, specs: NodeSpecs, *, capacity: int, payout: Pubkey) -> Receipt:
        node = await self.node_of(market, self.wallet)
        old_payout = None
        if node is not None and node.payout != payout:
            if node.payout != self.wallet:
                raise ConfigError(
                    f"The node {node.address} pays out to {node.payout}, whose signature a change needs: set "
                    f"PAYOUT_ADDRESS to {node.payout}, or deregister the node and register it anew."
                )
            old_payout = self.wallet
        instruction = self._program.register_node(
            self.wallet, market, specs, capacity=capacity, payout=payout, old_payout=old_payout
        )
        intent = Intent(f"register the node in market {market}", "the rent of its account, about 0.003 SOL")
        return await self._sender.send([instruction], intent)

    async def heartbeat_node(self, market: Pubkey, state: NodeState) -> Receipt:
        instruction = self._program.heartbeat_node(self.wallet, market, state)
        return await self._sender.send([instruction], Intent(f"send a heartbeat to market {market}"))

    async def deregister_node(self, market: Pubkey) -> Receipt:
        address = self._program.node_address(market, self.wallet)
        node = await self.node(address)
        stake_mint = await self.stake_mint(node)
        instruction = self._program.deregister_node(node, stake_mint=stake_mint)
        advice = {
            "NodeHasStake": "'hypernode-worker stake withdraw' gives it back",
            "NodeHasJobs": "they end by themselves, at latest when somebody calls 'hypernode-worker crank'",
        }
        return await self._sender.send([instruction], Intent(f"deregister the node {address}", advice=advice))

    async def work_job(self, job: QueuedJob | Job, *, begin: bool) -> Receipt:
        instruction = self._program.work_job(self.wallet, job, begin=begin)
        advice = {"StakeTooLow": "'hypernode-worker stake show' tells what is missing, 'stake add' adds it"}
        intent = Intent(f"claim job {job.address}", advice=advice, job=job.address)
        return await self._sender.send([instruction], intent, newest=True)

    async def begin_job(self, job: Job) -> Receipt:
        instruction = self._program.begin_job(self.wallet, job)
        return await self._sender.send([instruction], Intent(f"begin job {job.address}", job=job.address))

    async def checkpoint_job(self, job: Job, *, progress_bps: int, cid: Cid | None) -> Receipt:
        instruction = self._program.checkpoint_job(self.wallet, job, progress_bps=progress_bps, cid=cid)
        return await self._sender.send(
            [instruction], Intent(f"post a checkpoint of job {job.address}", job=job.address)
        )

    async def release_job(self, job: Job, reason: Reason) -> Receipt:
        instruction = self._program.release_job(self.wallet, job, reason)
        return await self._sender.send([instruction], Intent(f"release job {job.address}", job=job.address))

    async def finish_job(self, job: Job, *, result_cid: Cid, result_hash: bytes, exit_status: int) -> Receipt:
        instruction = self._program.finish_job(
            self.wallet, job, result_cid=result_cid, result_hash=result_hash, exit_status=exit_status
        )
        instructions = [instruction]
        if not job.is_native:
            # Without a token account the pay would stay owed; where there is one this does nothing.
            instructions.insert(0, create_token_account(self.wallet, job.payout, job.payment_mint))
        return await self._sender.send(instructions, Intent(f"finish job {job.address}", job=job.address))
