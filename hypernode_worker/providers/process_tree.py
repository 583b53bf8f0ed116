"""Processes below a process, read from /proc: what they use, and how they are ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

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
