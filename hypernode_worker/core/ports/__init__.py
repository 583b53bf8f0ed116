"""What the node and the client need of the outside world, as Protocols; the adapters implement them, `app` wires them.

Each method says whether it may be repeated. All raise the errors of `hypernode_worker.errors`, never a vendor's.
"""

from __future__ import annotations

from hypernode_worker.core.ports.chain import (
    ChainHealth,
    ChainReader,
    ChainTime,
    ClientChain,
    EndpointState,
    NodeChain,
    Receipt,
)
from hypernode_worker.core.ports.containers import (
    Capabilities,
    Container,
    ContainerProvider,
    ContainerSpec,
    Exit,
    ExitReason,
    Limits,
)
from hypernode_worker.core.ports.content import (
    ContentStore,
    Reach,
)
from hypernode_worker.core.ports.disk import (
    Keeper,
    Kept,
)
from hypernode_worker.core.ports.machine import (
    Clock,
    Gpu,
    GpuUsage,
    Hardware,
    HostSpecs,
    HostUsage,
)
from hypernode_worker.core.runs import Journal
from hypernode_worker.core.transactions import TransactionLog

__all__ = [
    "Capabilities",
    "ChainHealth",
    "ChainReader",
    "ChainTime",
    "ClientChain",
    "Clock",
    "Container",
    "ContainerProvider",
    "ContainerSpec",
    "ContentStore",
    "EndpointState",
    "Exit",
    "ExitReason",
    "Gpu",
    "GpuUsage",
    "Hardware",
    "HostSpecs",
    "HostUsage",
    "Journal",
    "Keeper",
    "Kept",
    "Limits",
    "NodeChain",
    "Reach",
    "Receipt",
    "TransactionLog",
]
