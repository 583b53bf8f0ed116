"""The result's manifest and directory: signed, hashed, and strict about what strangers send."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job
from hypernode_worker.core.manifest import MANIFEST, Host, Manifest
from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.result_directory import list_result_files, verify_result
from hypernode_worker.errors import ContentTooLarge, ResultInvalid
from tests.support.accounts import make_job

WALLET = Keypair.from_seed(bytes(range(32)))
HOST = Host(
    cpu_model="cpu", cpu_cores=1, cpu_threads=2, memory_bytes=1, disk_bytes=1, os="Linux", kernel="6", arch="x86_64"
)


def write_result(directory: Path, job: Job) -> tuple[Job, Manifest]:
    (directory / "logs").mkdir(parents=True)
    (directory / "output" / "deep").mkdir(parents=True)
    (directory / "logs" / "00.log").write_bytes(b"hello\n")
    (directory / "output" / "deep" / "a.txt").write_bytes(b"a")
    manifest = Manifest(
        job=str(job.address),
        market=str(job.market),
        node=str(job.node),
        authority=str(WALLET.pubkey()),
        run="7",
        definition_cid=str(job.definition_cid),
        outcome=RunOutcome.COMPLETED,
        exit_status=0,
        message="It worked.",
        started_at=1.5,
        ended_at=2.0,
        provider="mock",
        isolated=True,
        operations=(),
        host=HOST,
        files=list_result_files(directory, max_bytes=1000),
    ).signed(lambda message: bytes(WALLET.sign_message(message)))
    (directory / MANIFEST).write_bytes(manifest.to_bytes())
    return replace(job, result_hash=manifest.result_hash, exit_status=0), manifest


def test_a_result_verifies_and_reads_back(tmp_path: Path) -> None:
    job, manifest = write_result(tmp_path / "r", make_job())
    assert verify_result(tmp_path / "r", job=job, authority=WALLET.pubkey()) == manifest
    assert [file.path for file in manifest.files] == ["logs/00.log", "output/deep/a.txt"]


def tamper_extra(directory: Path) -> None:
    (directory / "output" / "extra").write_text("x")


def tamper_top(directory: Path) -> None:
    (directory / "extra").write_text("x")


def tamper_missing(directory: Path) -> None:
    (directory / "logs" / "00.log").unlink()


def tamper_changed(directory: Path) -> None:
    (directory / "output" / "deep" / "a.txt").write_bytes(b"b")


def tamper_link(directory: Path) -> None:
    (directory / "output" / "deep" / "a.txt").unlink()
    (directory / "output" / "deep" / "a.txt").symlink_to("/etc/hostname")


def tamper_manifest(directory: Path) -> None:
    path = directory / MANIFEST
    path.write_bytes(path.read_bytes().replace(b"It worked", b"It failed"))


def tamper_no_manifest(directory: Path) -> None:
    (directory / MANIFEST).unlink()


@pytest.mark.parametrize(
    "tamper",
    [tamper_extra, tamper_top, tamper_missing, tamper_changed, tamper_link, tamper_manifest, tamper_no_manifest],
)
def test_any_change_to_the_directory_is_refused(tmp_path: Path, tamper: object) -> None:
    job, _ = write_result(tmp_path / "r", make_job())
    assert callable(tamper)
    tamper(tmp_path / "r")
    with pytest.raises(ResultInvalid):
        verify_result(tmp_path / "r", job=job, authority=WALLET.pubkey())


@pytest.mark.parametrize(
    "change",
    [{"node": Pubkey.new_unique()}, {"address": Pubkey.new_unique()}, {"exit_status": 1}, {"result_hash": bytes(32)}],
)
def test_a_result_of_something_else_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    job, _ = write_result(tmp_path / "r", make_job())
    with pytest.raises(ResultInvalid):
        verify_result(tmp_path / "r", job=replace(job, **change), authority=WALLET.pubkey())  # pyright: ignore[reportArgumentType]


def test_another_wallets_signature_is_refused(tmp_path: Path) -> None:
    job, manifest = write_result(tmp_path / "r", make_job())
    with pytest.raises(ResultInvalid, match="wallet"):
        verify_result(tmp_path / "r", job=job, authority=Pubkey.new_unique())
    forged = manifest.model_copy(update={"message": "It was great."})
    with pytest.raises(ResultInvalid, match="signed"):
        forged.verify_signature(WALLET.pubkey())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("files", [{"path": "../x", "bytes": 1, "sha256": "0" * 64}]),
        ("files", [{"path": "output/../../x", "bytes": 1, "sha256": "0" * 64}]),
        ("files", [{"path": "output/x", "bytes": -1, "sha256": "0" * 64}]),
        ("files", [{"path": "output/x", "bytes": 1, "sha256": "zz"}]),
        ("files", [{"path": "output/x", "bytes": 1, "sha256": "0" * 64}] * 2),
        ("outcome", "great"),
        ("version", 2),
        ("message", "x" * 2000),
        ("ended_at", 1e300),
        ("surprise", 1),
    ],
)
def test_a_strangers_manifest_is_strict(tmp_path: Path, field: str, value: object) -> None:
    _, manifest = write_result(tmp_path / "r", make_job())
    data = json.loads(manifest.to_bytes())
    data[field] = value
    with pytest.raises(ResultInvalid):
        Manifest.parse(json.dumps(data, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 50_000, b'{"version":NaN}'])
def test_nonsense_is_no_manifest(data: bytes) -> None:
    with pytest.raises(ResultInvalid):
        Manifest.parse(data)


def test_other_spacing_is_not_canonical(tmp_path: Path) -> None:
    _, manifest = write_result(tmp_path / "r", make_job())
    with pytest.raises(ResultInvalid, match="canonical"):
        Manifest.parse(json.dumps(json.loads(manifest.to_bytes()), sort_keys=True).encode())


def test_listing_is_bounded(tmp_path: Path) -> None:
    write_result(tmp_path / "r", make_job())
    with pytest.raises(ContentTooLarge):
        list_result_files(tmp_path / "r", max_bytes=3)
    with pytest.raises(ContentTooLarge):
        list_result_files(tmp_path / "r", max_bytes=1000, max_files=1)
