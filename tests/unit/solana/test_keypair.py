"""Key files: private to their owner, whole, and never shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from solders.keypair import Keypair

from hypernode_worker.errors import ConfigError
from hypernode_worker.solana.keypair import create_keypair, load_keypair


def write(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def test_a_new_key_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "id.json"
    made = create_keypair(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert load_keypair(path) == made
    assert json.loads(path.read_text()) == list(bytes(made))


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "id.json"
    first = create_keypair(path)
    with pytest.raises(ConfigError, match="already"):
        create_keypair(path)
    assert load_keypair(path) == first


def test_a_dangling_link_is_not_followed_when_a_key_is_made(tmp_path: Path) -> None:
    path = tmp_path / "id.json"
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ConfigError):
        create_keypair(path)
    assert not (tmp_path / "elsewhere.json").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_a_key_that_others_can_reach_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "id.json", json.dumps(list(bytes(Keypair()))), mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        load_keypair(path)


def test_a_key_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "id.json", json.dumps(list(bytes(Keypair()))))
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="another user"):
        load_keypair(path)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key new"):
        load_keypair(tmp_path / "id.json")


def test_a_directory_or_pipe_is_no_key(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="no regular file"):
            load_keypair(path)


SECRET = list(bytes(Keypair()))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "null",
        json.dumps(SECRET[:63]),
        json.dumps([*SECRET, 0]),
        json.dumps([*SECRET[:32], *bytes(Keypair().pubkey())]),
        json.dumps([*SECRET[:63], 256]),
        json.dumps([*SECRET[:63], -1]),
        json.dumps([*SECRET[:63], 1.5]),
        json.dumps([*SECRET[:63], True]),
        json.dumps([str(n) for n in SECRET]),
        "[" * 2000,
        " " * 5000,
        b"\xff\xfe",
    ],
)
def test_a_malformed_key_is_refused_and_its_content_is_not_told(tmp_path: Path, content: str | bytes) -> None:
    path = write(tmp_path / "id.json", content)
    with pytest.raises(ConfigError, match="no Solana key file") as caught:
        load_keypair(path)
    assert str(SECRET[5:10])[1:-1] not in str(caught.value)
    assert caught.value.__cause__ is None
