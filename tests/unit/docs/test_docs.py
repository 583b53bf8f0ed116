"""What the guides name is there: settings and tests. Their deadlines are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hypernode_worker.config import Settings
from hypernode_worker.node import execution, job_handler, setup
from hypernode_worker.node.clocks import COMPARE_EVERY_S, LOOK_EVERY_S, SKEW_S
from hypernode_worker.node.settings import WorkerSettings
from hypernode_worker.solana import confirmation

REPOSITORY = Path(__file__).parents[3]
GUIDES = sorted((REPOSITORY / "docs").glob("*.md"))
SYSTEMD = {"READY", "STATUS", "STOPPING", "EXTEND_TIMEOUT_USEC"}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_settings_that_a_guide_names_exist(guide: Path) -> None:
    named = {name for name in re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", guide.read_text())} - SYSTEMD
    assert {name for name in named if name.lower() not in Settings.model_fields} == set()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_tests_that_a_guide_names_exist(guide: Path) -> None:
    for path, _, name in re.findall(r"`(tests/[\w/]+\.py)(::(\w+))?`", guide.read_text()):
        assert f"def {name}(" in (REPOSITORY / path).read_text() if name else (REPOSITORY / path).is_file(), (
            path,
            name,
        )


def test_the_table_of_deadlines_has_the_codes_figures() -> None:
    text = (REPOSITORY / "docs" / "operating.md").read_text()
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in text.splitlines() if row.startswith("| ")}
    defaults = WorkerSettings.__dataclass_fields__
    assert f"| {Settings.model_fields['rpc_timeout'].default / 1000:g} s |" in rows["an RPC call"]
    assert f"| {Settings.model_fields['ipfs_timeout'].default / 1000:g} s a look |" in rows["definition"]
    assert f"at least {setup.LEAST_S:g} s" in rows["files"]
    assert setup.ATTEMPTS == 3
    assert f"| {execution.START_PATIENCE_S:g} s away |" in rows["container engine, before an operation runs"]
    assert f"| {execution.WAIT_PATIENCE_S:g} s away |" in rows["container engine, while one runs"]
    assert f"| {defaults['stop_grace_s'].default:g} s |" in rows["SIGTERM to SIGKILL"]
    assert f"{confirmation.GIVE_UP_S:g} s when nobody answers" in rows["a transaction"]
    assert Settings.model_fields["drain_timeout"].default == 3_600_000
    last_s = defaults["settle_timeout_s"].default + defaults["stop_grace_s"].default
    assert f"| {last_s:g} s |" in rows["settling after `stop --now`"]
    assert (COMPARE_EVERY_S, LOOK_EVERY_S, SKEW_S) == (5, 300, 60)
    assert job_handler.WATCH_AFTER_S < 2 * 0.4, "a stop is followed within two slots"
