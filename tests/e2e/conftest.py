"""The chain that these tests share: the localnet as the command runs it (the validator: tests/conftest.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.chains import RunningChain
from tests.support.town import Town, local_environment


@pytest.fixture(scope="session")
def localnet_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChain]:
    """The localnet as the command runs it."""
    folder = tmp_path_factory.mktemp("localnet")
    town = Town(folder, local_environment(folder))
    with town.running("nobody", "localnet", "--port", "0", until="Ready") as process:
        said = dict(line.split()[:2] for line in town.lines[process.pid] if line.startswith(("JSON-RPC", "PubSub")))
        yield RunningChain(said["JSON-RPC"], said["PubSub"], is_real=False)
