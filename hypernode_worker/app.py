"""Composition root: settings become wired objects. The only module that knows everyone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hypernode_worker.errors import ConfigError

if TYPE_CHECKING:
    from solders.keypair import Keypair

    from hypernode_worker.client import Client
    from hypernode_worker.config import Loaded, Settings
    from hypernode_worker.core.events import Listener
    from hypernode_worker.core.ports import ContainerProvider, HostSpecs, Limits
    from hypernode_worker.hardware.host import HostHardware
    from hypernode_worker.ipfs import LayeredStore
    from hypernode_worker.localnet import Localnet
    from hypernode_worker.node.manager import NodeManager
    from hypernode_worker.node.settings import WorkerSettings
    from hypernode_worker.solana.client import SolanaClient

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_local_chain(settings: Settings) -> bool:
    """The chain is on this machine, and so, it is assumed, are its workers."""
    return all(urlsplit(url).hostname in _LOOPBACK for url in settings.solana_rpc_url)


def load_wallet(settings: Settings) -> Keypair:
    """The key that signs. Raises ConfigError: missing, readable by others, malformed."""
    from hypernode_worker.solana.keypair import load_keypair

    return load_keypair(settings.keypair_path)


@asynccontextmanager
async def open_chain(loaded: Loaded, *, signs: bool) -> AsyncGenerator[SolanaClient]:
    """The chain; with `signs` the key file is read, else everything is read-only."""
    from solders.pubkey import Pubkey

    from hypernode_worker.solana.client import open_chain as connect

    settings = loaded.settings
    async with connect(
        settings.solana_rpc_url,
        ws_url=settings.solana_ws_url,
        program_id=Pubkey.from_string(settings.program_id),
        wallet=load_wallet(settings) if signs else None,
        commitment=settings.commitment,
        poll_interval_s=settings.polling_interval / 1000,
        max_priority_fee_lamports=settings.max_priority_fee,
        timeout_s=settings.rpc_timeout / 1000,
    ) as chain:
        yield chain


@asynccontextmanager
async def open_store(loaded: Loaded, *, owner: str = "") -> AsyncGenerator[LayeredStore]:
    """The content store: Kubo, a pinning service or the embedded one, behind gateways. `owner`: see EmbeddedStore."""
    from hypernode_worker.ipfs import open_store as connect

    settings = loaded.settings
    auth, token = settings.ipfs_api_auth, settings.ipfs_upload_token
    store = connect(
        blocks_dir=settings.ipfs_store_dir,
        kubo_url=settings.ipfs_api_url,
        kubo_auth=auth.get_secret_value() if auth else None,
        upload_url=settings.ipfs_upload_url,
        upload_token=token.get_secret_value() if token else None,
        gateways=settings.ipfs_gateway,
        profile=settings.ipfs_profile,
        owner=owner,
    )
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_client(loaded: Loaded, *, local_only: bool = False, signs: bool = True) -> AsyncGenerator[Client]:
    """What a client does. `local_only`: a worker on this machine may take what is posted."""
    from hypernode_worker.client import Client

    async with open_chain(loaded, signs=signs) as chain, open_store(loaded) as store:
        yield Client(chain, store, same_machine=local_only or is_local_chain(loaded.settings))


@asynccontextmanager
async def open_provider(loaded: Loaded) -> AsyncGenerator[ContainerProvider]:
    """The container runtime that the settings name."""
    from hypernode_worker.providers.factory import open_provider as connect

    settings = loaded.settings
    registries = settings.image_registries
    provider = await connect(
        settings.container_runtime,
        state_dir=settings.data_dir / "provider",
        docker_url=settings.docker_host,
        docker_network=settings.docker_network if settings.allow_network else "none",
        registries=None if registries is None else frozenset(registries),
        local_images=frozenset({*(settings.local_images or ()), *settings.images.values()}),
        allow_unisolated=settings.allow_unisolated,
    )
    try:
        yield provider
    finally:
        await provider.close()


@asynccontextmanager
async def open_hardware(settings: Settings) -> AsyncGenerator[HostHardware]:
    """This machine."""
    from hypernode_worker.hardware.host import HostHardware

    hardware = HostHardware(settings.data_dir)
    try:
        yield hardware
    finally:
        await hardware.close()


def job_limits(settings: Settings, host: HostSpecs) -> Limits:
    """Bounds of one job: what the settings say, else the machine's share of one of CAPACITY jobs."""
    from hypernode_worker.core.ports import Limits

    return Limits(
        memory_bytes=settings.job_memory or max(host.memory_bytes * 3 // 4 // settings.capacity, 64 << 20),
        cpus=settings.job_cpus or max(host.cpu_threads / settings.capacity, 0.1),
        pids=settings.job_pids,
        log_bytes=settings.job_log_size,
        workspace_bytes=settings.job_workspace_size,
    )


@asynccontextmanager
async def open_worker(loaded: Loaded, *, listeners: Sequence[Listener] = ()) -> AsyncGenerator[NodeManager]:
    """A worker, ready to `run`. Nothing is sent or started before that."""
    from hypernode_worker.ipfs import WORKER, BlockKeeper
    from hypernode_worker.journal import SqliteJournal
    from hypernode_worker.node.manager import NodeManager

    settings = loaded.settings
    make_data_dir(settings.data_dir)
    async with (
        open_chain(loaded, signs=True) as chain,
        open_store(loaded, owner=WORKER) as store,
        open_provider(loaded) as provider,
        open_hardware(settings) as hardware,
        serve_blocks(settings, store),
    ):
        host = await hardware.specs()
        journal = SqliteJournal(settings.data_dir / "journal.sqlite")
        try:
            yield NodeManager(
                chain=chain,
                store=store,
                provider=provider,
                hardware=hardware,
                journal=journal,
                settings=worker_settings(loaded, host),
                listeners=listeners,
                keepers=[BlockKeeper(store.blocks)],
            )
        finally:
            journal.close()


def worker_settings(loaded: Loaded, host: HostSpecs) -> WorkerSettings:
    """What NodeManager is told of the settings."""
    from solders.pubkey import Pubkey

    from hypernode_worker.node.settings import WorkerSettings

    settings = loaded.settings
    payout = settings.payout_address
    return WorkerSettings(
        market=Pubkey.from_string(loaded.require_market()),
        data_dir=settings.data_dir,
        limits=job_limits(settings, host),
        auto_accept=settings.auto_accept,
        min_price=settings.min_price,
        payout=Pubkey.from_string(payout) if payout else None,
        capacity=settings.capacity,
        allow_network=settings.allow_network,
        allow_unisolated=settings.allow_unisolated,
        country=settings.country.upper(),
        images=settings.images,
        balance_floor_lamports=settings.balance_floor,
        fee_budget_lamports=settings.daily_fee_budget,
        health_interval_s=settings.health_check_interval / 1000,
        drain_timeout_s=settings.drain_timeout / 1000,
        definition_timeout_s=settings.ipfs_timeout / 1000,
        disk_reserve_bytes=settings.disk_reserve,
        disk_quota_bytes=settings.disk_quota,
        deregister_on_stop=settings.deregister_on_stop,
    )


def make_data_dir(path: Path) -> None:
    """The worker's folder, for its user alone. Raises ConfigError when it can't be made."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The data folder {path} can't be made ({error.strerror}); name another with DATA_DIR."
        ) from error


@asynccontextmanager
async def serve_blocks(settings: Settings, store: LayeredStore) -> AsyncGenerator[None]:
    """With IPFS_SERVE_PORT, the embedded store as a trustless gateway on loopback."""
    if settings.ipfs_serve_port is None:
        yield
        return
    from hypernode_worker.ipfs import BlockGateway

    async with BlockGateway(store.blocks, port=settings.ipfs_serve_port):
        yield


def open_localnet(
    *,
    port: int,
    ws_port: int | None = None,
    host: str = "127.0.0.1",
    state_dir: Path | None = None,
    slot_ms: int | None = None,
    allowed_hosts: tuple[str, ...] = (),
) -> Localnet:
    """A local chain with the markets program at the seed's address; use it with `async with`."""
    from solders.pubkey import Pubkey

    from hypernode_worker.config import LOCALNET_PROGRAM_ID
    from hypernode_worker.localnet import Localnet, LocalnetConfig
    from hypernode_worker.solana.artifact import program_elf

    config = LocalnetConfig(
        host=host,
        port=port,
        ws_port=ws_port,
        programs={Pubkey.from_string(LOCALNET_PROGRAM_ID): program_elf()},
        state_dir=state_dir,
        allowed_hosts=allowed_hosts,
    )
    return Localnet(replace(config, slot_ms=slot_ms) if slot_ms else config)
