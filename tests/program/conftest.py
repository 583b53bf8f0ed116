"""Worlds that the program's tests start from."""

from __future__ import annotations

import pytest

from tests.support.market_world import World


@pytest.fixture(params=["native", "spl"])
def world(request: pytest.FixtureRequest) -> World:
    """A market of each currency."""
    return World(spl=request.param == "spl")


@pytest.fixture
def native() -> World:
    return World()


@pytest.fixture
def spl() -> World:
    return World(spl=True)
