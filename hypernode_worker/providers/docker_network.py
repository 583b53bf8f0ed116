"""The network that jobs get when they may have one."""

from __future__ import annotations

import re

from hypernode_worker.errors import ConfigError
from hypernode_worker.providers.docker_client import DockerClient, api_status
from hypernode_worker.providers.docker_engine import DockerEngine

MANAGED_NETWORK = "hypernode"
"""A bridge that the provider makes itself, on which containers can't reach each other."""

MANAGED_INTERFACE = "hypernode0"
"""Its interface on the host, fixed so that an operator's firewall rules can name it."""

NO_NETWORK = "none"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class DockerNetwork:
    """A network by name, looked for (and the managed one made) when the first job needs it."""

    def __init__(self, engine: DockerEngine, name: str) -> None:
        if not _NAME.fullmatch(name) or name == "host":
            raise ConfigError(
                f"jobs can't have the network {name[:80]!r}: use {NO_NETWORK}, {MANAGED_NETWORK} or a bridge's name"
            )
        self.name = name
        self._engine = engine
        self._ready = False

    def verify_allowed(self) -> None:
        """Jobs may have a network at all.

        Raises:
            ConfigError: they may not.
        """
        if self.name == NO_NETWORK:
            raise ConfigError(
                "the job wants a network and this node gives none: set DOCKER_NETWORK, or take no such jobs"
            )

    async def make(self) -> None:
        """Makes sure that it is there.

        Raises:
            ConfigError: it isn't, and isn't ours to make.
            ProviderDown: the engine fails.
        """
        if self._ready:
            return
        try:
            await self._engine.call(lambda client: client.inspect_network(self.name))
        except Exception as error:
            status = api_status(error)
            if status is None:
                raise
            if status != 404:
                raise self._engine.refused(error, f"look for network {self.name}") from error
            if self.name != MANAGED_NETWORK:
                raise ConfigError(
                    f"there is no Docker network {self.name}: make it with `docker network create {self.name}`"
                ) from None
            await self._create()
        self._ready = True

    async def _create(self) -> None:
        try:
            await self._engine.call(_create)
        except Exception as error:
            status = api_status(error)
            if status is None:
                raise
            if status != 409:  # another start was first
                raise self._engine.refused(error, f"make network {self.name}") from error


def _create(client: DockerClient) -> None:
    client.create_network(
        MANAGED_NETWORK,
        driver="bridge",
        check_duplicate=True,
        options={
            "com.docker.network.bridge.enable_icc": "false",
            "com.docker.network.bridge.name": MANAGED_INTERFACE,
        },
        labels={"hypernode.network": "jobs"},
    )
