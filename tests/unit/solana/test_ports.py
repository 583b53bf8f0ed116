"""SolanaClient is what the node and the client are written against; the type checker reads this file too."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.ports import ChainReader, ClientChain, NodeChain
from hypernode_worker.core.ports.market import StakeChain, UpkeepChain
from hypernode_worker.errors import ConfigError
from hypernode_worker.solana.client import SolanaClient, open_chain


def as_ports(client: SolanaClient) -> tuple[ChainReader, NodeChain, ClientChain, StakeChain, UpkeepChain]:
    return client, client, client, client, client


async def test_one_client_serves_all_ports() -> None:
    wallet = Keypair()
    async with open_chain("http://127.0.0.1:9", wallet=wallet) as chain:
        assert len(as_ports(chain)) == 5
        assert chain.wallet == wallet.pubkey()
        signature = Signature.from_bytes(chain.sign(b"a manifest"))
        assert signature.verify(wallet.pubkey(), b"a manifest")


async def test_without_a_key_it_only_reads() -> None:
    async with open_chain("http://127.0.0.1:9") as chain:
        with pytest.raises(ConfigError, match="KEYPAIR_PATH"):
            chain.sign(b"")
        with pytest.raises(ConfigError, match="KEYPAIR_PATH"):
            await chain.airdrop(1)


@pytest.mark.parametrize("commitment", ["", "max", "Confirmed"])
def test_an_unknown_commitment_is_refused(commitment: str) -> None:
    with pytest.raises(ConfigError, match="none of processed, confirmed, finalized"):
        open_chain("http://127.0.0.1:9", commitment=commitment, program_id=Pubkey.new_unique())
