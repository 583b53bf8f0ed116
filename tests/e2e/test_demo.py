"""The demo as a stranger runs it: one command, in an empty folder, with nothing configured."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import psutil
import pytest

COMMAND = [sys.executable, "-m", "hypernode_worker.cli.main"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An empty home, a scratch folder of its own, and settings of the user that must not matter."""
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    # The scratch folder must be passable for the unprivileged user that jobs run as.
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if folder.owner() == Path.home().owner():
            folder.chmod(folder.stat().st_mode | 0o011)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "LC_ALL": "C.UTF-8",
        "MARKET_PUBKEY": "not a market",
        "SOLANA_RPC_URL": "http://127.0.0.1:9",
    }


def left_behind(tmp_path: Path) -> list[str]:
    """Files in the scratch folder and processes that work in it."""
    files = [str(path) for path in (tmp_path / "tmp").iterdir()]
    processes = [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
        if any(str(tmp_path) in part for part in process.info["cmdline"] or ())
    ]
    return files + processes


def png_size(data: bytes) -> tuple[int, int, int]:
    """Width, height and bytes of pixels of a PNG, each chunk's checksum verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, body, size = 8, b"", (0, 0)
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        chunk = data[position + 4 : position + 8 + length]
        assert zlib.crc32(chunk) == struct.unpack(">I", data[position + 8 + length : position + 12 + length])[0]
        if kind == b"IHDR":
            size = struct.unpack(">II", chunk[4:12])
        if kind == b"IDAT":
            body += chunk[4:]
        position += 12 + length
    return (*size, len(zlib.decompress(body)))


def test_the_demo_pays_and_adds_up(tmp_path: Path, environment: dict[str, str]) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [*COMMAND, "demo", "--json", "--runtime", "process"],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=tmp_path / "work",
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout)
    assert set(story) == {
        *("job", "market", "client", "node", "state", "definition_cid", "result_cid", "mint", "deposit", "paid", "fee"),
        *("refunded", "signatures", "artifacts", "provider", "elapsed_s"),
    }
    assert story["state"] == "settled"
    assert story["provider"] == "process"
    assert story["deposit"] == story["paid"] + story["fee"] + story["refunded"]
    assert 0 < story["paid"] < story["deposit"]
    assert story["fee"] == (story["paid"] + story["fee"]) // 100
    assert set(story["signatures"]) == {"create_job", "work_job", "finish_job"}
    assert len(set(story["signatures"].values())) == 3
    artifacts = {Path(each["path"]).name: each for each in story["artifacts"]}
    assert set(artifacts) == {"picture.png", "picture.json"}
    for each in artifacts.values():
        data = Path(each["path"]).read_bytes()
        assert len(data) == each["bytes"]
        assert hashlib.sha256(data).hexdigest() == each["sha256"]
    picture = Path(artifacts["picture.png"]["path"])
    assert picture.is_relative_to(tmp_path / "work" / "hypernode-demo")
    width, height, pixels = png_size(picture.read_bytes())
    assert pixels == height * (1 + 3 * width)
    assert story["elapsed_s"] < time.monotonic() - began
    assert "Worker started successfully!" in done.stderr
    assert left_behind(tmp_path) == []
    assert list((tmp_path / "home").rglob("*")) == [], "nothing is written to the user's own folders"


def test_the_demo_in_words_shows_the_whole_story(tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, "demo", "--runtime", "process", "--out", "here"],
        capture_output=True,
        timeout=90,
        cwd=tmp_path / "work",
        env={**environment, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("ascii")
    for expected in (
        "HYPERNODE GPU WORKER CLIENT",
        "Stake not required by this market",
        "Watching for jobs...",
        "100 %",
        "settled and paid",
        "deposit = paid + fee + refunded: yes",
        "market owner",
        "picture.png",
    ):
        assert expected in text, expected
    assert (tmp_path / "work" / "here").is_dir()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    running = subprocess.Popen(
        [*COMMAND, "demo", "--json", "--runtime", "process"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path / "work",
        env=environment,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "operation 0 started" in line:
            break
    running.send_signal(number)
    written, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert written == ""
    assert left_behind(tmp_path) == []
