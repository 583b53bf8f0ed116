"""Settings: every setting with its meaning, unit and default. The README's table and .env.example are made from it."""

from __future__ import annotations

from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from hypernode_worker.config.places import data_home
from hypernode_worker.config.values import (
    Address,
    FilePath,
    Image,
    Images,
    Names,
    Price,
    RpcUrls,
    Size,
    Url,
    Urls,
    WsUrl,
)

LOCALNET_PROGRAM_ID = "HYPERMarket11111111111111111111111111111111"
"""The seed's PROGRAM_ID. It is off the curve: nobody can deploy there, so it exists on local chains only."""


def _field(
    group: str, description: str, default: Any, *, unit: str = "", shown: str | None = None, **limits: Any
) -> Any:
    extra: JsonDict = {"group": group, "unit": unit, "shown": shown}
    if callable(default):
        return Field(default_factory=default, description=description, json_schema_extra=extra, **limits)
    return Field(default=default, description=description, json_schema_extra=extra, **limits)


class Settings(BaseModel):
    """All settings of one process, checked once; made by `config.load`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    # Solana
    solana_rpc_url: RpcUrls = _field(
        "Solana",
        "JSON-RPC endpoint; several of one chain between commas, the preferred one first: another is asked while it is "
        "down, behind or contradicted; three can outvote a liar",
        "https://api.devnet.solana.com",
    )
    solana_ws_url: WsUrl | None = _field(
        "Solana", "PubSub endpoint", None, shown="SOLANA_RPC_URL with ws:// or wss://; with a port, the next one"
    )
    keypair_path: FilePath = _field(
        "Solana", "key file of the wallet that signs and pays, mode 0600", "~/.config/solana/id.json"
    )
    market_pubkey: Address | None = _field("Solana", "market to work in, or to post to", None, shown="must be set")
    program_id: Address = _field(
        "Solana", "the markets program; the default exists on local chains only", LOCALNET_PROGRAM_ID
    )
    commitment: Literal["processed", "confirmed", "finalized"] = _field(
        "Solana", "how settled a transaction must be before it counts: processed, confirmed or finalized", "confirmed"
    )
    max_priority_fee: int = _field(
        "Solana", "most that is paid for priority, for each transaction", 100_000, unit="lamports", ge=0, le=10**9
    )
    balance_floor: Price = _field(
        "Solana",
        "wallet's balance below which no job is taken: what is held must still be paid for (or 0.005SOL); of it "
        "890,880 can't be spent",
        5_000_000,
        unit="lamports",
        ge=0,
    )
    daily_fee_budget: Price = _field(
        "Solana",
        "transaction fees within 24 hours after which no job is taken (or 0.1SOL); what is held is always brought to "
        "its end; 0: no limit",
        100_000_000,
        unit="lamports",
        ge=0,
    )
    rpc_timeout: int = _field("Solana", "how long an RPC call may take", 10_000, unit="ms", ge=100, le=120_000)

    # IPFS
    ipfs_gateway: Urls = _field(
        "IPFS", "gateways to read from, in this order, between commas; none: no gateway", "https://ipfs.io"
    )
    ipfs_api_url: Url | None = _field("IPFS", "Kubo's RPC; when set, content is written there", None, shown="none")
    ipfs_upload_url: Url = _field(
        "IPFS", "pinning service, used when its token is set", "https://api.pinata.cloud/pinning/pinJSONToIPFS"
    )
    ipfs_upload_token: SecretStr | None = _field("IPFS", "token of the pinning service; secret", None, shown="none")
    ipfs_store_dir: FilePath = _field(
        "IPFS",
        "folder of the embedded store, shared by all commands of this user",
        lambda: data_home() / "ipfs",
        shown="~/.local/share/hypernode-worker/ipfs",
    )
    ipfs_api_auth: SecretStr | None = _field(
        "IPFS", "'bearer:TOKEN' or 'basic:USER:PASSWORD' for Kubo's RPC; secret", None, shown="none"
    )
    ipfs_profile: Literal["unixfs-v1-2025", "kubo-cid-v1"] | None = _field(
        "IPFS",
        "how files are cut into blocks, which decides their CIDs: unixfs-v1-2025 or kubo-cid-v1",
        None,
        shown="what the place that is written to uses",
    )
    ipfs_serve_port: int | None = _field(
        "IPFS",
        "port on 127.0.0.1 where a worker serves its embedded store as a gateway",
        None,
        shown="off",
        ge=0,
        le=65535,
    )
    ipfs_timeout: int = _field("IPFS", "how long a fetch may take", 60_000, unit="ms", ge=100, le=3_600_000)

    # Worker
    container_runtime: Literal["auto", "docker", "process", "mock"] = _field(
        "Worker",
        "docker, process (bubblewrap), mock (runs nothing), or auto: docker when there, else process",
        "docker",
    )
    auto_accept: bool = _field("Worker", "take every fitting job; false: only those named by `job take`", True)
    polling_interval: int = _field(
        "Worker", "how often jobs are asked for while the subscription is down", 10_000, unit="ms", ge=100, le=3_600_000
    )
    health_check_interval: int = _field(
        "Worker", "how often GPUs, memory and disk are looked at", 60_000, unit="ms", ge=1000, le=3_600_000
    )
    min_price: Price = _field(
        "Worker", "least price of a job to take (250, or with suffix 0.001SOL)", 0, unit="base units a second", ge=0
    )
    payout_address: Address | None = _field("Worker", "wallet that is paid", None, shown="the key file's own address")
    capacity: int = _field("Worker", "jobs run at once", 1, ge=1, le=256)
    data_dir: FilePath = _field(
        "Worker",
        "journal, workspaces and control socket of this worker",
        data_home,
        shown="~/.local/share/hypernode-worker",
    )
    allow_network: bool = _field("Worker", "jobs may use the network where their market allows it", False)
    docker_host: str = _field(
        "Worker",
        "Docker engine",
        "unix:///var/run/docker.sock",
        pattern=r"^(unix:///|tcp://|https?://|ssh://).+$",
    )
    docker_network: str = _field(
        "Worker",
        "network of jobs that may use one: none, hypernode (made when missing), or the name of one of your bridges",
        "none",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$",
    )
    image_registries: Names | None = _field(
        "Worker", "registries that images may be pulled from, between commas", None, shown="any with a public name"
    )
    local_images: Images | None = _field(
        "Worker",
        "images made on this machine that jobs may use, between commas; others must have come from a registry",
        None,
        shown="none but those of IMAGE_...",
    )
    allow_unisolated: bool = _field(
        "Worker", "the process runtime may run strangers' jobs without bubblewrap: dangerous", False
    )
    allow_mock: bool = _field("Worker", "the mock runtime may be used although its results are empty", False)
    drain_timeout: int = _field(
        "Worker", "how long running jobs may go on after the first Ctrl-C or `stop`", 3_600_000, unit="ms", ge=0
    )
    deregister_on_stop: bool = _field(
        "Worker", "give the node's registration up when the worker stops and no job of it is open", False
    )
    disk_quota: Size | None = _field(
        "Worker",
        "what this worker's images, content and workspaces may take together; the longest unused go first",
        None,
        unit="bytes, or 200GiB",
        shown="all but DISK_RESERVE",
        ge=1 << 20,
    )
    disk_reserve: Size = _field(
        "Worker",
        "what must stay free on the disk of DATA_DIR: below it no job is taken",
        1 << 30,
        unit="bytes, or 10GiB",
        ge=1 << 20,
    )
    country: str = _field(
        "Worker",
        "country of the machine, two letters, published",
        "",
        shown="not published",
        pattern=r"^([A-Za-z]{2})?$",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _field("Worker", "debug, info, warning or error", "info")

    # Limits of a job
    job_memory: Size | None = _field(
        "Limits",
        "memory of a job",
        None,
        unit="bytes, or 8GiB",
        shown="three quarters of the machine / CAPACITY",
        ge=4 << 20,
    )
    job_cpus: float | None = _field(
        "Limits", "CPUs of a job", None, shown="all of the machine / CAPACITY", gt=0, le=4096
    )
    job_pids: int = _field("Limits", "processes and threads of a job", 1024, ge=4, le=1 << 20)
    job_log_size: Size = _field("Limits", "log that a job may write", 16 << 20, unit="bytes, or 16MiB", ge=1024)
    job_workspace_size: Size = _field(
        "Limits", "files that a job may have in /workspace", 10 << 30, unit="bytes, or 10GiB", ge=1 << 20
    )

    # Images
    image_pytorch: Image | None = _field(
        "Images", "image for pytorch jobs", None, shown="pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime"
    )
    image_huggingface: Image | None = _field(
        "Images", "image for huggingface jobs", None, shown="huggingface/transformers-pytorch-gpu:latest"
    )
    image_stable_diffusion: Image | None = _field(
        "Images", "image for stable-diffusion jobs", None, shown="stabilityai/stable-diffusion:latest"
    )
    image_ollama: Image | None = _field("Images", "image for ollama jobs", None, shown="ollama/ollama:latest")

    @property
    def images(self) -> dict[str, str]:
        """Images that the operator chose, by framework."""
        chosen = {
            "pytorch": self.image_pytorch,
            "huggingface": self.image_huggingface,
            "stable-diffusion": self.image_stable_diffusion,
            "ollama": self.image_ollama,
        }
        return {framework: image for framework, image in chosen.items() if image}


def extra(info: FieldInfo, key: str) -> str:
    """'group', 'unit' or 'shown' of a field; '' when there is none."""
    known = cast("object", info.json_schema_extra)
    value = cast("dict[str, object]", known).get(key) if isinstance(known, dict) else None
    return value if isinstance(value, str) else ""
