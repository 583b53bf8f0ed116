"""The packaged program is the recorded one; where the tools are, its source builds it again, anywhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hypernode_worker.errors import PermanentError
from hypernode_worker.solana import artifact
from hypernode_worker.solana.artifact import PROGRAM_FILE, build_record, program_elf

ROOT = Path(__file__).parents[2]


def test_the_packaged_program_is_the_recorded_one() -> None:
    record, data = build_record(), program_elf()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (record.bytes, record.sha256)
    assert data[:4] == b"\x7fELF"
    assert "rustc" in record.compiler


def test_a_damaged_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "hypernode_markets.so"
    data = PROGRAM_FILE.read_bytes()
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    monkeypatch.setattr(artifact, "PROGRAM_FILE", damaged)
    with pytest.raises(PermanentError, match="install hypernode-worker again"):
        program_elf()


def test_no_path_of_the_building_machine_is_in_the_program() -> None:
    data = PROGRAM_FILE.read_bytes()
    for path in (str(ROOT), str(Path.home()), "/usr/src", "/usr/lib/rustlib", "/.cargo/"):
        assert path.encode() not in data


@pytest.mark.sbf
@pytest.mark.timeout(600)
def test_another_folder_and_cargo_home_build_the_same_bytes(tmp_path: Path) -> None:
    checkout, home = tmp_path / "elsewhere", tmp_path / "cargo"
    ignored = shutil.ignore_patterns("target")
    shutil.copytree(ROOT / "programs", checkout / "programs", ignore=ignored)
    artifacts = checkout / "hypernode_worker" / "solana" / "artifacts"
    shutil.copytree(PROGRAM_FILE.parent, artifacts)
    _share_registry(home)
    done = _check(checkout, home, offline=True)
    if done.returncode:
        done = _check(checkout, home, offline=False)
    assert done.returncode == 0, done.stdout + done.stderr
    same = "the same as the packaged program" in done.stdout
    assert same or "not compared: the packaged program was built with" in done.stdout
    built = checkout / "programs" / "target" / "hypernode_markets.so"
    if same:
        assert built.read_bytes() == PROGRAM_FILE.read_bytes()


def _check(checkout: Path, home: Path, *, offline: bool) -> subprocess.CompletedProcess[str]:
    """Builds in a copy. Offline first: all that was downloaded before is there, and a registry may be slow."""
    return subprocess.run(
        [checkout / "programs" / "build.sh", "--check"],
        env=os.environ | {"CARGO_HOME": str(home), "CARGO_NET_OFFLINE": str(offline).lower()},
        capture_output=True,
        text=True,
        check=False,
    )


def _share_registry(home: Path) -> None:
    """Copies downloaded archives into a CARGO_HOME of its own, where they are unpacked anew."""
    present = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "registry"
    for part in ("cache", "index"):
        if (present / part).is_dir():
            shutil.copytree(present / part, home / "registry" / part)
