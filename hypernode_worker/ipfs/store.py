"""The content store that the rest of the program sees: `open_store` and what it gives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hypernode_worker.core.ports import Reach
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, ContentNotFound, EndpointDown, HypernodeError
from hypernode_worker.ipfs.blocks import CACHE_BYTES, EmbeddedStore
from hypernode_worker.ipfs.export import export
from hypernode_worker.ipfs.gateways import Gateway
from hypernode_worker.ipfs.importer import EMPTY_DIRECTORY, Importer, Part
from hypernode_worker.ipfs.kubo import KuboStore
from hypernode_worker.ipfs.layers import HEAD_START_S, LayeredSource
from hypernode_worker.ipfs.pinning import PinningService
from hypernode_worker.ipfs.reader import DagReader
from hypernode_worker.ipfs.source import BlockSource, Publisher
from hypernode_worker.ipfs.threads import in_thread
from hypernode_worker.ipfs.transport import Transport
from hypernode_worker.ipfs.unixfs import DEFAULT_PROFILE, Profile, profile_named

PINNING_PROFILE = "kubo-cid-v1"
"""What pinning services cut files by; the default where one is written to."""
BLOCK_TIMEOUT_S = 15.0
CHECK_TIMEOUT_S = 30.0
_CHECK_BYTES = b"hypernode-worker was here, to see whether what it writes can be read.\n"
_UNBOUNDED = 1 << 60

T = TypeVar("T")


class _Stopped(Exception):
    """The thread that imports was told that nobody waits any more."""


class LayeredStore:
    """ContentStore: writes go here first and then to the publisher, if there is one; reads come from here first.

    What is written is always kept here too. A CID is returned once the publisher has confirmed it, or, without a
    publisher, once its blocks are on the disk.
    """

    def __init__(
        self,
        local: EmbeddedStore,
        profile: Profile,
        *,
        publisher: Publisher | None,
        remotes: Sequence[BlockSource],
        only_files: bool = False,
        head_start_s: float = HEAD_START_S,
        transport: Transport | None = None,
    ) -> None:
        """`only_files`: the publisher knows no empty directories, so they are left out. Closes `transport`."""
        self._local = local
        self._profile = profile
        self._publisher = publisher
        self._remotes = tuple(remotes)
        self._source = LayeredSource(local, remotes, head_start_s=head_start_s)
        self._only_files = only_files
        self._transport = transport

    @property
    def blocks(self) -> EmbeddedStore:
        """The blocks on this machine, for BlockGateway."""
        return self._local

    @property
    def profile(self) -> str:
        return self._profile.name

    @property
    def reach(self) -> Reach:
        return Reach.MACHINE if self._publisher is None else Reach.NETWORK

    @property
    def description(self) -> str:
        where = self._local.label if self._publisher is None else self._publisher.label
        places = [self._local.label, *(source.label for source in self._remotes)]
        return f"writes to {where}; reads from {', then '.join(places)}"

    async def add_bytes(self, data: bytes) -> Cid:
        return await self._add(lambda importer: importer.add_bytes(data))

    async def add_path(self, path: Path) -> Cid:
        return await self._add(lambda importer: importer.add_path(path))

    async def import_path(self, path: Path) -> Cid:
        return (await self._import(lambda importer: importer.add_path(path), queue=True)).cid

    async def publish(self, cid: Cid) -> None:
        if self._publisher is None:
            return
        try:
            await self._publisher.publish(cid, self._local)
        except ContentNotFound as error:
            raise ContentInvalid(f"{cid} can't be uploaded: {error}") from error
        await self.withdraw(cid)

    async def unpublished(self) -> Sequence[Cid]:
        if self._publisher is None:
            return ()
        return await in_thread(lambda: tuple(self._local.uploads()))

    async def withdraw(self, cid: Cid) -> None:
        await in_thread(self._local.end_upload, cid)

    async def has(self, cid: Cid) -> bool:
        if self._publisher is not None:
            return await self._publisher.holds(cid)
        return await in_thread(self._local.pinned, cid) and await self._all_owned(cid)

    async def read(self, cid: Cid, *, max_bytes: int, timeout_s: float) -> bytes:
        chunks: list[bytes] = []

        async def sink(data: bytes) -> None:
            chunks.append(data)

        async def work() -> bytes:
            reader = DagReader(self._source, max_bytes=max_bytes, max_files=1)
            await reader.stream(await reader.node(cid), sink)
            return b"".join(chunks)

        return await self._in_time(cid, timeout_s, work)

    async def fetch(self, cid: Cid, destination: Path, *, max_bytes: int, max_files: int, timeout_s: float) -> None:
        reader = DagReader(self._source, max_bytes=max_bytes, max_files=max_files)
        await self._in_time(cid, timeout_s, lambda: export(reader, cid, destination))

    async def check(self) -> str:
        """Raises what writing and reading raise; EndpointDown when the content is lost or no gateway answers."""
        started = asyncio.get_running_loop().time()
        cid = await self.add_bytes(_CHECK_BYTES)
        if await self.read(cid, max_bytes=len(_CHECK_BYTES), timeout_s=CHECK_TIMEOUT_S) != _CHECK_BYTES:
            raise ContentInvalid(f"{cid} was read back with other bytes; check the disk under {self._local.folder}.")
        if not await self.has(cid):
            where = self._publisher.label if self._publisher else self._local.label
            raise EndpointDown(f"{where} confirmed {cid} but doesn't list it; try again, then check the service.")
        milliseconds = (asyncio.get_running_loop().time() - started) * 1000
        who = "anyone on IPFS" if self.reach is Reach.NETWORK else "programs on this machine"
        told = await self._check_gateways()
        return f"wrote {cid} and read it back in {milliseconds:.0f} ms, for {who}{told}; {self.description}"

    async def _check_gateways(self) -> str:
        """What to say of them. Without one, content of the network can't be read back; content of here can."""
        gateways = [source for source in self._remotes if isinstance(source, Gateway)]
        answers = await asyncio.gather(*(gateway.check() for gateway in gateways), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, HypernodeError):
                raise failure
        if failures and len(failures) == len(self._remotes) and self.reach is Reach.NETWORK:
            raise EndpointDown(f"No gateway answers ({failures[0]}); set IPFS_GATEWAY to one that does.") from failures[
                0
            ]
        return f", {len(gateways) - len(failures)} of {len(gateways)} gateways answer" if gateways else ""

    async def close(self) -> None:
        if self._transport is not None:
            await self._transport.close()

    async def _add(self, work: Callable[[Importer], Part]) -> Cid:
        part = await self._import(work)
        if self._publisher is not None:
            await self._publisher.publish(part.cid, self._local)
        return part.cid

    async def _import(self, work: Callable[[Importer], Part], *, queue: bool = False) -> Part:
        """In one thread: cut, hash, write, pin; wait for the disk where this is the only copy (yet)."""
        stop = threading.Event()
        paths: list[Path] = []

        def put(cid: Cid, block: bytes) -> None:
            if stop.is_set():
                raise _Stopped
            paths.append(self._local.put(cid, block))

        def run() -> Part:
            part = work(Importer(self._profile, put, skip_empty=self._only_files))
            if self._only_files and part.cid == EMPTY_DIRECTORY:
                raise ContentInvalid("There is no file in this directory, and a pinning service keeps only files.")
            paths.append(self._local.pin(part.cid))
            if queue and self._publisher is not None:
                paths.append(self._local.queue_upload(part.cid))
            if queue or self._publisher is None:
                self._local.settle(paths)
            return part

        task = asyncio.ensure_future(asyncio.to_thread(run))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([task])
            task.exception()
            raise

    async def _all_owned(self, root: Cid) -> bool:
        """Every block of the DAG lies in the part of the folder that nothing evicts."""
        reader = DagReader(self._local, max_bytes=_UNBOUNDED, max_files=_UNBOUNDED)
        seen = {root}
        waiting = [root]
        while waiting:
            cid = waiting.pop()
            if not await asyncio.to_thread(self._local.owns, cid):
                return False
            for link in (await reader.node(cid)).links:
                if link.cid not in seen:
                    seen.add(link.cid)
                    waiting.append(link.cid)
        return True

    async def _in_time(self, cid: Cid, timeout_s: float, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(timeout_s):
                return await work()
        except TimeoutError as error:
            detail = self._source.failures()
            told = f" ({detail})" if detail else ""
            raise ContentNotFound(
                f"{cid} wasn't had whole within {timeout_s:g} s{told}; check that somebody provides it."
            ) from error


def open_store(
    *,
    blocks_dir: Path,
    kubo_url: str | None = None,
    kubo_auth: str | None = None,
    upload_url: str | None = None,
    upload_token: str | None = None,
    gateways: Sequence[str] = (),
    profile: str | None = None,
    block_timeout_s: float = BLOCK_TIMEOUT_S,
    head_start_s: float = HEAD_START_S,
    cache_bytes: int = CACHE_BYTES,
    owner: str = "",
) -> LayeredStore:
    """Wires the store from settings. Nothing is contacted yet.

    Args:
        blocks_dir: the per-user folder of blocks; made when missing.
        kubo_url: IPFS_API_URL, such as http://127.0.0.1:5001; writes go there and reads too.
        kubo_auth: 'bearer:TOKEN' or 'basic:USER:PASSWORD', as Kubo's API.Authorizations writes it.
        upload_url, upload_token: a pinning service, written to when there is a token and no Kubo.
        gateways: IPFS_GATEWAY, asked in this order.
        profile: how files are cut; None: what the place that is written to uses.
        block_timeout_s: how long one place may take for one block.
        head_start_s: how long it may be silent before the next place is asked as well.
        cache_bytes: bound of what was fetched and is kept in blocks_dir.
        owner: whose what is added here is, see EmbeddedStore.

    Raises:
        ConfigError: a URL, profile or folder that can't be used.
    """
    local = EmbeddedStore(blocks_dir, cache_bytes=cache_bytes, owner=owner)
    transport = Transport()
    publisher: Publisher | None = None
    remotes: list[BlockSource] = []
    only_files = False
    if kubo_url:
        kubo = KuboStore(kubo_url, auth=kubo_auth, block_timeout_s=block_timeout_s, transport=transport)
        publisher = kubo
        remotes.append(kubo)
    elif upload_token:
        if not upload_url:
            raise ConfigError("A pinning token is set but no address; set IPFS_UPLOAD_URL.")
        publisher = PinningService(upload_url, upload_token, transport=transport)
        only_files = True
    remotes.extend(Gateway(url, timeout_s=block_timeout_s, transport=transport) for url in gateways)
    return LayeredStore(
        local,
        profile_named(profile or (PINNING_PROFILE if only_files else DEFAULT_PROFILE)),
        publisher=publisher,
        remotes=remotes,
        only_files=only_files,
        head_start_s=head_start_s,
        transport=transport,
    )
