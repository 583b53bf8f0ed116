"""Our CIDs are those that Kubo gave, without Kubo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hypernode_worker.ipfs import hamt
from hypernode_worker.ipfs.importer import EMPTY_DIRECTORY, cid_of_bytes, cid_of_path
from tests.support import ipfs_content

GOLDEN: dict[str, str] = json.loads((Path(__file__).parent / "golden.json").read_text())


def test_every_case_has_a_golden_cid() -> None:
    assert sorted(GOLDEN) == sorted(ipfs_content.keys())


@pytest.mark.parametrize("key", ipfs_content.keys())
def test_cid_is_golden(tmp_path: Path, key: str) -> None:
    path, profile = ipfs_content.make(key, tmp_path)
    assert str(cid_of_path(path, profile)) == GOLDEN[key]


def test_bytes_and_files_have_the_same_cid(tmp_path: Path) -> None:
    data = ipfs_content.pattern(811)
    (tmp_path / "f").write_bytes(data)
    assert cid_of_bytes(data, ipfs_content.TINY) == cid_of_path(tmp_path / "f", ipfs_content.TINY)


def test_the_empty_directory_is_known_by_name() -> None:
    assert str(EMPTY_DIRECTORY) == GOLDEN["unixfs-v1-2025 tree empty"]


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (b"", "0000000000000000"),
        (b"hello", "cbd8a7b341bd9b02"),
        (b"The quick brown fox jumps over the lazy dog", "e34bbc7bbc071b6c"),
    ],
)
def test_murmur3_gives_published_values(text: bytes, digest: str) -> None:
    assert hamt.murmur3_64(text).hex() == digest
