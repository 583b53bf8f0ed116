"""The part of docker-py's APIClient that is used here, typed: docker-py has no types of its own.

Every method raises docker.errors.APIError for the engine's refusals and requests' exceptions for lost connections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast


class Stream(Protocol):
    """Output as it comes; `close` may be called from another thread and ends the iteration."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class DockerClient(Protocol):
    def info(self) -> dict[str, Any]: ...

    def inspect_image(self, image: str) -> dict[str, Any]: ...

    def remove_image(self, image: str) -> object: ...

    def pull(
        self, repository: str, *, tag: str, stream: bool, decode: bool, auth_config: Mapping[str, str]
    ) -> Iterator[dict[str, Any]]: ...

    def create_host_config(self, **settings: Any) -> dict[str, Any]: ...

    def create_container(self, **settings: Any) -> dict[str, Any]: ...

    def attach(self, container: str, *, stdout: bool, stderr: bool, stream: bool) -> Stream: ...

    def logs(self, container: str, *, stdout: bool, stderr: bool, stream: bool, follow: bool) -> Stream: ...

    def start(self, container: str) -> None: ...

    def wait(self, container: str, *, timeout: float) -> dict[str, Any]: ...

    def kill(self, container: str, signal: str) -> None: ...

    def inspect_container(self, container: str) -> dict[str, Any]: ...

    def remove_container(self, container: str, *, v: bool, force: bool) -> None: ...

    def containers(self, *, all: bool, filters: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]: ...

    def inspect_network(self, net_id: str) -> dict[str, Any]: ...

    def create_network(self, name: str, **settings: Any) -> dict[str, Any]: ...

    def close(self) -> None: ...


def connect(url: str, *, timeout_s: int, connections: int) -> DockerClient:
    """Opens docker-py's client; one request to agree on the API's version. Importing docker takes 0.1 to 0.3 s."""
    from docker import APIClient

    client: Any = APIClient(
        base_url=url, version="auto", timeout=timeout_s, num_pools=connections, max_pool_size=connections
    )
    return cast("DockerClient", client)


def api_status(error: BaseException) -> int | None:
    """The HTTP status of an engine's refusal; None for any other error."""
    from docker.errors import APIError

    if not isinstance(error, APIError):
        return None
    status: Any = cast("Any", error).status_code
    return int(status) if status is not None else 0


def explanation(error: Any) -> str:
    """The engine's own words for a refusal, on one line and bounded."""
    text = getattr(error, "explanation", None) or str(error)
    return " ".join(str(text).split())[:300]


def log_settings(*, max_bytes: int) -> Any:
    """Docker's own log of a container, in two files of at most this size."""
    from docker.types import LogConfig

    make: Any = LogConfig
    return make(type="json-file", config={"max-size": str(max_bytes), "max-file": "2"})


def ulimit(name: str, value: int) -> Any:
    from docker.types import Ulimit

    make: Any = Ulimit
    return make(name=name, soft=value, hard=value)


def gpu_request(uuids: Sequence[str]) -> Any:
    """These NVIDIA GPUs and no other."""
    from docker.types import DeviceRequest

    make: Any = DeviceRequest
    return make(driver="nvidia", device_ids=list(uuids), capabilities=[["gpu"]])


def bind_mount(source: str, target: str) -> Any:
    """A host folder, which must exist, at a path of the container; mounts made inside it stay there."""
    from docker.types import Mount

    make: Any = Mount
    return make(target=target, source=source, type="bind", propagation="rprivate")
