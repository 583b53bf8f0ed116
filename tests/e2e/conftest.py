"""Chains that tests share: the localnet command, and the real validator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hypernode_worker.solana.artifact import PROGRAM_FILE
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID
from tests.support.chains import RunningChain, validator
from tests.support.town import Town, local_environment


@pytest.fixture(scope="session")
def localnet_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChain]:
    """The localnet as the command runs it."""
    folder = tmp_path_factory.mktemp("localnet")
    town = Town(folder, local_environment(folder))
    with town.running("nobody", "localnet", "--port", "0", until="Ready") as process:
        said = dict(line.split()[:2] for line in town.lines[process.pid] if line.startswith(("JSON-RPC", "PubSub")))
        yield RunningChain(said["JSON-RPC"], said["PubSub"], is_real=False)


@pytest.fixture(scope="module")
def validator_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChain]:
    """Solana's own validator with the program in its genesis. It takes a whole core, so it ends with its module."""
    folder = tmp_path_factory.mktemp("validator")
    with validator(folder / "ledger", {LOCALNET_PROGRAM_ID: PROGRAM_FILE}) as chain:
        yield chain


@pytest.fixture(params=["localnet", pytest.param("validator", marks=pytest.mark.validator)])
def chain(request: pytest.FixtureRequest) -> RunningChain:
    """The same test on both: what passes on one and fails on the other is a bug."""
    return request.getfixturevalue(f"{request.param}_chain")
