"""A real Kubo: repositories in a temporary folder, and a daemon that answers on loopback only."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class KuboRepo:
    """A repository that no daemon runs on: for CIDs."""

    folder: Path

    def run(self, *arguments: str, data: bytes | None = None) -> bytes:
        """Output of `ipfs ARGUMENTS`."""
        env = {**os.environ, "IPFS_PATH": str(self.folder)}
        done = subprocess.run(["ipfs", *arguments], env=env, input=data, capture_output=True, timeout=120)
        if done.returncode:
            raise AssertionError(f"ipfs {' '.join(arguments)}: {done.stderr.decode()}")
        return done.stdout

    def config(self, key: str, value: object) -> None:
        self.run("config", "--json", key, json.dumps(value))

    def cid_of(self, path: Path, *, chunk_bytes: int, max_links: int, shard_by_block: bool) -> str:
        """What `ipfs add` makes of a file or directory; nothing is kept."""
        self.config("Import.UnixFSHAMTDirectorySizeEstimation", "block" if shard_by_block else "links")
        flags = ["--cid-version=1", "--raw-leaves", f"--chunker=size-{chunk_bytes}", f"--max-file-links={max_links}"]
        return self.run("add", "-nrHQ", *flags, str(path)).decode().strip()


@dataclass(frozen=True, slots=True)
class Kubo:
    """A running daemon; `process` for tests that kill it."""

    repo: KuboRepo
    api: str
    gateway: str
    process: subprocess.Popen[str]


def make_repo(folder: Path) -> KuboRepo:
    """A fresh repository that knows no peers and calls nobody."""
    repo = KuboRepo(folder)
    repo.run("init", "--profile", "test,server,autoconf-off")
    loopback = "/ip4/127.0.0.1/tcp/0"
    repo.config("Addresses", {"API": loopback, "Gateway": loopback, "Swarm": []})
    return repo


@contextlib.contextmanager
def running_kubo(folder: Path) -> Generator[Kubo]:
    """A daemon without a network, on free ports, gone afterwards."""
    with kubo_daemon(make_repo(folder)) as kubo:
        yield kubo


@contextlib.contextmanager
def kubo_daemon(repo: KuboRepo) -> Generator[Kubo]:
    """A daemon over a repository that is there already."""
    env = {**os.environ, "IPFS_PATH": str(repo.folder)}
    with subprocess.Popen(
        ["ipfs", "daemon", "--offline"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        stuck = threading.Timer(START_TIMEOUT_S, process.kill)
        stuck.start()
        drain: threading.Thread | None = None
        try:
            seen: list[str] = []
            assert process.stdout is not None
            for line in process.stdout:
                seen.append(line)
                if "Daemon is ready" in line:
                    break
            else:
                raise AssertionError("Kubo didn't start:\n" + "".join(seen))
            stuck.cancel()
            drain = threading.Thread(target=process.stdout.read, daemon=True)
            drain.start()
            api, gateway = _port("RPC API server listening on ", seen), _port("Gateway server listening on ", seen)
            yield Kubo(repo, api, gateway, process)
        finally:
            stuck.cancel()
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            if drain is not None:
                drain.join(5)


def _port(prefix: str, lines: list[str]) -> str:
    line = next(line for line in lines if line.startswith(prefix))
    return f"http://127.0.0.1:{line.strip().rpartition('/')[2]}"
