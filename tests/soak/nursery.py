"""Forks workers out of a process that has everything loaded: a start costs milliseconds instead of a second.

One JSON request a line on stdin: {"environment", "log", "die_at", "before"}; answers a line each on stdout: {"pid"},
and when that worker has ended {"ended": its exit code, or minus the signal's number}. `die_at` N: the worker kills
itself with SIGKILL at its Nth write to the journal, before it or after it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Generator
from typing import Any

LOADED = (
    "hypernode_worker.app",
    "hypernode_worker.cli.worker",
    "hypernode_worker.cli.worker_lines",
    "hypernode_worker.client",
    "hypernode_worker.hardware.host",
    "hypernode_worker.ipfs",
    "hypernode_worker.journal",
    "hypernode_worker.node.manager",
    "hypernode_worker.providers.docker_provider",
    "hypernode_worker.providers.mock",
    "hypernode_worker.providers.process_provider",
    "hypernode_worker.solana.client",
    "httpx2",
    "websockets.asyncio.client",
)


def main() -> None:
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            _become_worker(request)
        _say({"pid": pid})
        _, status = os.waitpid(pid, 0)
        _say({"ended": os.waitstatus_to_exitcode(status)})


def _say(answer: dict[str, int]) -> None:
    print(json.dumps(answer), flush=True)


def _become_worker(request: dict[str, Any]) -> None:
    """Never returns: this process is the worker from here on."""
    os.setsid()
    log = os.open(request["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["environment"]["HOME"])
    if request["die_at"] is not None:
        _die_at(request["die_at"], before=request["before"])
    sys.argv = ["hypernode-worker", "start", "--json"]
    from hypernode_worker.cli.main import main as command

    code = 1
    try:
        command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def _die_at(write: int, *, before: bool) -> None:
    from hypernode_worker.journal import SqliteJournal

    real = SqliteJournal._transaction  # pyright: ignore[reportPrivateUsage]
    left = write

    @contextlib.contextmanager
    def counted(self: SqliteJournal) -> Generator[None]:
        nonlocal left
        left -= 1
        with real(self):
            yield
            if left == 0 and before:
                os.kill(os.getpid(), signal.SIGKILL)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    SqliteJournal._transaction = counted  # pyright: ignore[reportPrivateUsage]


if __name__ == "__main__":
    main()
