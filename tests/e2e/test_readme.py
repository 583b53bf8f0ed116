"""A stranger follows the README, command by command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.chains import SharedValidator, free_ports
from tests.support.providers import IMAGE, import_busybox
from tests.support.readme import blocks
from tests.support.town import local_environment, make_passable

# Dozens of commands, each a process: a busy machine takes its time.
pytestmark = pytest.mark.timeout(300)
RPC = "http://127.0.0.1:8899"
SMALL = "busybox:stable"
"""What `test` runs in a container."""


class Stranger:
    """Types what the README says, with this machine's ports and images in place of the README's."""

    def __init__(self, folder: Path, runtime: str) -> None:
        make_passable(folder)
        self.folder = folder
        self.port = free_ports(40)
        self.environment = local_environment(folder, CONTAINER_RUNTIME=runtime, LOCAL_IMAGES=f"{IMAGE},{SMALL}")
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.replaced = {RPC: f"http://127.0.0.1:{self.port}"}

    def words(self, block: str) -> str:
        for old, new in self.replaced.items():
            block = block.replace(old, new)
        assert "<" not in block.replace("<<", ""), f"something is left to fill in: {block}"
        return f"set -eu\n{block}"

    def type(self, block: str, answers: str = "") -> str:
        """Runs a block; what it printed on stdout."""
        done = subprocess.run(
            ["bash", "-c", self.words(block)],
            input=answers,
            capture_output=True,
            text=True,
            timeout=90,
            cwd=self.folder,
            env=self.environment,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def terminal(self, block: str, until: str) -> Generator[None]:
        """Runs a block whose last command goes on, in a terminal of its own; Ctrl-C ends it."""
        log = self.folder / f"terminal-{len(list(self.folder.glob('terminal-*')))}"
        with log.open("wb") as said:
            process = subprocess.Popen(
                ["bash", "-c", self.words(block)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + 60
            while until not in log.read_text(errors="replace"):
                assert process.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < deadline, f"{until!r} never came: {log.read_text(errors='replace')}"
                time.sleep(0.1)
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def small_image() -> Iterator[None]:
    """The image that `test` runs, under its public name for as long as the test takes."""
    import_busybox()
    subprocess.run(["docker", "tag", IMAGE, SMALL], check=True)
    yield
    subprocess.run(["docker", "rmi", "--no-prune", SMALL], capture_output=True)


def follow(stranger: Stranger, chain: str, until: str) -> None:
    """From "in one terminal, a chain" to the result, and the library's example."""
    _, _, people, node, job = blocks("A market of your own, in five minutes", "bash")
    made, fill_in, later = people.partition("export MARKET_PUBKEY=<the address that it printed>\n")
    assert fill_in
    with stranger.terminal(chain, until):
        market = stranger.type(made).split()[-1]
        stranger.environment["MARKET_PUBKEY"] = market
        stranger.replaced["<the market>"] = market
        stranger.type(f"export SOLANA_RPC_URL={RPC}\n{later}")
        stranger.environment["SOLANA_RPC_URL"] = stranger.replaced[RPC]
        with stranger.terminal(node, "Watching for jobs"):
            said = stranger.type(job, answers="y\n")
            assert "settled" in said
            (result,) = stranger.folder.glob("hypernode-*")
            assert "Explain quantum computing" in (result / "logs" / "00.log").read_text()
            (snippet,) = blocks("Commands", "python")
            run_snippet(stranger, snippet, market)


def run_snippet(stranger: Stranger, snippet: str, market: str) -> None:
    """The README's Python, in a function whose names it uses."""
    program = (
        "import asyncio\nfrom pathlib import Path\nfrom solders.pubkey import Pubkey\n"
        f"market = Pubkey.from_string({market!r})\ndestination = Path('from-python').absolute()\n"
        f"async def main():\n{textwrap.indent(snippet, '    ')}\n    print(result.manifest.outcome.value)\n"
        "asyncio.run(main())\n"
    )
    (stranger.folder / "snippet.py").write_text(program)
    said = stranger.type("KEYPAIR_PATH=client.json python3 snippet.py")
    assert said.split()[-2:] == ["SETTLED", "completed"]
    assert (stranger.folder / "from-python" / "manifest.json").is_file()


def test_a_market_on_localnet_with_plain_processes(tmp_path: Path) -> None:
    stranger = Stranger(tmp_path, "process")
    stranger.replaced |= {
        '"image": "python:3.12-slim",': '"requirements": {"trust": "low"},',
        "python -c": "python3 -c",
        "hypernode-worker localnet": f"hypernode-worker localnet --port {stranger.port}",
    }
    localnet, *_ = blocks("A market of your own, in five minutes", "bash")
    follow(stranger, localnet, until="Ready")


@pytest.mark.validator
@pytest.mark.docker
@pytest.mark.usefixtures("small_image")
def test_a_market_on_the_real_validator_with_docker(tmp_path: Path, shared_validator: SharedValidator) -> None:
    shared_validator.stop()  # the README starts its own, and each wants a core
    stranger = Stranger(tmp_path, "docker")
    port = stranger.port
    ports = f"--rpc-port {port} --faucet-port {port + 2} --gossip-port {port + 3}"
    stranger.replaced |= {
        "python:3.12-slim": IMAGE,
        "python -c 'import json, os; print(json.load(open(\\\"input.json\\\")))'": "cat input.json",
        "--reset": f"--reset --ledger {tmp_path}/ledger {ports} --dynamic-port-range {port + 4}-{port + 39}",
    }
    _, validator, *_ = blocks("A market of your own, in five minutes", "bash")
    follow(stranger, validator, until="Finalized Slot")
