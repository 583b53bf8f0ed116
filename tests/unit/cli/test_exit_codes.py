"""What `start` leaves with: documented in its help and the README, and what the shipped unit restarts by."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hypernode_worker import app as composition
from hypernode_worker.cli.main import app
from hypernode_worker.errors import AccountMissing, ConfigError, EndpointDown, HypernodeError, ProviderDown

REPOSITORY = Path(__file__).parents[3]
UNIT = REPOSITORY / "docs" / "hypernode-worker.service"
MARKET = "4nqaDKBDPRot9vgFN1PymNt6vMvzuPLYn8Vmi7SCHQcR"


class Worker:
    """What `start` runs; it ends as it is told to."""

    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    def request_stop(self) -> None: ...

    def status(self) -> dict[str, object]:
        return {}

    def is_well(self) -> bool:
        return True

    async def run(self) -> None:
        if self._error is not None:
            raise self._error


def code_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException | None, *more: str) -> int:
    @asynccontextmanager
    async def opened(*_: Any, **__: Any) -> AsyncGenerator[Worker]:
        yield Worker(error)

    monkeypatch.setattr(composition, "open_worker", opened)
    monkeypatch.chdir(tmp_path)
    return CliRunner().invoke(app, ["start", "--market", MARKET, "--data-dir", str(tmp_path), *more]).exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (RuntimeError("a bug"), 1),
        (HypernodeError("refused"), 1),
        (AccountMissing("no market"), 1),
        (OSError(28, "No space left on device"), 1),
        (ConfigError("another worker"), 2),
        (EndpointDown("no chain"), 3),
        (ProviderDown("no engine"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_end_has_its_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException | None, code: int
) -> None:
    assert code_of(monkeypatch, tmp_path, error) == code


def test_a_misspelt_setting_is_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert code_of(monkeypatch, tmp_path, None, "--set", "CAPACITTY=2") == 2


def test_an_endpoint_that_does_not_answer_is_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without any part replaced."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    assert runner.invoke(app, ["key", "new", "--keypair", "key.json"]).exit_code == 0
    given = ["--keypair", "key.json", "--market", MARKET, "--rpc-url", "http://127.0.0.1:9", "--data-dir", "data"]
    sets = ["CONTAINER_RUNTIME=mock", "ALLOW_MOCK=true", "IPFS_GATEWAY=none", "RPC_TIMEOUT=500"]
    result = runner.invoke(app, ["start", *given, *(part for each in sets for part in ("--set", each))])
    assert result.exit_code == 3, result.output


def test_help_and_readme_name_every_code() -> None:
    shown = " ".join(CliRunner().invoke(app, ["start", "--help"]).stdout.split())
    readme = (REPOSITORY / "README.md").read_text()
    for text in (shown.partition("Exit codes:")[2], readme.partition("Exit codes:")[2]):
        assert [int(code) for code in re.findall(r"\b(0|1|2|3|130) ", text)[:5]] == [0, 1, 2, 3, 130]


def test_the_shipped_unit_says_what_the_worker_relies_on() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["NotifyAccess"] == "main"
    assert service["KillMode"] == "process", "running jobs survive a restart of the worker"
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "2", "what only a person can mend isn't tried again"
    assert float(service["WatchdogSec"]) >= 30
    assert "hypernode-worker start" in service["ExecStart"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH")
def test_systemd_accepts_the_shipped_unit(tmp_path: Path) -> None:
    there = tmp_path / "hypernode-worker.service"
    there.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", there], capture_output=True, text=True, timeout=60)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "hypernode-worker.service" in line]
    assert said == []
