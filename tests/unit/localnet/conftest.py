from __future__ import annotations

import pytest
from solders.keypair import Keypair

from hypernode_worker.localnet import Bank, Rpc
from tests.support.transactions import SOL

GENESIS_TIME = 1_760_000_000.0


@pytest.fixture
def bank() -> Bank:
    return Bank(unix_time=GENESIS_TIME)


@pytest.fixture
def rpc(bank: Bank) -> Rpc:
    return Rpc(bank)


@pytest.fixture
def payer(bank: Bank) -> Keypair:
    """A wallet with 100 SOL."""
    wallet = Keypair()
    bank.airdrop(wallet.pubkey(), 100 * SOL)
    return wallet
