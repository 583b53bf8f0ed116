"""What every run of one worker shares."""

from __future__ import annotations

from dataclasses import dataclass

from hypernode_worker.core.accounts import Node
from hypernode_worker.core.manifest import GpuSpecs, Host
from hypernode_worker.core.ports import Clock, ContainerProvider, ContentStore, HostSpecs, Journal, NodeChain
from hypernode_worker.node.announcer import Announcer
from hypernode_worker.node.clocks import ChainClock
from hypernode_worker.node.settings import WorkerSettings
from hypernode_worker.node.stopping import StopSignal
from hypernode_worker.node.uploads import Uploads


@dataclass(frozen=True, slots=True)
class RunContext:
    """The worker's parts as a run sees them; `node` is the registration as it was at the start."""

    chain: NodeChain
    store: ContentStore
    uploads: Uploads
    provider: ContainerProvider
    journal: Journal
    clock: Clock
    chain_clock: ChainClock
    settings: WorkerSettings
    announce: Announcer
    stop: StopSignal
    node: Node
    host: HostSpecs


def manifest_host(specs: HostSpecs) -> Host:
    """The machine as the manifest describes it."""
    return Host(
        cpu_model=specs.cpu_model[:512],
        cpu_cores=specs.cpu_cores,
        cpu_threads=specs.cpu_threads,
        memory_bytes=specs.memory_bytes,
        disk_bytes=specs.disk_bytes,
        os=specs.os[:512],
        kernel=specs.kernel[:512],
        arch=specs.arch[:512],
        gpus=tuple(
            GpuSpecs(uuid=gpu.uuid, vendor=gpu.vendor, name=gpu.name, memory_bytes=gpu.memory_bytes, driver=gpu.driver)
            for gpu in specs.gpus
        ),
    )
