"""The commands without a chain: usage, exit codes, one sentence for each mistake."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hypernode_worker.cli.arguments import read_share
from hypernode_worker.cli.main import app
from hypernode_worker.core.accounts import MarketTerms
from hypernode_worker.errors import ConfigError

SOMEONE = "4nqaDKBDPRot9vgFN1PymNt6vMvzuPLYn8Vmi7SCHQcR"
NOBODY_LISTENS = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name in ("SOLANA_RPC_URL", "MARKET_PUBKEY", "KEYPAIR_PATH", "DATA_DIR", "PROGRAM_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=given)


def refused(code: int, *arguments: str) -> str:
    """The one sentence of a command that fails."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in result.stderr
    return lines[-1].removeprefix("error: ")


def test_every_command_has_help_and_every_noun_its_verbs() -> None:
    verbs = {
        "job": [
            "post",
            "take",
            "get",
            "list",
            "result",
            "accept",
            "dispute",
            "cancel",
            "stop",
            "extend",
            "settle",
            "close",
        ],
        "market": ["create", "update", "close", "show", "list", "resolve"],
        "stake": ["show", "add", "withdraw"],
        "node": ["show", "list", "deregister"],
        "key": ["new", "address", "balance", "airdrop"],
    }
    commands = [[name] for name in ("start", "status", "stop", "test", "config", "crank", "localnet", "demo")]
    commands += [[noun, verb] for noun, each in verbs.items() for verb in each]
    for command in commands:
        shown = run(*command, "--help")
        assert shown.exit_code == 0
        assert "--json" in shown.stdout, command
        assert "--rpc-url" in shown.stdout, command


def test_the_market_help_says_what_no_review_means() -> None:
    assert "paid at once for whatever it posts" in " ".join(run("market", "create", "--help").stdout.split())


@pytest.mark.parametrize(
    ("text", "bps"), [("0", 0), ("100", 10_000), ("12.5%", 1_250), ("0.29 %", 29), ("7500bps", 7_500), ("0.01", 1)]
)
def test_shares_are_percentages_or_basis_points(text: str, bps: int) -> None:
    assert read_share(text, "--pay") == bps


@pytest.mark.parametrize("text", ["", "100.01", "-1", "1.234", "1.5bps", "10001bps", "1e2", "half"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no share"):
        read_share(text, "--pay")


def test_the_help_shows_the_defaults_that_a_market_gets() -> None:
    shown = " ".join(run("market", "create", "--help").stdout.split())
    for name, value in dataclasses.asdict(MarketTerms()).items():
        if type(value) is int and name not in ("flags", "credit_pay"):
            option = shown.partition(f"--{name.replace('_', '-')} ")[2]
            assert option.partition("[default: (")[2].partition(")")[0] == str(value), name


def test_a_new_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "id.json"
    made = run("key", "new", str(path), "--json")
    assert made.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    address = json.loads(made.stdout)["address"]
    assert run("key", "address", "--keypair", str(path)).stdout.strip() == address
    before = path.read_bytes()
    assert "no key is overwritten" in refused(2, "key", "new", str(path))
    assert path.read_bytes() == before


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "id.json"
    run("key", "new", str(path))
    path.chmod(0o644)
    assert f"chmod 600 {path}" in refused(2, "key", "address", "--keypair", str(path))


def test_config_shows_each_setting_with_its_origin(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CAPACITY=3\nIPFS_UPLOAD_TOKEN=very-secret\n")
    shown = run("config", "--json", "--set", "POLLING_INTERVAL=2500", "--market", SOMEONE)
    values = json.loads(shown.stdout)
    assert values["POLLING_INTERVAL"] == {"value": 2500, "origin": "flag --set", "unit": "ms"}
    assert values["MARKET_PUBKEY"]["origin"] == "flag --market"
    assert values["CAPACITY"]["origin"] == str(tmp_path / ".env")
    assert values["COMMITMENT"]["origin"] == "default"
    assert "very-secret" not in shown.output
    assert "very-secret" not in run("config").output


def test_misspelt_variables_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLING_INTERVAL", "1")
    assert "did you mean POLLING_INTERVAL?" in run("config").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["start"], 2, "No market is set"),
        (["status"], 2, "No worker is running"),
        (["stop"], 2, "No worker is running"),
        (["job", "take"], 2, "No worker is running"),
        (["market", "show", "nonsense"], 2, "ADDRESS 'nonsense' is no address"),
        (["market", "show"], 2, "No market is set"),
        (["stake", "show"], 2, "No market is set"),
        (["crank"], 2, "No market is set"),
        (["job", "dispute", SOMEONE, "--reason", ""], 2, "reason is empty"),
        (["market", "resolve", SOMEONE, "--pay", "half"], 2, "--pay 'half' is no share"),
        (["market", "create", "--min-price", "much"], 2, "--min-price: 'much' is not an amount"),
        (["job", "get", "x"], 2, "JOB 'x' is no address"),
        (["job", "list", "--state", "odd", "--market", SOMEONE], 2, "none of queued, claimed"),
        (["key", "airdrop", "0"], 2, "amount is zero"),
        (["key", "balance"], 2, "no key file"),
        (["test", "--only", "nothing"], 2, "There is no check 'nothing'"),
        (["config", "--set", "CAPACITY"], 2, "not NAME=VALUE"),
        (["config", "--set", "CAPACTY=1"], 2, "did you mean CAPACITY?"),
        (["config", "--set", "CAPACITY=none"], 2, "CAPACITY can't be 'none' (from flag --set): write a whole number"),
        (["config", "--env-file", "gone.env"], 2, "gone.env can't be read"),
        (["demo", "--runtime", "lxc"], 2, "none of auto, docker, process"),
        (["key", "balance", SOMEONE, "--rpc-url", NOBODY_LISTENS], 3, "can't be reached"),
        (["job", "get", SOMEONE, "--rpc-url", NOBODY_LISTENS], 3, "can't be reached"),
        (
            ["key", "balance", SOMEONE, "--rpc-url", "ftp://x"],
            2,
            "'ftp://x' (from flag --rpc-url)",
        ),
    ],
)
def test_mistakes_get_one_sentence_and_their_exit_code(arguments: list[str], code: int, sentence: str) -> None:
    assert sentence in refused(code, *arguments)


def test_unknown_commands_and_options_are_usage_errors() -> None:
    assert run("jobs").exit_code == 2
    assert run("status", "--jason").exit_code == 2


def test_checks_that_need_a_failed_one_are_skipped() -> None:
    result = run(
        "test",
        "--json",
        "--rpc-url",
        NOBODY_LISTENS,
        "--set",
        "IPFS_GATEWAY=none",
        "--only",
        "balance",
        "--only",
        "market",
    )
    assert result.exit_code == 3
    found = {each["name"]: each for each in json.loads(result.stdout)}
    assert list(found) == ["configuration", "key", "rpc", "program", "market", "balance"]
    assert found["configuration"]["state"] == "ok"
    assert found["key"]["state"] == "failed"
    assert "hypernode-worker key new" in found["key"]["message"]
    assert found["rpc"]["state"] == "failed"
    assert found["program"] == {"name": "program", "state": "skipped", "message": "needs rpc, which failed"}
    assert found["balance"]["state"] == "skipped"


def test_a_broken_configuration_fails_the_first_check(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CAPACITY=many\n")
    result = run("test")
    assert result.exit_code == 3
    assert "CAPACITY can't be 'many'" in result.stdout
    assert result.stdout.count("needs ") == 9


def test_debug_shows_the_trace() -> None:
    result = run("market", "show", "nonsense", "--debug")
    assert result.exception is not None
    assert "nonsense" in str(result.exception)


def test_no_command_writes_to_the_home_of_a_failed_one(tmp_path: Path) -> None:
    run("job", "get", SOMEONE, "--rpc-url", NOBODY_LISTENS)
    assert not os.path.lexists(tmp_path / "home")
