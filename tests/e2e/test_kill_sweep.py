"""A worker is killed again and again: once it is back every job is settled or refunded, once. `make soak` does more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.world import World
from tests.soak.kills import Toll, kill_again_and_again
from tests.support.chains import RunningChain
from tests.support.providers import import_busybox


def nothing_is_lost(toll: Toll) -> None:
    assert (toll.lost, toll.wrong, toll.overpaid, toll.left_over) == (0, 0, 0, 0), toll
    assert toll.settled + toll.refunded == toll.posted > 0


async def test_at_steps_of_the_journal_and_at_random(tmp_path: Path, localnet_chain: RunningChain) -> None:
    world = World(tmp_path, localnet_chain.rpc_url, localnet_chain.ws_url)
    nothing_is_lost(await kill_again_and_again(world, kills=16, seed=5, runtime="process"))


@pytest.mark.docker
async def test_with_containers(tmp_path: Path, localnet_chain: RunningChain) -> None:
    import_busybox()
    world = World(tmp_path, localnet_chain.rpc_url, localnet_chain.ws_url)
    nothing_is_lost(await kill_again_and_again(world, kills=4, seed=6, runtime="docker"))


@pytest.mark.validator
@pytest.mark.docker
async def test_on_the_real_validator(tmp_path: Path, validator_chain: RunningChain) -> None:
    import_busybox()
    world = World(tmp_path, validator_chain.rpc_url, validator_chain.ws_url)
    nothing_is_lost(await kill_again_and_again(world, kills=4, seed=7, runtime="docker"))
