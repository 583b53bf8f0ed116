"""Which queued jobs this node takes: pure checks, each answering with one sentence or None."""

from __future__ import annotations

from collections.abc import Iterable

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import (
    FLAG_NETWORK,
    FLAG_PINNED,
    Framework,
    GpuVendor,
    Job,
    JobState,
    Node,
    QueuedJob,
    Trust,
)
from hypernode_worker.core.definition import FrameworkName, JobDefinition
from hypernode_worker.core.ports import Capabilities, Reach
from hypernode_worker.frameworks import framework
from hypernode_worker.node.settings import GIB, WorkerSettings

MIB = 1 << 20


def why_not_job(
    job: QueuedJob | Job, node: Node, settings: WorkerSettings, now: float, reach: Reach = Reach.NETWORK
) -> str | None:
    """What the account alone speaks against; None when nothing does. `reach`: of the store that gets the result."""
    needs, specs = job.requirements, node.specs
    return _first(
        (job.market != node.market, "it belongs to another market"),
        (job.state is not JobState.QUEUED, "it is no longer queued"),
        (job.price < settings.min_price, f"it pays {job.price} a second, MIN_PRICE is {settings.min_price}"),
        (job.attempts >= job.max_attempts, "its attempts are spent"),
        (now >= job.deadline, "its queue time has passed"),
        (
            bool(job.flags & FLAG_PINNED) and reach is Reach.MACHINE,
            "its result must be pinned, and nothing here can (IPFS_API_URL, IPFS_UPLOAD_TOKEN)",
        ),
        (not specs.frameworks >> needs.framework & 1, f"it needs {_name(needs.framework)}, which is not offered here"),
        (needs.gpu_count > specs.gpu_count, f"it needs {needs.gpu_count} GPUs, there are {specs.gpu_count}"),
        (needs.vram_mb > specs.vram_mb, f"it needs {needs.vram_mb} MB of VRAM, there are {specs.vram_mb}"),
        (
            needs.gpu_vendor not in (GpuVendor.NONE, specs.gpu_vendor),
            f"it needs GPUs of vendor {needs.gpu_vendor}, here they are of {specs.gpu_vendor}",
        ),
        (
            needs.min_trust > node.trust,
            f"it asks for {_tier(needs.min_trust)} trust, this node has {_tier(node.trust)}",
        ),
    )


def why_not_definition(
    definition: JobDefinition,
    job: QueuedJob | Job,
    node: Node,
    settings: WorkerSettings,
    capabilities: Capabilities,
    own: frozenset[Pubkey],
) -> str | None:
    """What the definition speaks against.

    Args:
        own: wallets of this operator, whose jobs may run without a kernel boundary.
    """
    needs, limits = definition.requirements, settings.limits
    chain, specs = definition.on_chain(), node.specs
    return _first(
        (
            chain.framework != job.requirements.framework,
            f"its definition says {definition.framework}, its account {_name(job.requirements.framework)}",
        ),
        (
            not capabilities.images
            and (definition.image is not None or definition.framework is not FrameworkName.CUSTOM),
            "it needs an image, and the container runtime here has none",
        ),
        (
            not _has_boundary(capabilities) and not settings.allow_unisolated and job.client not in own,
            "it is a stranger's, and the runtime here draws no boundary around jobs (ALLOW_UNISOLATED)",
        ),
        (needs.network and not job.flags & FLAG_NETWORK, "it needs the network, which its market doesn't allow"),
        (
            needs.network and not settings.allow_network,
            "it needs the network, which is not allowed here (ALLOW_NETWORK)",
        ),
        (chain.gpu_count > specs.gpu_count, f"it needs {chain.gpu_count} GPUs, there are {specs.gpu_count}"),
        (chain.vram_mb > specs.vram_mb, f"it needs {chain.vram_mb} MB of VRAM, there are {specs.vram_mb}"),
        (needs.ram_mb * MIB > limits.memory_bytes, f"it needs {needs.ram_mb} MB of memory, a job gets less here"),
        (needs.disk_gb * GIB > limits.workspace_bytes, f"it needs {needs.disk_gb} GB of disk, a job gets less here"),
        (needs.cpu_cores > limits.cpus, f"it needs {needs.cpu_cores} CPU cores, a job gets {limits.cpus:g} here"),
        (
            bool(needs.country) and settings.country.upper() not in needs.country,
            f"it must run in {', '.join(needs.country[:5])}",
        ),
        (not _has_commands(definition), f"an operation has no command, and {definition.framework} has no default"),
    )


def _has_boundary(capabilities: Capabilities) -> bool:
    """A sandbox is one, if a weaker one than a container: what it can't keep apart it doesn't claim as isolation."""
    return capabilities.isolation or capabilities.network_isolation


def _has_commands(definition: JobDefinition) -> bool:
    default = framework(definition.framework).default_command
    return all(operation.argv(default) for operation in definition.operations)


def _first(*checks: tuple[bool, str]) -> str | None:
    found: Iterable[str] = (sentence for wrong, sentence in checks if wrong)
    return next(iter(found), None)


def _name(number: int) -> str:
    try:
        return FrameworkName[Framework(number).name].value
    except ValueError:
        return f"framework {number}"


def _tier(number: int) -> str:
    try:
        return Trust(number).name.lower()
    except ValueError:
        return f"tier {number}"
