"""Is this the chain, the program and the market that the settings mean? For `test`, and before a worker starts."""

from __future__ import annotations

from dataclasses import dataclass

from hypernode_worker.errors import ConfigError
from hypernode_worker.solana.deployment import UPGRADEABLE_LOADER, Deployment, read_deployment
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID, MarketsProgram
from hypernode_worker.solana.rpc import Rpc

_CLUSTERS = {
    "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d": "mainnet",
    "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG": "devnet",
    "4uhcVJyU9pJkvQyS88uRDiswHScSCkcY3XQcmVH8YFsJ": "testnet",
}


@dataclass(frozen=True, slots=True)
class ChainIdentity:
    """Which chain an endpoint serves; `cluster` is "local" for any that is none of the public ones."""

    genesis_hash: str
    cluster: str
    version: str


class ChainChecks:
    """Each check asks once and raises one clear sentence."""

    def __init__(self, rpc: Rpc, program: MarketsProgram) -> None:
        self._rpc = rpc
        self._program = program

    async def identity(self, *, expected_genesis_hash: str | None = None) -> ChainIdentity:
        """Raises ConfigError when it is another chain than expected, EndpointDown when nobody answers."""
        genesis = await self._rpc.genesis_hash()
        cluster = _CLUSTERS.get(genesis, "local")
        if expected_genesis_hash is not None and genesis != expected_genesis_hash:
            expected = _CLUSTERS.get(expected_genesis_hash, "local")
            raise ConfigError(
                f"The endpoint {self._rpc.transport.name} serves the chain of genesis {genesis} ({cluster}), not "
                f"{expected_genesis_hash} ({expected}): set SOLANA_RPC_URL to an endpoint of the right chain."
            )
        return ChainIdentity(genesis, cluster, await self._rpc.version())

    async def program(self) -> Deployment:
        """The program at the configured address.

        Raises:
            ConfigError: no program that can be called stands there.
        """
        found = await read_deployment(self._rpc, self._program.id)
        if isinstance(found, Deployment):
            return found
        if found is None:
            what = "isn't deployed"
        else:
            is_program = found.executable and found.owner == UPGRADEABLE_LOADER
            what = "was closed" if is_program else "is no program, but an account of another kind"
        hint = (
            " This address exists on a local chain only: start 'hypernode-worker localnet', or set PROGRAM_ID to the "
            "markets program of that chain."
            if self._program.id == LOCALNET_PROGRAM_ID
            else " Check PROGRAM_ID and SOLANA_RPC_URL."
        )
        raise ConfigError(f"The markets program {self._program.id} {what} on {self._rpc.transport.name}.{hint}")
