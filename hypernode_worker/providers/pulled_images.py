"""The images that this worker pulled: only these may it remove again. A file remembers them, and their last use.

An image that was here before, that the operator pulled or built, is never in it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from hypernode_worker.core.image_reference import parse_image_reference
from hypernode_worker.core.ports import Kept
from hypernode_worker.errors import HypernodeError
from hypernode_worker.providers.docker_client import api_status
from hypernode_worker.providers.docker_engine import DockerEngine

log = logging.getLogger(__name__)

_WRITE_AFTER_S = 60.0
"""A use that is noted this soon after another needn't be written."""


class PulledImages:
    """Keeper of a Docker engine's images, by their names."""

    def __init__(self, engine: DockerEngine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._writing = threading.Lock()
        self._used_at: dict[str, float] = _read(path)

    async def note(self, name: str, *, pulled: bool) -> None:
        """An image is used; `pulled`: it wasn't here, and was fetched for that."""
        now = time.time()
        known = self._used_at.get(name)
        if known is None and not pulled:
            return
        self._used_at[name] = now
        if known is None or not 0 <= now - known < _WRITE_AFTER_S:
            await asyncio.to_thread(self._write)

    async def used_bytes(self) -> int:
        return sum([await self._size(name) for name in list(self._used_at)])

    async def evictable(self, needed: frozenset[str]) -> Sequence[Kept]:
        names = [name for name in self._used_at if not self._is_needed(name, needed)]
        sizes = {name: await self._size(name) for name in names}
        place = self._engine.facts.folder if self._engine.facts else Path()
        return [Kept(name, size, self._used_at[name], place) for name, size in sizes.items() if size]

    async def evict(self, names: Sequence[str], needed: frozenset[str]) -> None:
        for name in names:
            if name in self._used_at and not self._is_needed(name, needed):
                await self._remove(name)
        await asyncio.to_thread(self._write)

    async def _remove(self, name: str) -> None:
        try:
            await self._engine.call(lambda client: client.remove_image(name))
        except Exception as error:
            status = api_status(error)
            if status is None:
                raise
            if status != 404:  # a container uses it: it stays ours
                log.info("The image %s stays: the engine answers %s", name, status)
                return
        log.info("The image %s was removed to make room", name)
        self._used_at.pop(name, None)

    async def _size(self, name: str) -> int:
        """0, and forgotten, once it is gone."""
        try:
            found: dict[str, Any] = await self._engine.call(lambda client: client.inspect_image(name))
        except HypernodeError:
            raise
        except Exception as error:
            if api_status(error) == 404:
                self._used_at.pop(name, None)
                return 0
            raise self._engine.refused(error, f"look for image {name}") from error
        return int(found.get("Size") or 0)

    @staticmethod
    def _is_needed(name: str, needed: frozenset[str]) -> bool:
        return any(str(reference) == name for text in needed if (reference := parse_image_reference(text)))

    def _write(self) -> None:
        draft = self._path.with_suffix(".new")
        with self._writing, suppress(OSError):  # on a full disk: what isn't remembered is never removed
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps(self._used_at))
            draft.replace(self._path)


def _read(path: Path) -> dict[str, float]:
    try:
        found: object = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(k): float(v) for k, v in cast("dict[object, object]", found).items() if isinstance(v, int | float)}
