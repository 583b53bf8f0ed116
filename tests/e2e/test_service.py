"""A worker as systemd starts it: it says when it is ready and when it ends, and its jobs can't speak in its name."""

from __future__ import annotations

import select
import signal
import socket
import time
from pathlib import Path

from tests.support.town import open_town

JOB = {
    "framework": "custom",
    "operations": [{"command": "sleep 3; env > $OUTPUT_DIR/env"}],
    "timeout": 60,
    "requirements": {"trust": "low"},
}


class Listener:
    """The service manager's socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def until(self, line: str, timeout_s: float = 30) -> list[str]:
        """The lines of the first message that has this one."""
        give_up_at = time.monotonic() + timeout_s
        while select.select([self._socket], [], [], max(0.0, give_up_at - time.monotonic()))[0]:
            lines = self._socket.recv(65536).decode().split("\n")
            if line in lines:
                return lines
        raise AssertionError(f"{line} never came")

    def close(self) -> None:
        self._socket.close()


def test_a_worker_under_a_service_manager(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "notify")
    with open_town(tmp_path) as town:
        town.settings["node"] = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        with town.running("node", "start", until="Watching for jobs") as worker:
            assert "STATUS=Watching for jobs." in listener.until("READY=1")
            listener.until("WATCHDOG=1", timeout_s=5)
            job = town.post(JOB)
            town.wait_for(worker, "operation 0 started")
            worker.send_signal(signal.SIGTERM)
            assert "EXTEND_TIMEOUT_USEC=60000000" in listener.until("STOPPING=1")
            assert "WATCHDOG=1" in listener.until("STATUS=draining, 1 of 1 jobs", timeout_s=5)
            town.wait_for(worker, "settled and paid")
            assert worker.wait(timeout=30) == 0
        town.run("client", "job", "result", job, "result")
        seen = (tmp_path / "result" / "output" / "env").read_text()
        assert "OUTPUT_DIR=" in seen
        assert "NOTIFY_SOCKET" not in seen
        assert "WATCHDOG" not in seen
        with town.running("node", "start", until="Watching for jobs") as worker:
            town.run("node", "stop", "--deregister")
            assert worker.wait(timeout=30) == 0
        assert town.json("node", "node", "list") == []
    listener.close()
