"""The folder by which process runs are found again: one folder a run, with the supervisor's lock, pid and last words.

A supervisor holds a lock on its folder's `lock` as long as it lives, so that a process id is never trusted alone.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hypernode_worker.core.ports import Container, Exit, ExitReason
from hypernode_worker.errors import PermanentError, ProviderDown

START_S = 20.0
"""Seconds for a supervisor to start its command."""

_KEY = re.compile(r"hypernode-[0-9a-f]{32}")
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_SUPERVISE = (
    "import sys; root = sys.argv.pop(1); sys.path.insert(0, root); "
    "from hypernode_worker.providers.process_supervisor import main; main()"
)


class ProcessRun:
    """One run, as its folder shows it."""

    def __init__(self, folder: Path, described: dict[str, Any]) -> None:
        self.folder = folder
        self._described = described

    def handle(self) -> Container:
        described = self._described
        return Container(
            id=self.folder.name,
            job=described["job"],
            node=described["node"],
            run=described["run"],
            operation=described["operation"],
            running=self.running,
        )

    @property
    def running(self) -> bool:
        return not (self.folder / "exit.json").exists() and _locked(self.folder)

    def signal(self, number: signal.Signals) -> None:
        """To the supervisor; nothing when it has ended."""
        pid = self._supervisor()
        if pid >= 0:
            try:
                signal.pidfd_send_signal(pid, number)
            except ProcessLookupError:
                pass
            finally:
                os.close(pid)

    async def ended(self) -> None:
        """Returns when the supervisor has ended; may be cancelled."""
        pid = self._supervisor()
        if pid < 0:
            return
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        loop.add_reader(pid, lambda: over.done() or over.set_result(None))
        try:
            await over
        finally:
            loop.remove_reader(pid)
            os.close(pid)

    def exit(self) -> Exit:
        """How it ended.

        Raises:
            PermanentError: its supervisor was killed (by the operator, by a reboot), and the run with it.
        """
        try:
            said: dict[str, Any] = json.loads((self.folder / "exit.json").read_text())
        except FileNotFoundError:
            raise PermanentError(f"the supervisor of run {self.folder.name} was killed, and the run with it") from None
        return Exit(
            exit_code=said["exit_code"],
            reason=ExitReason(said["reason"]),
            started_at=said["started_at"],
            ended_at=said["ended_at"],
            cpu_seconds=said["cpu_seconds"],
            max_memory_bytes=said["max_memory_bytes"],
        )

    def _supervisor(self) -> int:
        """A descriptor of the supervisor's process; -1 when it has ended."""
        try:
            seen = json.loads((self.folder / "supervisor.json").read_text())
            process = os.pidfd_open(int(seen["pid"]))
        except (OSError, ValueError):
            return -1
        if _locked(self.folder):  # so it is still the same process
            return process
        os.close(process)
        return -1


class ProcessRuns:
    """All runs of one state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def folder(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._folder

    def find(self, key: str) -> ProcessRun | None:
        """A run that was started; None: there is none, or it never came to be."""
        if not _KEY.fullmatch(key):
            return None
        folder = self._folder / key
        try:
            described: dict[str, Any] = json.loads((folder / "run.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        child = self._children.get(key)
        if child is not None:
            child.poll()  # reaps it
        if not (folder / "supervisor.json").exists():
            return None
        return ProcessRun(folder, described)

    def all(self) -> list[ProcessRun]:
        if not self._folder.is_dir():
            return []
        found = [self.find(entry.name) for entry in os.scandir(self._folder) if entry.is_dir(follow_symlinks=False)]
        return [run for run in found if run is not None]

    def start(self, key: str, described: dict[str, Any]) -> ProcessRun:
        """Starts the supervisor, and returns once it has started the command.

        Raises:
            ProviderDown: it could not.
        """
        folder = self.folder() / key
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        ready, telling = os.pipe2(os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft = folder / ".run.json"
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(described))
            draft.replace(folder / "run.json")
            self._children[key] = _supervise(folder, lock, telling)
            os.close(telling)
            telling = -1
            started = _one_byte(ready)
        except BlockingIOError:
            started = _appears(folder / "supervisor.json")  # an earlier life of this worker was just starting it
        finally:
            for fd in (lock, ready, telling):
                if fd >= 0:
                    os.close(fd)
        run = self.find(key)
        if not started or run is None:
            said = (folder / "supervisor.err").read_text(errors="replace").strip().splitlines()
            shutil.rmtree(folder, ignore_errors=True)
            raise ProviderDown(f"the supervisor of a run could not start ({' '.join(said[-1:])[:200]}): try it again")
        return run

    def forget(self, run: ProcessRun) -> None:
        """Deletes what is kept of a run that has ended."""
        child = self._children.pop(run.folder.name, None)
        if child is not None:
            child.wait()
        shutil.rmtree(run.folder, ignore_errors=True)


def _supervise(folder: Path, lock: int, telling: int) -> subprocess.Popen[bytes]:
    with (folder / "supervisor.err").open("wb") as words:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SUPERVISE, str(_PACKAGE_ROOT), str(folder), str(telling)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            cwd=folder,
            env={"PATH": os.defpath},
            pass_fds=(lock, telling),
            start_new_session=True,
        )


def _one_byte(ready: int) -> bool:
    """The supervisor said that the command runs; False: it ended, or took too long."""
    seen, _, _ = select.select([ready], [], [], START_S)
    return bool(seen) and os.read(ready, 1) == b"1"


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + START_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.exists()


def _locked(folder: Path) -> bool:
    """The supervisor lives."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
