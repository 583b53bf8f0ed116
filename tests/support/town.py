"""The users of one chain: each runs the real commands, every one a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.providers import IMAGE

COMMAND = [sys.executable, "-m", "hypernode_worker.cli.main"]


def make_passable(folder: Path) -> None:
    """Lets the unprivileged user that jobs run as pass through a temporary folder of pytest's."""
    for each in (folder, *list(folder.parents)[:3]):
        if each.owner() == Path.home().owner():
            each.chmod(each.stat().st_mode | 0o011)


def local_environment(home: Path, **settings: str) -> dict[str, str]:
    """Nothing of the caller's but where commands and the tested tree are; content on this machine only."""
    return {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "IPFS_GATEWAY": "none",
        "CONTAINER_RUNTIME": "process",
        "ALLOW_UNISOLATED": "true",
        "LOCAL_IMAGES": IMAGE,
        **settings,
    }


@dataclass
class Town:
    """Runs commands for the users of one chain.

    Attributes:
        environment: what everyone's commands see, and nothing else.
        settings: what a user's commands see beside it, by the user's name.
        lines: what a running command has said so far, by its process id.
    """

    folder: Path
    environment: dict[str, str]
    settings: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    lines: dict[int, list[str]] = field(default_factory=dict[int, list[str]])

    def environment_of(self, who: str) -> dict[str, str]:
        own = self.settings.get(who, {})
        return self.environment | {"KEYPAIR_PATH": str(self.folder / f"{who}.json")} | own

    def run(self, who: str, *arguments: str, code: int = 0, timeout_s: float = 90) -> str:
        done = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environment_of(who),
            cwd=self.folder,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, who: str, *arguments: str, code: int = 0) -> Any:
        return json.JSONDecoder().raw_decode(self.run(who, *arguments, "--json", code=code))[0]

    @contextmanager
    def running(self, who: str, *arguments: str, until: str) -> Generator[subprocess.Popen[str]]:
        """A command that runs until the block ends; by then it must have ended or be told to."""
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment_of(who),
            cwd=self.folder,
        )
        self.lines[process.pid] = []
        try:
            self.wait_for(process, until)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def wait_for(self, process: subprocess.Popen[str], text: str) -> str:
        """Reads the command's output up to a line that holds the text; the line."""
        assert process.stdout is not None
        for line in process.stdout:
            self.lines[process.pid].append(line)
            if re.search(text, line):
                return line
        raise AssertionError(f"{text!r} never came:\n{''.join(self.lines[process.pid])}")

    def new_wallet(self, who: str, sol: int = 0) -> str:
        """A key file for a user, filled from the faucet; its address."""
        address = str(self.json(who, "key", "new")["address"])
        if sol:
            assert self.json(who, "key", "airdrop", str(sol))["lamports"] == sol * 10**9
        return address

    def definition(self, *parts: Mapping[str, object]) -> str:
        path = self.folder / "job.json"
        path.write_text(json.dumps({name: value for part in parts for name, value in part.items()}))
        return str(path)

    def post(self, *parts: Mapping[str, object], options: Sequence[str] = ()) -> str:
        return str(self.json("client", "job", "post", self.definition(*parts), "--yes", *options)["job"])


@contextmanager
def open_town(folder: Path) -> Generator[Town]:
    """A chain of its own with a market and two wallets, client and node, of 2 SOL each; all ends with the block."""
    make_passable(folder)
    town = Town(folder, local_environment(folder))
    with town.running("nobody", "localnet", "--port", "0", until="PubSub") as chain:
        (rpc,) = (line.split()[1] for line in town.lines[chain.pid] if line.startswith("JSON-RPC"))
        (ws,) = (line.split()[1] for line in town.lines[chain.pid] if line.startswith("PubSub"))
        town.environment.update(SOLANA_RPC_URL=rpc, SOLANA_WS_URL=ws)
        for who in ("client", "node"):
            town.new_wallet(who, 2)
        town.environment["MARKET_PUBKEY"] = town.json("client", "market", "create", "--min-price", "1000")["market"]
        yield town
