"""What strangers and accidents do to worker and client, by the real commands: a sentence each, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from hypernode_worker.localnet import Bank
from hypernode_worker.solana.artifact import program_elf
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID
from tests.support.providers import IMAGE, import_busybox
from tests.support.solana_endpoint import START, Endpoint
from tests.support.town import COMMAND, Town, local_environment, open_town

DATA = Path(".local/share/hypernode-worker")
NAMELESS = "CiDwVBFgWV9E5MvXWoLgnEgn2hK7rJikbvfWavzAQz3"


@dataclass(frozen=True)
class Bad:
    """A job whose client made a mistake, or means harm: its commands, and how it must end."""

    name: str
    commands: Sequence[Any]
    outcome: str
    exit_status: int
    says: str = ""
    more: tuple[tuple[str, Any], ...] = ()


TOWER = "p=$(printf 'd/%.0s' $(seq 1 900)); for i in 1 2 3; do mkdir -p $p; cd $p; done; sleep 30"
LONG_NAMES = (
    "n=$(printf 'n%.0s' $(seq 1 250)); cd $OUTPUT_DIR; for i in $(seq 1 20); do mkdir $n; cd $n; done; echo > f"
)
SWAPPED = "rm -rf /workspace/output; ln -s /etc /workspace/output"
PLANTED = "cd $OUTPUT_DIR; ln -s /etc/shadow a; ln -s ../../../../../../node.json k; mkfifo f; echo fine > good"
ESCAPES = (
    "printf '\\033[2J\\033]0;pwned\\007\\n\\377'; cd $OUTPUT_DIR; "
    "echo > \"$(printf 'e\\033[31m\\nVerified')\"; echo > \"$(printf '\\377')\""
)

JOBS = (
    Bad("exit", ["exit 9"], "failed", 9, "exit code 9"),
    Bad("missing", ["/no/such/command"], "failed", 127, "wasn't found"),
    Bad("linked output", [SWAPPED], "completed", 0, "Left out"),
    Bad("linked files", [PLANTED], "completed", 0, "Left out of $OUTPUT_DIR were 3"),
    Bad("linked workdir", ["rmdir x; ln -s /etc x", {"command": "true", "workdir": "/workspace/x"}],
        "command_missing", 127, "no folder"),
    Bad("endless paths", [LONG_NAMES], "completed", 0, "too long paths"),
    Bad("tower", [TOWER], "workspace_full", 154, "more to /workspace than fits"),
    Bad("closed", ["echo > $OUTPUT_DIR/f; chmod 0 $OUTPUT_DIR/f $OUTPUT_DIR /workspace"], "completed", 0),
    Bad("escapes", [ESCAPES], "completed", 0, "Left out of $OUTPUT_DIR were 1"),
    Bad("its own timeout", [{"command": "sleep 60", "timeout": 1}], "timed_out", 124, "its own timeout"),
    Bad("time is over", ["sleep 60"], "timed_out", 124, "paid for", (("timeout", 2),)),
)  # fmt: skip


def leftovers(town: Town) -> list[str]:
    """Processes and folders of runs that are over."""
    folders = [str(path) for path in (town.folder / DATA / "runs").iterdir()]
    sleeping = [str(process.pid) for process in psutil.process_iter(["cmdline"]) if "sleep 60" in " ".join(
        process.info["cmdline"] or ()) and str(town.folder) in " ".join(process.info["cmdline"] or ())]  # fmt: skip
    return folders + sleeping


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("process", marks=pytest.mark.bubblewrap),
    ]
)
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Town]:
    if request.param == "docker":
        import_busybox()
    with open_town(tmp_path) as town:
        town.environment["CONTAINER_RUNTIME"] = request.param
        yield town


def definition(town: Town, bad: Bad) -> str:
    operations: list[Any] = [{"command": each} if isinstance(each, str) else each for each in bad.commands]
    image = {"image": IMAGE} if town.environment["CONTAINER_RUNTIME"] == "docker" else {}
    base = {"framework": "custom", "operations": operations, "timeout": 30, "requirements": {"trust": "low"}}
    return town.definition(base, image, dict(bad.more))


def test_bad_jobs_are_settled_and_say_why_and_leave_nothing(town: Town) -> None:
    """Each is paid for by the rules, its result says what was wrong, and the node's credit doesn't suffer."""
    with town.running("node", "start", until="Watching for jobs"):
        # What an engine does for all alike is shown once; what the worker does with what is left, for each.
        for bad in JOBS if town.environment["CONTAINER_RUNTIME"] == "docker" else JOBS[2:8]:
            out = str(town.folder / bad.name)
            options = ["--yes", "--wait", "--out", out]
            code = 0 if bad.outcome == "completed" else 1
            done = town.json("client", "job", "post", definition(town, bad), *options, code=code)
            ended = (done["state"], done["outcome"], done["exit_status"], done["attempts"])
            assert ended == ("settled", bad.outcome, bad.exit_status, 1), (bad.name, done)
            assert bad.says in done["message"], (bad.name, done["message"])
            assert done["deposit"] == done["paid"] + done["fee"] + done["refunded"]
            assert not any(path.is_symlink() for path in Path(out).rglob("*"))
            if bad.name == "escapes":
                shown = town.run("client", "job", "result", done["job"], "again")
                assert "\x1b" not in shown
                assert sum("Verified" in line for line in shown.splitlines()) == 2, "a name is not a line of ours"
                assert not any(line.startswith("Verified") for line in shown.splitlines()[2:])
        node = town.json("node", "node", "show")
        assert (node["released"], node["abandoned"], node["active_jobs"]) == (0, 0, 0)
        town.run("node", "stop")
    assert leftovers(town) == []


def test_content_that_nobody_has_costs_the_client_nothing(town: Town) -> None:
    """A definition that can't be fetched is never claimed; the deposit comes back by cancelling."""
    given = Bad("quick", ["true"], "completed", 0)
    before = town.json("client", "key", "balance")["lamports"]
    # The node keeps its blocks elsewhere, and there is no gateway between the two.
    town.settings["node"] = {"XDG_DATA_HOME": str(town.folder / "elsewhere")}
    with town.running("node", "start", until="Watching for jobs") as worker:
        posted = town.json("client", "job", "post", definition(town, given), "--yes", "--local-only")
        town.wait_for(worker, "definition")
        assert town.json("client", "job", "get", posted["job"])["state"] == "queued"
        cancelled = town.json("client", "job", "cancel", posted["job"])
        assert "WrongJobState" in town.run("client", "job", "stop", posted["job"], code=1)
        closed = town.json("client", "job", "close", posted["job"])
    fees = 5_000 + cancelled["fee_lamports"] + closed["fee_lamports"]
    assert 0 <= before - town.json("client", "key", "balance")["lamports"] - fees < 5_000, "all but fees is back"


@contextmanager
def endpoint() -> Generator[Endpoint]:
    """A chain behind an endpoint that can misbehave, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="endpoint")
    thread.start()
    bank = Bank(programs={LOCALNET_PROGRAM_ID: program_elf()}, unix_time=START)
    made = Endpoint(bank)
    try:
        asyncio.run_coroutine_threadsafe(made.start(), loop).result(20)
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(made.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def one_sentence(text: str) -> str:
    """The one line that begins with error; there is no trace."""
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in text
    return line


def test_endpoints_that_are_down_slow_busy_or_lying(tmp_path: Path) -> None:
    town = Town(tmp_path, local_environment(tmp_path, RPC_TIMEOUT="1500"))
    town.new_wallet("node")
    with endpoint() as rpc:
        town.environment |= {"SOLANA_RPC_URL": rpc.url, "MARKET_PUBKEY": NAMELESS}
        assert "There is no market" in one_sentence(town.run("node", "market", "show", code=1))

        rpc.fault = lambda _: web.Response(status=429)
        assert "no more requests" in one_sentence(town.run("node", "market", "show", code=3))
        rpc.fault = lambda _: web.Response(text="\x1b[2J<html>")
        shown = town.run("node", "market", "show", code=3)
        assert one_sentence(shown)
        assert "\x1b" not in shown
        rpc.fault = None
        rpc.rewrite = _lie
        said = one_sentence(town.run("node", "market", "show", code=1))
        assert "belongs to the program" in said
        rpc.rewrite = None
        rpc.delay_s = 5
        assert one_sentence(town.run("node", "key", "balance", code=3))
        assert "secret-api-key" not in said
    assert one_sentence(town.run("node", "start", code=3)), "nobody listens there any more"


def _lie(method: str, envelope: dict[str, Any]) -> None:
    if method in ("getAccountInfo", "getMultipleAccounts"):
        account = {"data": ["", "base64"], "owner": NAMELESS, "lamports": 1, "executable": False, "rentEpoch": 0}
        envelope["result"]["value"] = account if method == "getAccountInfo" else [account]


@pytest.fixture(scope="module")
def quiet_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with open_town(tmp_path_factory.mktemp("quiet")) as town:
        yield town


POSTED = {"framework": "custom", "operations": [{"command": "true"}], "timeout": 60}


def shell(town: Town, script: str) -> subprocess.CompletedProcess[str]:
    """A line of shell in which $HW is the command and $JOB a definition."""
    own = {"HW": " ".join(COMMAND), "JOB": town.definition(POSTED)}
    environment = town.environment_of("client") | own
    return subprocess.run(
        ["/bin/bash", "-c", script], capture_output=True, text=True, timeout=60, env=environment, cwd=town.folder
    )


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("$HW job post $JOB --local-only <&-", 1, "Nothing was posted."),
        ("$HW job post $JOB --local-only </dev/null", 1, "Nothing was posted."),
        ("$HW key address >&-", 0, ""),
        ("$HW key address >/dev/full", 1, "No space left"),
        ("$HW config --set NO=1 2>&-", 2, ""),
        ("HOME=/proc KEYPAIR_PATH= $HW key new", 2, "can't be made"),
        ("$HW job post . --yes", 2, "can't be read"),
        ("$HW job post /dev/zero --yes", 2, "more than"),
        ("$HW job post <(echo {) --yes", 2, "can't be read"),
        ("""$HW job post <(printf '{"\\033[2J":1}') --yes""", 2, "control character"),
        ("mkdir -p f; ln -sf /etc/shadow f/x; $HW job post $JOB --files f --yes", 2, "link"),
        ("$HW job post $JOB --yes --market $($HW key address)", 1, "belongs to the program"),
        ("LC_ALL=C PYTHONIOENCODING=latin-1 $HW market show", 0, ""),
    ],
)
def test_accidents_get_a_sentence(quiet_town: Town, script: str, code: int, says: str) -> None:
    done = shell(quiet_town, script)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    assert "\x1b" not in done.stderr


def test_a_reader_that_leaves_is_no_accident(quiet_town: Town) -> None:
    done = shell(quiet_town, "$HW config | head -c 1")
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_at_the_prompt_posts_nothing(quiet_town: Town) -> None:
    process = subprocess.Popen(
        [*COMMAND, "job", "post", quiet_town.definition(POSTED), "--local-only"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=quiet_town.environment_of("client"),
        cwd=quiet_town.folder,
    )
    assert process.stderr is not None
    seen = b""
    while b"[y/N]" not in seen:
        seen += (read := process.stderr.read1())  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
        assert read, seen
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err
    assert quiet_town.json("client", "job", "list") == []


@pytest.mark.parametrize(
    "line",
    ["config", "key address", "key balance", "market show", "market list", "node list", "job list", "test --only rpc"],
)
def test_json_is_all_of_stdout(quiet_town: Town, line: str) -> None:
    json.loads(quiet_town.run("client", *line.split(), "--json"))
