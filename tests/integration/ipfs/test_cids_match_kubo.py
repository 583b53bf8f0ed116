"""Kubo itself gives the CIDs that are checked in; the unit tests compare ours with those."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hypernode_worker.ipfs.importer import cid_of_path
from tests.support import ipfs_content
from tests.support.ipfs_kubo import KuboRepo, make_repo

pytestmark = pytest.mark.kubo
GOLDEN = Path(__file__).parents[2] / "unit" / "ipfs" / "golden.json"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> KuboRepo:
    return make_repo(tmp_path_factory.mktemp("kubo") / "repo")


@pytest.mark.parametrize("key", ipfs_content.keys())
def test_kubo_gives_the_golden_cid_and_so_do_we(repo: KuboRepo, tmp_path: Path, key: str) -> None:
    path, profile = ipfs_content.make(key, tmp_path)
    theirs = repo.cid_of(
        path,
        chunk_bytes=profile.chunk_bytes,
        max_links=profile.max_links,
        shard_by_block=profile.shard_by_block,
    )
    assert theirs == str(cid_of_path(path, profile))
    assert theirs == json.loads(GOLDEN.read_text())[key]
