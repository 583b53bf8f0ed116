"""Processes below a process, read from /proc: what they use, and how they are ended."""

from __future__ import annotations

import os
import signal
import stat
import time
from contextlib import suppress
from pathlib import Path

MOST_OPEN_FILES = 50_000
"""Open files looked at in one go."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants(root: int) -> list[int]:
    """Process ids below `root`, without it, as far as they can be seen."""
    found: list[int] = []
    pending = [root]
    while pending:
        pid = pending.pop()
        for child in _children(pid):
            found.append(child)
            pending.append(child)
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return children
    for thread in threads:
        with suppress(OSError):
            children += map(int, (thread / "children").read_text().split())
    return children


def private_memory(pids: list[int]) -> int:
    """Bytes of resident memory that these processes don't share with files."""
    total = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            total += (int(fields[1]) - int(fields[2])) * _PAGE
    return total


def deleted_bytes(pids: list[int], workspace: Path) -> int:
    """Bytes on the workspace's disk in files that these processes hold open but have deleted: no walk finds them.

    What may not be looked at (another user's process) counts as nothing.
    """
    try:
        device = workspace.stat().st_dev
    except OSError:
        return 0
    found: dict[int, int] = {}
    looked = 0
    for pid in pids:
        with suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                looked += 1
                if looked > MOST_OPEN_FILES:
                    return sum(found.values())
                with suppress(OSError):
                    info = entry.stat()
                    if info.st_nlink == 0 and info.st_dev == device and stat.S_ISREG(info.st_mode):
                        found[info.st_ino] = info.st_blocks * 512
    return sum(found.values())


def sees_workspace(pid: int, workspace: Path) -> bool:
    """The process is one of this machine that has this folder at /workspace: its id may be trusted."""
    try:
        return Path(f"/proc/{pid}/root/workspace").samefile(workspace)
    except OSError:
        return False


def count_of_user(uid: int) -> int:
    """Threads and processes that count against a user's limit now (processes only: a lower bound)."""
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                count += entry.stat().st_uid == uid
    return count


def kill_all(root: int, *, within_s: float = 5.0) -> None:
    """SIGKILL for everything below `root`, again and again until nothing is left: a fork may outrun one pass."""
    deadline = time.monotonic() + within_s
    while (pids := descendants(root)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)
