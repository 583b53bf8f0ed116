"""The small program that stands between a worker and one process run, so that the run outlives the worker.

It starts the command (in a sandbox where there is one), writes its output to the bounded log, looks at workspace and
memory, ends it when a bound is met, and leaves `exit.json`. When it dies, the run dies with it.

Signals to it: SIGTERM asks the command to end, SIGUSR1 kills it; both make the reason "stopped".
Started as `python -I -S -c "..." FOLDER READY_FD`; the folder holds `run.json`. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypernode_worker.providers.bounded_log import BoundedLog
from hypernode_worker.providers.process_sandbox import JOB_ID, Inside, sandbox_command
from hypernode_worker.providers.process_tree import count_of_user, deleted_bytes, descendants, kill_all, private_memory
from hypernode_worker.providers.workspace import measure_workspace

LOOK_S = 0.05
"""Seconds between two looks at the memory; the workspace is looked at every fifth time, less often when it is large."""

_LOOKS_PER_WALK = 5
_CHUNK = 64 * 1024
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_HARD_MEMORY = 2 * 1024**3
_OPEN_FILES = 16_384


class Supervisor:
    """One run from start to end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run: dict[str, Any] = json.loads((folder / "run.json").read_text())
        self._reason: str | None = None
        self._peak = 0
        self._looks = 0
        self._next_walk = 0.0
        self._sandboxed = self._run["mode"] != "none"
        self._inner = 0  # the sandbox's first process, once bubblewrap has told

    def main(self, ready_fd: int) -> None:
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans become ours, and can be ended
        wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, self._signalled)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        with BoundedLog(Path(self._run["log_path"]), limit=self._run["log_bytes"]) as log:
            started_at = time.time()
            output, self._process = self._start(prctl)
            self._write("supervisor.json", {"pid": os.getpid(), "started_at": started_at})
            with suppress(BrokenPipeError):  # a worker that was killed meanwhile finds this run by its folder
                os.write(ready_fd, b"1")
            os.close(ready_fd)
            self._follow(log, output, wake)
        code = self._end()
        self._finish(code, started_at)

    # --- starting ------------------------------------------------------------------------------------------

    def _start(self, prctl: Any) -> tuple[int, subprocess.Popen[bytes]]:
        output, outlet = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        options, info, writing, kept = b"", -1, -1, ()
        if self._sandboxed:
            reading, writing = os.pipe2(os.O_CLOEXEC)
            info, telling = os.pipe2(os.O_CLOEXEC)
            command, options = sandbox_command(self._run["mode"], self._inside(), arguments_fd=reading, info_fd=telling)
            kept, cwd, env = (reading, telling), "/", {"PATH": os.defpath}
        else:
            command, cwd, env = self._run["command"], self._run["host_workdir"], self._run["env"]
        limits = self._limits()

        def prepare() -> None:
            os.setpriority(os.PRIO_PROCESS, 0, 5)
            for what, value in limits:
                resource.setrlimit(what, (value, value))
            with suppress(OSError):
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: max(1, round(self._run["cpus"]))])
            if not self._sandboxed:
                prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if self._run["drop"]:
                os.setgroups([])
                os.setresgid(JOB_ID, JOB_ID, JOB_ID)
                os.setresuid(JOB_ID, JOB_ID, JOB_ID)

        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=outlet,
                stderr=outlet,
                env=env,
                cwd=cwd,
                pass_fds=kept,
                start_new_session=True,
                umask=0o022,
                preexec_fn=prepare,  # there is one thread
            )
        except FileNotFoundError as error:
            process = self._missing(str(error), outlet, 127)
        except OSError as error:
            process = self._missing(str(error), outlet, 126)
        os.close(outlet)
        for fd in kept:
            os.close(fd)
        if self._sandboxed:
            _write_all(writing, options)
            self._inner = _child_pid(info)
        return output, process

    def _inside(self) -> Inside:
        run = self._run
        return Inside(run["command"], run["env"], run["workdir"], run["workspace"], run["network"], run["memory_bytes"])

    def _limits(self) -> list[tuple[int, int]]:
        """Bounds of one process each, but for NPROC, which counts the user's processes on the whole machine."""
        run = self._run
        uid = JOB_ID if run["drop"] or run["mode"] == "root" else os.getuid()
        return [
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, run["workspace_bytes"]),
            (resource.RLIMIT_DATA, run["memory_bytes"] + _HARD_MEMORY),
            (resource.RLIMIT_NPROC, count_of_user(uid) + run["pids"]),
            (resource.RLIMIT_NOFILE, min(_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])),
        ]

    def _missing(self, words: str, outlet: int, code: int) -> subprocess.Popen[bytes]:
        """What a shell does with a command that isn't there: says so and exits with 127 (126: not executable)."""
        script = 'echo "$1"; exit "$2"'
        return subprocess.Popen(["/bin/sh", "-c", script, "sh", words, str(code)], stdout=outlet, stderr=outlet)

    # --- following -----------------------------------------------------------------------------------------

    def _follow(self, log: BoundedLog, output: int, wake: int) -> None:
        """Until the command has ended and its output is read."""
        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            selector.register(output, selectors.EVENT_READ)
            reading = True
            next_look = time.monotonic()
            while self._process.poll() is None:
                for key, _ in selector.select(max(0.0, next_look - time.monotonic())):
                    if key.fd == wake:
                        with suppress(BlockingIOError):
                            os.read(wake, _CHUNK)
                    elif not self._copy(log, output):
                        selector.unregister(output)
                        reading = False
                if time.monotonic() >= next_look:
                    self._look()
                    next_look = time.monotonic() + LOOK_S
        self._inner = 0
        kill_all(os.getpid())  # what it left behind
        while reading and self._copy(log, output):
            pass
        os.close(output)

    def _copy(self, log: BoundedLog, output: int) -> bool:
        """Moves one chunk. False: the output has ended, or is empty for now after the command's end."""
        try:
            chunk = os.read(output, _CHUNK)
        except BlockingIOError:
            return self._process.returncode is None
        if chunk and not log.write(chunk):
            self._kill("log_limit")
        return bool(chunk)

    def _look(self) -> None:
        memory = private_memory(descendants(os.getpid()))
        self._peak = max(self._peak, memory)
        if memory > self._run["memory_bytes"]:
            self._kill("out_of_memory")
        self._looks += 1
        now = time.monotonic()
        if self._looks % _LOOKS_PER_WALK == 0 and now >= self._next_walk:
            if self._full():
                self._kill("workspace_full")
            self._next_walk = now + 10 * (time.monotonic() - now)

    def _full(self) -> bool:
        run = self._run
        use = measure_workspace(
            Path(run["workspace"]), max_bytes=run["workspace_bytes"], max_files=run["workspace_files"]
        )
        hidden = 0 if use.over else deleted_bytes(descendants(os.getpid()), Path(run["workspace"]))
        return use.over is not None or use.bytes + hidden >= run["workspace_bytes"]

    # --- ending --------------------------------------------------------------------------------------------

    def _signalled(self, number: int, _frame: object) -> None:
        if number == signal.SIGUSR1:
            self._kill("stopped")
        elif number == signal.SIGTERM and self._process.returncode is None:
            self._reason = self._reason or "stopped"
            with suppress(OSError):
                os.kill(self._main_pid(), signal.SIGTERM)

    def _main_pid(self) -> int:
        """The command's own process: in a sandbox, the child of its first process."""
        if not self._sandboxed:
            return self._process.pid
        below = descendants(self._inner) if self._inner else []
        return below[0] if below else self._process.pid

    def _kill(self, reason: str | None = None) -> None:
        self._reason = self._reason or reason
        if self._inner:
            with suppress(OSError):
                os.kill(self._inner, signal.SIGKILL)  # a namespace ends with its first process
        if reason is not None:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _end(self) -> int:
        code = self._process.returncode
        return 128 - code if code < 0 else code

    def _finish(self, code: int, started_at: float) -> None:
        if self._reason in (None, "stopped") and self._full():
            self._reason = "workspace_full"
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._write(
            "exit.json",
            {
                "exit_code": 137 if self._reason not in (None, "stopped") else code,
                "reason": self._reason or "exited",
                "started_at": started_at,
                "ended_at": max(started_at, time.time()),
                "cpu_seconds": used.ru_utime + used.ru_stime,
                "max_memory_bytes": max(self._peak, used.ru_maxrss * 1024),
            },
        )

    def _write(self, name: str, content: dict[str, object]) -> None:
        """Appears whole or not at all."""
        draft = self._folder / f".{name}"
        draft.write_text(json.dumps(content))
        draft.replace(self._folder / name)


def _write_all(fd: int, data: bytes) -> None:
    with os.fdopen(fd, "wb") as file, suppress(BrokenPipeError):
        file.write(data)


def _child_pid(info: int) -> int:
    """What bubblewrap tells about its first process; 0 when it failed before."""
    with os.fdopen(info, "rb") as file:
        text = file.read(4096)
    try:
        return int(json.loads(text)["child-pid"])
    except (ValueError, KeyError):
        return 0


def main() -> None:
    Supervisor(Path(sys.argv[1])).main(int(sys.argv[2]))
