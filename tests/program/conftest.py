"""Worlds that the program's tests start from."""

from __future__ import annotations

import pytest

from tests.support.market_world import World


@pytest.fixture(params=["native", "spl", "native-gapless", "spl-gapless"])
def world(request: pytest.FixtureRequest) -> World:
    """A market of each currency, on a chain with Mainnet's features and on one without gaps between stack frames."""
    currency, _, features = str(request.param).partition("-")
    return World(spl=currency == "spl", gapless=features == "gapless")


@pytest.fixture
def native() -> World:
    return World()


@pytest.fixture
def spl() -> World:
    return World(spl=True)
