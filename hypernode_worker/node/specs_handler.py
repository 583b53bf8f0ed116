"""SpecsHandler: looks at the machine, publishes what it is, and keeps the node's registration equal to it."""

from __future__ import annotations

import logging

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Framework, GpuVendor, Market, Node, NodeSpecs, NodeState
from hypernode_worker.core.events import NodeRegistered, SpecsDetected, WarningRaised
from hypernode_worker.core.ports import (
    Capabilities,
    ContainerProvider,
    ContentStore,
    Gpu,
    Hardware,
    HostSpecs,
    NodeChain,
)
from hypernode_worker.core.strict_json import canonical_json
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import AccountMissing, ConfigError, TransientError
from hypernode_worker.frameworks import all_bits
from hypernode_worker.node.announcer import Announcer
from hypernode_worker.node.settings import GIB, WorkerSettings

log = logging.getLogger(__name__)

_MIB = 1 << 20
_VENDORS = {"nvidia": GpuVendor.NVIDIA, "amd": GpuVendor.AMD}


class SpecsHandler:
    """What this node says that it is; all of it is the node's word."""

    def __init__(
        self,
        *,
        chain: NodeChain,
        store: ContentStore,
        provider: ContainerProvider,
        hardware: Hardware,
        settings: WorkerSettings,
        announce: Announcer,
    ) -> None:
        self._chain = chain
        self._store = store
        self._provider = provider
        self._hardware = hardware
        self._settings = settings
        self._announce = announce
        self._runtime = ""

    async def detect(self) -> HostSpecs:
        """Raises ProviderDown, with the cure, when the container runtime doesn't answer."""
        host = await self._hardware.specs()
        self._runtime = await self._provider.check()
        self._announce(SpecsDetected(host, self._runtime, self._provider.capabilities.isolation))
        return host

    async def register(self, market: Market, host: HostSpecs, payout: Pubkey) -> Node:
        """Registers the node, or updates it where it differs; a transaction is sent only when something does."""
        node = await self._chain.node_of(market.address, self._chain.wallet)
        specs_cid = await self._publish(specs_document(host, self._provider, self._settings), node)
        capabilities = self._provider.capabilities
        specs = node_specs(host, capabilities, self._settings)
        specs = NodeSpecs(
            specs.isolation, specs.gpu_vendor, specs.gpu_count, specs.country, specs.vram_mb, specs.ram_mb,
            specs.disk_gb, specs.cpu_cores, specs.frameworks, specs_cid,
        )  # fmt: skip
        capacity = min(self._settings.capacity, market.terms.max_capacity)
        signature = None
        if node is None or (node.specs, node.capacity, node.payout) != (specs, capacity, payout):
            receipt = await self._chain.register_node(market.address, specs, capacity=capacity, payout=payout)
            signature = receipt.signature
            node = await self._registered(market)
        if node.state is not NodeState.ACTIVE:
            signature = (await self._chain.heartbeat_node(market.address, NodeState.ACTIVE)).signature
            node = await self._registered(market)
        self._announce(NodeRegistered(node.address, market.address, specs_cid, signature))
        return node

    async def _publish(self, document: bytes, node: Node | None) -> Cid | None:
        """The document's CID. A node that is registered starts without its store too: it may hold jobs."""
        try:
            return await self._store.add_bytes(document)
        except (TransientError, ConfigError) as error:
            if node is None:
                raise
            self._announce(WarningRaised(f"The content store takes nothing now: {error}"))
            return node.specs.specs_cid

    async def _registered(self, market: Market) -> Node:
        node = await self._chain.node_of(market.address, self._chain.wallet)
        if node is None:
            raise AccountMissing(f"The node of {self._chain.wallet} isn't in market {market.address}; start again.")
        return node


def node_specs(host: HostSpecs, capabilities: Capabilities, settings: WorkerSettings) -> NodeSpecs:
    """The account's fields, without the CID. VRAM is the smallest GPU's: any of them may get the job."""
    gpus: tuple[Gpu, ...] = usable_gpus(host, capabilities)
    country = settings.country.upper().encode("ascii") if len(settings.country) == 2 else b"\0\0"
    return NodeSpecs(
        isolation=int(capabilities.isolation),
        gpu_vendor=_VENDORS.get(gpus[0].vendor, GpuVendor.OTHER) if gpus else GpuVendor.NONE,
        gpu_count=min(len(gpus), 255),
        country=country,
        vram_mb=min((gpu.memory_bytes // _MIB for gpu in gpus), default=0),
        ram_mb=min(host.memory_bytes // _MIB, 2**32 - 1),
        disk_gb=min(host.disk_bytes // GIB, 2**32 - 1),
        cpu_cores=min(host.cpu_threads, 65_535),
        # Without images there is nothing that a framework could be run from.
        frameworks=all_bits() if capabilities.images else 1 << Framework.CUSTOM,
        specs_cid=None,
    )


def usable_gpus(host: HostSpecs, capabilities: Capabilities) -> tuple[Gpu, ...]:
    """GPUs of the first one's vendor, where the container runtime can hand them to a job."""
    if not capabilities.gpus or not host.gpus:
        return ()
    return tuple(gpu for gpu in host.gpus if gpu.vendor == host.gpus[0].vendor)


def specs_document(host: HostSpecs, provider: ContainerProvider, settings: WorkerSettings) -> bytes:
    """The JSON at specs_cid: the machine, and what a job gets of it. The same machine gives the same bytes."""
    limits = settings.limits
    return canonical_json(
        {
            "version": 1,
            "host": {
                "cpu_model": host.cpu_model,
                "cpu_cores": host.cpu_cores,
                "cpu_threads": host.cpu_threads,
                "memory_bytes": host.memory_bytes,
                "disk_bytes": host.disk_bytes,
                "os": host.os,
                "kernel": host.kernel,
                "arch": host.arch,
                "gpus": [
                    {"vendor": gpu.vendor, "name": gpu.name, "memory_bytes": gpu.memory_bytes, "driver": gpu.driver}
                    for gpu in host.gpus
                ],
            },
            "runtime": {"name": provider.name, "isolation": provider.capabilities.isolation},
            "job_limits": {
                "memory_bytes": limits.memory_bytes,
                "cpus": limits.cpus,
                "pids": limits.pids,
                "log_bytes": limits.log_bytes,
                "workspace_bytes": limits.workspace_bytes,
            },
            "network": settings.allow_network,
        }
    )
