"""The embedded store: a folder of blocks that all processes of one user share.

    DIR/blocks/ab/<digest>   what was added here; stays
    DIR/cache/ab/<digest>    what was fetched; within each `ab` the longest unused go once its share is passed
    DIR/pins/<cid>           a file for each root that was added: empty where the user added it, so that it stays for
                             ever; with the word "worker" where a worker did, which may evict it (ipfs.eviction)
    DIR/uploads/<cid>        an empty file for each root that is to be uploaded and isn't confirmed yet
    DIR/tmp/                 files being written; each is renamed into place when whole

A file's name is its sha2-256, so two processes that write one block write the same bytes, and every read can tell
whether the disk kept them. A damaged block is reported, removed and treated as missing.

What survives: blocks are written without waiting for the disk, then `settle` waits once for all blocks of one DAG
and its pin, several at a time. Where this folder is the only copy, that happens before a CID is confirmed (before
finish_job can name it). Fetched blocks never wait: they can be fetched again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentInvalid, ContentNotFound, TransientError
from hypernode_worker.ipfs.dagpb import MAX_BLOCK_BYTES

CACHE_BYTES = 10 << 30
"""Default bound of what was fetched; under 512 MiB the bound is not exact, 0 keeps nothing."""

WORKER = "worker"
"""The owner of what a worker adds: it may evict that when nobody waits for it any more."""

_STALE_S = 86_400.0  # a temporary file this old belongs to nobody any more
_SYNC_THREADS = 8
_log = logging.getLogger(__name__)


class EmbeddedStore:
    """A folder of verified blocks. All methods but `block` are synchronous, for worker threads.

    Attributes:
        added, fetched: the folders of what was added here, and of what can be fetched again.
    """

    def __init__(self, folder: Path, *, cache_bytes: int = CACHE_BYTES, owner: str = "") -> None:
        """Makes the folder (mode 0700) when it isn't there. Raises ConfigError when it can't be used.

        `owner`: who adds content through this object, WORKER or "" for the user.
        """
        self.folder = folder
        self.added = folder / "blocks"
        self.fetched = folder / "cache"
        self._pins = folder / "pins"
        self._uploads = folder / "uploads"
        self._tmp = folder / "tmp"
        self._owner = owner
        self._share = max(cache_bytes // 256, MAX_BLOCK_BYTES) if cache_bytes > 0 else 0
        self._cached: dict[Path, int] = {}  # bytes in a folder of the cache: as counted, plus what was added here since
        self._counting = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for part in (self.added, self.fetched, self._pins, self._uploads, self._tmp):
                part.mkdir(mode=0o700, exist_ok=True)
            if not os.access(self._tmp, os.W_OK | os.X_OK):
                raise PermissionError("it isn't writable")
            self._sweep()
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"The folder of IPFS blocks {folder} can't be used: {reason}; choose another.") from error

    @property
    def label(self) -> str:
        return f"blocks in {self.folder}"

    # --- blocks

    async def block(self, cid: Cid) -> bytes:
        """As a BlockSource. Raises ContentNotFound."""
        data = await asyncio.to_thread(self.get, cid)
        if data is None:
            raise ContentNotFound(f"{cid} is not among the blocks in {self.folder}; add it or name a gateway.")
        return data

    def get(self, cid: Cid) -> bytes | None:
        """One verified block from what was added or fetched; None when it isn't there."""
        for part in (self.added, self.fetched):
            path = block_path(part, cid)
            data = self._read(path, cid)
            if data is not None:
                with suppress(OSError):
                    os.utime(path)  # so that what is used stays
                return data
        return None

    def owns(self, cid: Cid) -> bool:
        """The block is here to stay, and whole."""
        return self._read(block_path(self.added, cid), cid) is not None

    def put(self, cid: Cid, block: bytes) -> Path:
        """Keeps a block that was made here. Where it lies, for `settle`."""
        path = block_path(self.added, cid)
        if self._read(path, cid) is None:
            self._write(path, block)
        else:
            with suppress(OSError):
                os.utime(path)  # young blocks aren't evicted, and the pin of this one is still to come
        return path

    def cache(self, cid: Cid, block: bytes) -> None:
        """Keeps a verified block that was fetched, as long as there is room. A full disk is no error."""
        path = block_path(self.fetched, cid)
        if not self._share or path.exists():
            return
        try:
            self._write(path, block)
        except TransientError as error:
            _log.warning("A fetched block isn't kept: %s", error)
            return
        folder = path.parent
        with self._counting:
            known = self._cached.get(folder)
            total = sum(size for _, size, _ in _files(folder)) if known is None else known + len(block)
            self._cached[folder] = total if total <= self._share else _evict(folder, self._share * 9 // 10)

    # --- pins

    def pin_path(self, root: Cid) -> Path:
        return self._pins / str(root)

    def pin(self, root: Cid) -> Path:
        """Marks a DAG as one to keep. May be repeated; what the user has added, too, is the user's."""
        path = self.pin_path(root)
        try:
            with suppress(FileExistsError):
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(handle, "w") as file:
                    file.write(self._owner)
                return path
            os.utime(path)
            if not self._owner:
                os.truncate(path, 0)
        except OSError as error:
            raise _disk_error(path, error) from error
        return path

    def pinned_by(self, root: Cid) -> str | None:
        """Whose a root is: WORKER, or "" for the user's; None: it isn't pinned."""
        try:
            return self.pin_path(root).read_text()
        except FileNotFoundError:
            return None

    def unpin(self, root: Cid) -> None:
        """Gives a root up; its blocks stay until they are swept. Fine when it wasn't pinned."""
        self.pin_path(root).unlink(missing_ok=True)

    def pinned(self, root: Cid) -> bool:
        return self.pin_path(root).exists()

    def pins(self) -> Iterator[Cid]:
        """All roots that were added here."""
        return _marked(self._pins)

    # --- uploads

    def queue_upload(self, root: Cid) -> Path:
        """Marks a DAG as one that is to be uploaded, also by a later process. May be repeated."""
        return _mark(self._uploads / str(root))

    def uploads(self) -> Iterator[Cid]:
        """All roots whose upload isn't over: whatever evicts must leave their blocks."""
        return _marked(self._uploads)

    def end_upload(self, root: Cid) -> None:
        """The upload is confirmed, or not wanted any more. May be repeated."""
        with suppress(OSError):
            (self._uploads / str(root)).unlink()

    def settle(self, paths: Iterable[Path]) -> None:
        """Returns once these files are on the disk; several at a time, so the disk can group them.

        Folders aren't waited for: ext4, xfs and btrfs put a file's last rename on the disk with its fsync.
        """
        files = list(dict.fromkeys(paths))
        try:
            with ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="blocks-sync") as pool:
                list(pool.map(_sync, files))
        except OSError as error:
            raise _disk_error(self.folder, error) from error

    # --- files

    def _read(self, path: Path, cid: Cid) -> bytes | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("The block file %s can't be read (%s); it counts as missing.", path, error.strerror)
            return None
        if Cid.of(data, cid.codec) == cid:
            return data
        _log.warning("The block file %s is damaged; it is removed and counts as missing.", path)
        with suppress(OSError):
            path.unlink()
        return None

    def _write(self, path: Path, block: bytes) -> None:
        if len(block) > MAX_BLOCK_BYTES:
            raise ContentInvalid(f"A block has {len(block)} bytes; IPFS allows {MAX_BLOCK_BYTES}.")
        temporary = self._tmp / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(block)
                while view:
                    view = view[os.write(handle, view) :]
            finally:
                os.close(handle)
            try:
                temporary.rename(path)
            except FileNotFoundError:
                path.parent.mkdir(mode=0o700, exist_ok=True)
                temporary.rename(path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise _disk_error(path, error) from error

    def _sweep(self) -> None:
        """Removes what a killed process left half written."""
        limit = time.time() - _STALE_S
        for entry in os.scandir(self._tmp):
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < limit:
                    Path(entry.path).unlink()


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Time of last use, size and path of each file."""
    for entry in os.scandir(folder):
        with suppress(OSError):
            found = entry.stat(follow_symlinks=False)
            yield found.st_mtime, found.st_size, Path(entry.path)


def files_below(part: Path) -> Iterator[tuple[float, int, Path]]:
    """As `_files`, of all folders of a part (`added` or `fetched`)."""
    for folder in part.iterdir():
        with suppress(FileNotFoundError, NotADirectoryError):
            yield from _files(folder)


def _evict(folder: Path, limit: int) -> int:
    """Removes the longest unused files until `limit` bytes are left; how many there are then."""
    entries = sorted(_files(folder))
    total = sum(size for _, size, _ in entries)
    for _, size, path in entries:
        if total <= limit:
            break
        with suppress(OSError):
            path.unlink()
        total -= size
    return total


def _mark(path: Path) -> Path:
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise _disk_error(path, error) from error
    return path


def _marked(folder: Path) -> Iterator[Cid]:
    for path in folder.iterdir():
        with suppress(ValueError):
            yield Cid.parse(path.name)


def block_path(root: Path, cid: Cid) -> Path:
    name = cid.digest.hex()
    return root / name[:2] / name


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_error(path: Path, error: OSError) -> TransientError:
    return TransientError(f"{path} can't be written: {error.strerror}; free some space or mend the disk.")
