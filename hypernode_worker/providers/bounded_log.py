"""The log file that a run keeps: what a container wrote, up to a bound."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType


class BoundedLog:
    """Appends raw bytes to a file up to a limit; lines mean nothing to it, so an endless line is no special case.

    The light imports of this module are on purpose: the supervisor of a process run loads it too.
    """

    def __init__(self, path: Path, *, limit: int, offset: int | None = None) -> None:
        """Opens the file for appending.

        Args:
            path: is created (0600) when it is missing; a symbolic link there is refused.
            limit: bytes that may be added.
            offset: cut the file to this length first: where an earlier attempt to write this log began.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        if offset is not None and os.fstat(self._fd).st_size > offset:
            os.ftruncate(self._fd, offset)
        self._left = limit

    def write(self, chunk: bytes) -> bool:
        """Adds what fits. False: there was more than fits, and the run must end."""
        view = memoryview(chunk)[: self._left]
        fits = len(view) == len(chunk)
        self._left -= len(view)
        while view:
            view = view[os.write(self._fd, view) :]
        return fits

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> BoundedLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def log_offset(path: Path) -> int:
    """Bytes that are in the log already: where the next container's output will begin."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
