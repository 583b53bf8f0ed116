"""Images of a Docker engine: found, pulled within bounds, and pinned by digest."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from hypernode_worker.core.image_reference import ImageReference
from hypernode_worker.errors import ImageUnavailable, PermanentError, ProviderDown
from hypernode_worker.providers.docker_client import api_status, explanation
from hypernode_worker.providers.docker_engine import DockerEngine
from hypernode_worker.providers.image import is_image_id, parse_image, verify_origin, verify_registry
from hypernode_worker.providers.pulled_images import PulledImages

_REFUSED = (
    "not found",
    "manifest unknown",
    "no matching manifest",
    "access denied",
    "access to the resource is denied",
    "repository does not exist",
    "unauthorized",
    "denied:",
    "invalid reference",
    "unsupported",
    "digest",
)
"""Words of engines and registries that mean: this image will not come, however often it is asked for."""

ANONYMOUS = {"username": "", "password": ""}
"""Pulls bear no credentials: a stranger's job must not reach the operator's private images."""


class DockerImages:
    """Finds and pulls images; one pull at a time for one name."""

    def __init__(
        self,
        engine: DockerEngine,
        *,
        registries: frozenset[str] | None,
        local: Iterable[str],
        max_bytes: int,
        pulled: PulledImages | None = None,
    ) -> None:
        self._engine = engine
        self._pulled = pulled
        self._registries = registries
        self._local = frozenset(str(parse_image(name)) for name in local)
        self._max_bytes = max_bytes
        self._pulls: dict[str, Future[None]] = {}
        self._volumes: dict[str, tuple[str, ...]] = {}

    async def find(self, image: str) -> dict[str, Any] | None:
        """The engine's description of an image that is here; None: it isn't.

        Raises:
            ImageUnavailable: not an image's name.
            ProviderDown: the engine can't be reached.
        """
        name = image if is_image_id(image) else str(parse_image(image))
        try:
            return await self._engine.call(lambda client: client.inspect_image(name))
        except Exception as error:
            status = api_status(error)
            if status == 404:
                return None
            if status is None:
                raise
            if status == 400:
                raise ImageUnavailable(
                    f"the engine refuses the name {name}: correct it ({explanation(error)})"
                ) from error
            raise self._engine.refused(error, f"look for image {name}") from error

    async def prepare(self, image: str, *, timeout_s: float) -> str:
        """As ContainerProvider.prepare."""
        found = await self.find(image)
        if is_image_id(image):
            if found is None:
                raise ImageUnavailable(f"there is no image {image[:19]} on this machine: name one that can be pulled")
            return image
        reference = parse_image(image)
        if str(reference) not in self._local:
            verify_registry(reference, self._registries)
        pulled = found is None
        if found is None:
            await self._pull(reference, timeout_s)
            found = await self.find(image)
            if found is None:
                raise ProviderDown(f"image {reference} was pulled but is not there: look at the engine's log")
            if found.get("Size", 0) > self._max_bytes:
                await self._drop(reference)
                raise self._too_large(reference)
        else:
            verify_origin(reference, _digests(found), self._local)
        pinned = _pinned(reference, found)
        if self._pulled is not None:
            await self._pulled.note(str(reference), pulled=pulled)
        return pinned

    async def volumes(self, image: str) -> tuple[str, ...]:
        """Paths that an image declares as volumes; known after the first call for it.

        Raises:
            ImageUnavailable: it isn't here.
        """
        if image not in self._volumes:
            found = await self.find(image)
            if found is None:
                raise ImageUnavailable(f"image {image[:120]} is not on this machine any more: prepare it again")
            config: dict[str, Any] = found.get("Config") or {}
            declared: dict[str, Any] = config.get("Volumes") or {}
            self._volumes[image] = tuple(sorted(path for path in declared if path.startswith("/")))
        return self._volumes[image]

    async def _pull(self, reference: ImageReference, timeout_s: float) -> None:
        name = str(reference)
        pull = self._pulls.get(name)
        if pull is None:
            pull = self._pulls[name] = _Pull(self._engine, reference, self._max_bytes, timeout_s).begin()
            pull.add_done_callback(lambda _: self._pulls.pop(name, None))
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(pull)), timeout_s)
        except TimeoutError:
            raise ProviderDown(
                f"image {name} was not pulled within {timeout_s:.0f} s: allow more time for setup"
            ) from None
        except _TooLarge:
            raise self._too_large(reference) from None

    async def _drop(self, reference: ImageReference) -> None:
        try:
            await self._engine.call(lambda client: client.remove_image(str(reference)))
        except Exception as error:
            if api_status(error) is None:
                raise

    def _too_large(self, reference: ImageReference) -> ImageUnavailable:
        return ImageUnavailable(
            f"image {reference} is larger than the {self._max_bytes} bytes that this node allows: use a smaller one"
        )


class _TooLarge(PermanentError):
    pass


class _Pull:
    """One pull in a thread of its own; a pull that nobody waits for any more is given up at the next progress line."""

    def __init__(self, engine: DockerEngine, reference: ImageReference, max_bytes: int, timeout_s: float) -> None:
        self._engine = engine
        self._reference = reference
        self._max_bytes = max_bytes
        self._deadline = time.monotonic() + timeout_s
        self._done: Future[None] = Future()

    def begin(self) -> Future[None]:
        threading.Thread(target=self._run, name=f"pull-{self._reference}", daemon=True).start()
        return self._done

    def _run(self) -> None:
        try:
            self._pull()
            self._done.set_result(None)
        except Exception as error:  # noqa: BLE001 -- it is handed to whoever waits
            self._done.set_exception(self._explained(error))

    def _pull(self) -> None:
        repository, tag = self._reference.pull_name
        lines = self._engine.client().pull(repository, tag=tag, stream=True, decode=True, auth_config=ANONYMOUS)
        layers: dict[str, int] = {}
        for line in lines:
            if "error" in line:
                raise self._refused(str(line["error"]))
            progress: dict[str, Any] = line.get("progressDetail") or {}
            if line.get("status") == "Downloading" and isinstance(progress.get("total"), int):
                layers[str(line.get("id"))] = progress["total"]
            if sum(layers.values()) > self._max_bytes:
                raise _TooLarge(f"image {self._reference} is too large")
            if time.monotonic() > self._deadline:
                raise ProviderDown(f"image {self._reference} was not pulled in time: allow more time for setup")

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, (PermanentError, ProviderDown)):
            return error
        if api_status(error) is not None:
            return self._refused(explanation(error))
        return self._engine.translate(error)

    def _refused(self, text: str) -> Exception:
        words = " ".join(text.split())[:300]
        lowered = words.lower()
        if "toomanyrequests" in lowered or "rate limit" in lowered:
            return ProviderDown(
                f"the registry of {self._reference} asks for fewer pulls: try again later ({words})", retry_after_s=600
            )
        if any(part in lowered for part in _REFUSED) and "no such host" not in lowered and "lookup" not in lowered:
            return ImageUnavailable(
                f"image {self._reference} can't be pulled: check its name and that it is public ({words})"
            )
        return ProviderDown(f"image {self._reference} could not be pulled: check this node's network ({words})")


def _pinned(reference: ImageReference, found: dict[str, Any]) -> str:
    """repository@digest where a registry gave one for this repository, else the id of the local image."""
    for digest in _digests(found):
        if digest.startswith(reference.repository + "@") and (
            reference.digest is None or digest.endswith(reference.digest)
        ):
            return digest
    return str(found["Id"])


def _digests(found: dict[str, Any]) -> list[str]:
    return found.get("RepoDigests") or []
