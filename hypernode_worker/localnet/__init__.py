"""A Solana chain of one process behind Solana's JSON-RPC and PubSub, for development and tests.

    async with Localnet(LocalnetConfig(port=0, programs={program_id: elf})) as net:
        ... net.rpc_url, net.ws_url, net.bank

`Bank` is the chain without I/O, `Rpc` its JSON-RPC methods and `Subscriptions` its PubSub, both without sockets.
"""

from hypernode_worker.localnet.bank import Bank, Refused
from hypernode_worker.localnet.net import Localnet, LocalnetConfig
from hypernode_worker.localnet.rpc.dispatcher import Rpc
from hypernode_worker.localnet.rpc.errors import RpcError
from hypernode_worker.localnet.subscriptions import Subscriptions

__all__ = ["Bank", "Localnet", "LocalnetConfig", "Refused", "Rpc", "RpcError", "Subscriptions"]
