"""The package as a stranger installs it: a wheel in an environment of its own, far from the sources."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.support.town import local_environment, make_passable

ROOT = Path(__file__).parents[2]
ARTIFACTS = "hypernode_worker/solana/artifacts/hypernode_markets"
RENT = {"job": (768 + 128) * 6_960, "node": (320 + 128) * 6_960}
IDL = "hypernode_worker/solana/idl/hypernode_markets.json"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("hypernode_worker-*.whl")
    return built


def pip(python: str | Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command. What the package depends on comes from this environment, the package doesn't."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    pip(python, "install", "--no-deps", "--no-index", str(wheel))
    site = folder / "venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # A path file that is found through another one isn't read: so an editable install of ours stays out.
    (site / "dependencies.pth").write_text(str(Path(typer.__file__).parents[1]) + "\n")
    make_passable(folder)
    return python.with_name("hypernode-worker")


def test_the_wheel_holds_program_idl_and_their_records(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        record = json.loads(archive.read(f"{ARTIFACTS}.json"))
        elf = archive.read(f"{ARTIFACTS}.so")
        assert archive.read(IDL) == (ROOT / "idl" / "hypernode_markets.json").read_bytes()
        (listed,) = (name for name in names if name.endswith(".dist-info/RECORD"))
        recorded = archive.read(listed).decode()
    assert record["sha256"] == hashlib.sha256(elf).hexdigest()
    assert record["bytes"] == len(elf)
    assert record["compiler"]
    assert elf[:4] == b"\x7fELF"
    for name in (f"{ARTIFACTS}.so", f"{ARTIFACTS}.json", IDL, "hypernode_worker/py.typed"):
        assert name in names, name
        assert name in recorded, name
    assert any(name.startswith("hypernode_worker/cli/demo_job/") for name in names)
    assert all(name.startswith("hypernode_worker") for name in names), "nothing but the package and its record"
    assert not any("__pycache__" in name or name.endswith(".env") for name in names)


def lamports(text: str) -> int:
    whole, _, fraction = text.lstrip("+-").partition(".")
    return (-1 if text.startswith("-") else 1) * (int(whole) * 10**9 + int(fraction.ljust(9, "0")))


def test_the_installed_demo_pays_and_adds_up(command: Path, tmp_path: Path) -> None:
    make_passable(tmp_path)

    def demo(*options: str) -> str:
        done = subprocess.run(
            [command, "demo", "--runtime", "process", *options],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=local_environment(tmp_path, TMPDIR=str(tmp_path), PYTHONPATH=""),  # the wheel, not a tree
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    story: dict[str, Any] = json.loads(demo("--json", "--out", "one"))
    expected = {"job", "market", "client", "node", "state", "definition_cid", "result_cid", "mint", "deposit", "paid"}
    expected |= {"fee", "refunded", "signatures", "artifacts", "provider", "elapsed_s"}
    assert set(story) == expected
    assert set(story["signatures"]) == {"create_job", "work_job", "finish_job"}
    assert all(set(each) == {"path", "bytes", "sha256"} for each in story["artifacts"])
    assert story["state"] == "settled"
    assert story["deposit"] == story["paid"] + story["fee"] + story["refunded"]
    assert story["elapsed_s"] < 30

    text = demo("--out", "two")
    assert "deposit = paid + fee + refunded: yes" in text
    money = {key: int(re.findall(rf"{key} +([\d,]+) lamports", text)[0].replace(",", "")) for key in ("paid", "fee")}
    rows = re.findall(r"^ +(client|node|market owner) +([\d.]+) +([\d.]+) +([+-][\d.]+)", text, re.M)
    changes = {role: lamports(change) for role, _, _, change in rows}
    assert set(changes) == {"client", "node", "market owner"}
    for role, before, after, change in rows:
        assert lamports(after) - lamports(before) == lamports(change), role
    assert changes["market owner"] == money["fee"]
    spent = {"client": -money["paid"] - money["fee"] - RENT["job"], "node": money["paid"] - RENT["node"]}
    for role, expected_change in spent.items():
        signatures, odd = divmod(expected_change - changes[role], 5_000)
        assert odd == 0, f"{role}: what is gone beside pay and rent isn't network fees"
        assert 1 <= signatures <= 6
