"""A local chain, a worker and a client, each a process of its own: the commands as people use them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.town import COMMAND, Town, open_town

QUICK = {"framework": "custom", "operations": [{"command": "cat hello > $OUTPUT_DIR/copy"}], "timeout": 60}
LONG = {"framework": "custom", "operations": [{"command": "sleep 120"}], "timeout": 300}
LOW = {"requirements": {"trust": "low"}}


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with open_town(tmp_path) as town:
        yield town


def test_a_job_from_post_to_close(town: Town) -> None:
    (town.folder / "src").mkdir()
    (town.folder / "src" / "hello").write_text("hello\n")
    before = town.json("client", "key", "balance")["lamports"]
    with town.running("node", "start", until="Watching for jobs") as worker:
        status = town.json("node", "status")
        assert status["state"] == "running"
        assert status["pid"] == worker.pid
        options = ["--files", "src", "--wait", "--out", "result"]
        done = town.json("client", "job", "post", town.definition(QUICK, LOW), "--yes", *options)
        assert (done["state"], done["outcome"], done["exit_status"]) == ("settled", "completed", 0)
        assert done["deposit"] == 60_000 == done["paid"] + done["fee"] + done["refunded"]
        assert (town.folder / "result" / "output" / "copy").read_text() == "hello\n"
        assert town.json("client", "job", "list")[0]["job"] == done["job"]
        assert town.json("node", "node", "show")["completed"] == 1
        assert "verified" in town.run("client", "job", "result", done["job"], "again").lower()
        assert "exists already" in town.run("client", "job", "result", done["job"], "again", code=2)
        town.run("client", "job", "close", done["job"])
        assert "There is no job" in town.run("client", "job", "get", done["job"], code=1)
        town.run("node", "stop")
        assert worker.wait(timeout=30) == 0
    assert "No worker is running" in town.run("node", "status", code=2)
    fees = before - town.json("client", "key", "balance")["lamports"] - done["paid"]
    assert 0 < fees < 50_000, "beside the pay, only network fees are gone: rent came back"
    town.run("node", "node", "deregister")


def test_the_first_signal_drains_and_the_second_gives_back(town: Town) -> None:
    with town.running("node", "start", until="Watching for jobs") as worker:
        job = town.post(LONG, LOW)
        town.wait_for(worker, "operation 0 started")
        again = town.run("node", "start", code=2)
        assert re.search(r"error: .*worker.*run", again), "a second worker with the same key is refused"
        worker.send_signal(signal.SIGINT)
        assert "Press Ctrl-C again" in town.wait_for(worker, "Draining")
        assert town.json("node", "status")["state"] == "draining"
        worker.send_signal(signal.SIGINT)
        town.wait_for(worker, "given back: node shutdown")
        assert worker.wait(timeout=30) == 0
    seen = town.json("client", "job", "get", job)
    assert (seen["state"], seen["reason"], seen["attempts"]) == ("queued", "node_shutdown", 1)
    town.run("client", "job", "cancel", job)
    ended = town.json("client", "job", "get", job)
    assert (ended["state"], ended["refunded"]) == ("cancelled", ended["deposit"])


def test_a_stopped_job_is_billed_for_what_it_ran(town: Town) -> None:
    with town.running("node", "start", until="Watching for jobs") as worker:
        job = town.post(LONG, LOW)
        town.wait_for(worker, "operation 0 started")
        town.run("client", "job", "stop", job)
        town.wait_for(worker, "settled and paid")
        done = town.json("client", "job", "get", job, "--wait")
    assert (done["state"], done["exit_status"]) == ("settled", 143)
    assert done["paid"] + done["fee"] < 60_000


def test_jobs_are_taken_by_hand(town: Town) -> None:
    with town.running("node", "start", "--set", "AUTO_ACCEPT=false", until="take them") as worker:
        job = town.post({**QUICK, "operations": [{"command": "true"}]}, LOW)
        town.wait_for(worker, "fits: custom")
        assert [each["job"] for each in town.json("node", "job", "take")["candidates"]] == [job]
        assert job in town.run("node", "job", "take")
        town.run("node", "job", "take", job)
        town.wait_for(worker, "settled and paid")


def test_a_failed_job_is_a_failed_command(town: Town) -> None:
    broken = {**QUICK, "operations": [{"command": "echo no >&2; exit 7"}]}
    with town.running("node", "start", until="Watching for jobs"):
        done = town.json("client", "job", "post", town.definition(broken, LOW), "--yes", "--wait", code=1)
    assert (done["state"], done["exit_status"], done["outcome"]) == ("settled", 7, "failed")


def test_events_come_as_json_lines(town: Town) -> None:
    with town.running("node", "start", "--json", until='"WorkerStarted"') as worker:
        names = [json.loads(line)["event"] for line in town.lines[worker.pid]]
    assert names[:4] == ["SpecsDetected", "WalletConnected", "StakeVerified", "NodeRegistered"]


def test_posting_without_consent_posts_nothing(town: Town) -> None:
    done = subprocess.run(
        [*COMMAND, "job", "post", town.definition(QUICK, LOW)],
        input="n\n",
        capture_output=True,
        text=True,
        timeout=60,
        env=town.environment | {"KEYPAIR_PATH": str(town.folder / "client.json")},
    )
    assert done.returncode == 1
    assert "60,000 lamports (0.00006 SOL)" in done.stderr
    assert "comes back with 'job close'" in done.stderr
    assert "Nothing was posted." in done.stderr
    assert town.json("client", "job", "list") == []


def test_what_is_wrong_with_a_wallet_or_market_is_said(town: Town) -> None:
    town.run("poor", "key", "new")
    assert "too few for fees" in town.run("poor", "start", code=2)
    assert "holds 0.0 SOL" in town.run("poor", "job", "post", town.definition(QUICK, LOW), "--yes", code=1)
    pinned = town.json("client", "market", "create", "--min-price", "1000", "--pinned")["market"]
    assert "must be pinned" in town.run("client", "market", "show", pinned)
    town.settings["node"] = {"MARKET_PUBKEY": pinned}
    assert "demands that results are pinned" in town.run("node", "test", "--only", "market", code=3)
    town.settings["node"]["IPFS_API_URL"] = "http://127.0.0.1:9"
    assert "pays at least" in town.run("node", "test", "--only", "market")
    missing = town.run("client", "market", "show", "4nqaDKBDPRot9vgFN1PymNt6vMvzuPLYn8Vmi7SCHQcR", code=1)
    assert "There is no market" in missing
    assert "is the program of this package; nobody can change it" in town.run("client", "test", "--only", "program")
    town.environment["PROGRAM_ID"] = "4nqaDKBDPRot9vgFN1PymNt6vMvzuPLYn8Vmi7SCHQcR"
    assert "isn't deployed" in town.run("client", "test", "--only", "program", code=3)
